//! A service that keeps objects by S3's rules, and asks who is there: a stand-in for Amazon's and the like.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::signature;

type Body = BoxBody<Bytes, std::io::Error>;

/// The name of the only bucket there is.
pub const BUCKET: &str = "answers";
/// Who may use it.
pub const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// What a container shows to get keys, and the session that they are good for.
pub const CONTAINER_TOKEN: &str = "container-token";
const SESSION: &str = "a-session/of+a=container";

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Everything is answered after so long.
    Slow(Duration),
    /// Everything is answered by this status.
    Failing(u16),
    /// Objects end in the middle.
    Torn,
}

/// The running service; ends when dropped.
pub struct Bucket {
    pub addr: SocketAddr,
    state: Arc<State>,
    accepting: JoinHandle<()>,
}

struct State {
    objects: Mutex<BTreeMap<String, Bytes>>,
    mood: Mutex<Mood>,
    /// Methods and names of all requests, and how they were answered.
    calls: Mutex<Vec<(Method, String, u16)>>,
}

impl Bucket {
    pub async fn start() -> Bucket {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(State {
            objects: Mutex::default(),
            mood: Mutex::new(Mood::Well),
            calls: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, state.clone()));
        Bucket {
            addr,
            state,
            accepting,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Where a container gets keys.
    pub fn credentials_url(&self) -> String {
        format!("http://{}/credentials", self.addr)
    }

    pub fn set_mood(&self, mood: Mood) {
        *self.state.mood.lock() = mood;
    }

    /// All objects by their names.
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        self.state.objects.lock().clone()
    }

    /// Puts something in the place of every object.
    pub fn overwrite(&self, with: impl Fn(&Bytes) -> Bytes) {
        for object in self.state.objects.lock().values_mut() {
            *object = with(object);
        }
    }

    /// How often it was asked so, and answered so.
    pub fn count(&self, method: Method, status: u16) -> usize {
        let calls = self.state.calls.lock();
        let same = calls
            .iter()
            .filter(|(m, _, s)| *m == method && *s == status);
        same.count()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let state = state.clone();
        connections.spawn(async move {
            let service = service_fn(|request| serve(state.clone(), request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service);
            let _ = connection.await;
        });
    }
}

async fn serve(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return Ok(answer(StatusCode::BAD_REQUEST, Bytes::new()));
    };
    let body = body.to_bytes();
    let mood = *state.mood.lock();
    let (method, path) = (head.method.clone(), head.uri.path().to_owned());
    let response = match mood {
        _ if path == "/credentials" => credentials(&head),
        Mood::Failing(status) => answer(StatusCode::from_u16(status).unwrap(), said("SlowDown")),
        _ => match signature::check(&head, &body, ACCESS_KEY, SECRET_KEY) {
            Err(why) => answer(StatusCode::FORBIDDEN, said(&why)),
            Ok(()) => state.act(&head.method, &path, body, mood),
        },
    };
    if let Mood::Slow(by) = mood {
        tokio::time::sleep(by).await;
    }
    let status = response.status().as_u16();
    state.calls.lock().push((method, path, status));
    Ok(response)
}

impl State {
    fn act(&self, method: &Method, path: &str, body: Bytes, mood: Mood) -> Response<Body> {
        let Some(name) = path.strip_prefix(&format!("/{BUCKET}/")) else {
            return answer(StatusCode::NOT_FOUND, said("NoSuchBucket"));
        };
        let mut objects = self.objects.lock();
        match *method {
            Method::GET => match objects.get(name) {
                None => answer(StatusCode::NOT_FOUND, said("NoSuchKey")),
                Some(object) if mood == Mood::Torn => torn(object),
                Some(object) => answer(StatusCode::OK, object.clone()),
            },
            Method::PUT => {
                objects.insert(name.to_owned(), body);
                answer(StatusCode::OK, Bytes::new())
            }
            Method::DELETE => {
                objects.remove(name);
                answer(StatusCode::NO_CONTENT, Bytes::new())
            }
            _ => answer(StatusCode::METHOD_NOT_ALLOWED, said("MethodNotAllowed")),
        }
    }
}

fn answer(status: StatusCode, body: Bytes) -> Response<Body> {
    let body = Full::new(body).map_err(|never| match never {}).boxed();
    of(status, body)
}

/// Keys for a while, for whom a container's token is known.
fn credentials(head: &Parts) -> Response<Body> {
    let shown = head.headers.get("authorization");
    if shown.is_none_or(|shown| shown != CONTAINER_TOKEN) {
        return answer(StatusCode::FORBIDDEN, Bytes::new());
    }
    let keys = json!({
        "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY, "Token": SESSION,
        "Expiration": "2099-01-01T00:00:00Z",
    });
    answer(StatusCode::OK, keys.to_string().into())
}

/// Half of an object, of which all was promised.
fn torn(object: &Bytes) -> Response<Body> {
    let half = object.slice(..object.len() / 2);
    let end = std::io::Error::other("torn");
    let frames = stream::iter([Ok(Frame::data(half)), Err(end)]);
    let mut response = of(StatusCode::OK, BodyExt::boxed(StreamBody::new(frames)));
    response
        .headers_mut()
        .insert("content-length", object.len().into());
    response
}

fn of(status: StatusCode, body: Body) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("etag", "\"0\"")
        .header("last-modified", "Mon, 30 Nov 2026 00:00:00 GMT")
        .body(body)
        .unwrap()
}

fn said(code: &str) -> Bytes {
    format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>").into()
}
