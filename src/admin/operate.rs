//! `/cache/…`: looking into the cache, purging, copying.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use pingora_core::protocols::http::ServerSession;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::body;
use super::entries::{Filter, Gathering};
use super::entry::Shown;
use super::purge::{self, Asked, Purged, What};
use super::reply::Reply;
use super::stats::{Counting, ServerStats};
use crate::cache::{Cache, now_ms};
use crate::error::ApiError;
use crate::store::StoreError;
use crate::store::operate::{CheckpointError, Entry, PurgeError};
use crate::store::purge::Covers;

/// Looks under way at once: each may read much from the disk that requests need, too.
const LOOKS_MAX: usize = 2;
/// Purges under way at once; they do not wait behind looks.
const PURGES_MAX: usize = 2;
/// For its turn a purge waits this long: it has to be done, and the others are soon over.
const PURGE_WAIT_MAX: Duration = Duration::from_secs(5);
/// A purge's answer waits this long for the fleet to be told.
const TELLING_MAX: Duration = Duration::from_secs(1);
/// Copies under way at once; one may take minutes, and keeps nobody from looking.
const COPIES_MAX: usize = 1;
/// A look at all entries that takes longer ends with what it has.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// Where operators are served.
pub struct Desk {
    cache: &'static Cache,
    looks: Arc<Semaphore>,
    purges: Arc<Semaphore>,
    copies: Arc<Semaphore>,
}

/// The body of a request for a copy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Checkpoint {
    directory: PathBuf,
}

impl Desk {
    /// A desk over a running server's cache.
    pub fn new(cache: &'static Cache) -> Desk {
        Desk {
            cache,
            looks: Arc::new(Semaphore::new(LOOKS_MAX)),
            purges: Arc::new(Semaphore::new(PURGES_MAX)),
            copies: Arc::new(Semaphore::new(COPIES_MAX)),
        }
    }

    /// Answers a request that may ask.
    pub async fn answer(&self, session: &mut ServerSession) -> Result<Reply, ApiError> {
        let request = session.req_header();
        let query = request.uri.query().unwrap_or_default().to_owned();
        let path = request.uri.path().to_owned();
        let path = path.strip_prefix("/cache").unwrap_or_default();
        let post = match request.method {
            Method::GET | Method::HEAD => false,
            Method::POST => true,
            _ => return Err(wrong_method("GET or POST")),
        };
        let key = path.strip_prefix("/entries/");
        match (path, key, post) {
            ("/stats", _, false) => self.stats(&query).await,
            ("/entries", _, false) => self.entries(&query).await,
            (_, Some(key), false) => self.entry(key, &query).await,
            ("/purge", _, true) => self.purge(&body::read(session).await?).await,
            ("/checkpoint", _, true) => self.checkpoint(&body::read(session).await?).await,
            ("/stats" | "/entries", _, true) | (_, Some(_), true) => Err(wrong_method("GET")),
            ("/purge" | "/checkpoint", _, false) => Err(wrong_method("POST")),
            _ => Err(not_found(
                "there are GET /cache/stats, /cache/entries and /cache/entries/KEY, and POST \
                 /cache/purge and /cache/checkpoint",
            )),
        }
    }

    async fn stats(&self, query: &str) -> Result<Reply, ApiError> {
        if !query.is_empty() {
            return Err(ApiError::bad_request("/cache/stats takes no parameters"));
        }
        let cache = self.cache;
        let work = move || {
            let mut counting = Counting::new(now_ms());
            let broken_off = scan(cache, |entry| {
                counting.add(entry);
                ControlFlow::Continue(())
            })?;
            cache.store().observe();
            let mut stats = counting.finish(broken_off);
            stats.server = Some(ServerStats::of(cache.metrics()));
            Reply::json(&stats)
        };
        apart(&self.looks, Duration::ZERO, work).await
    }

    async fn entries(&self, query: &str) -> Result<Reply, ApiError> {
        let now = now_ms();
        let filter = Filter::read(query, now).map_err(|why| ApiError::bad_request(&why))?;
        let cache = self.cache;
        let work = move || {
            let mut gathering = Gathering::new(filter, now);
            let broken_off = scan(cache, |entry| gathering.add(entry))?;
            Reply::json(&gathering.finish(broken_off))
        };
        apart(&self.looks, Duration::ZERO, work).await
    }

    async fn entry(&self, key: &str, query: &str) -> Result<Reply, ApiError> {
        let key = purge::key(key).map_err(|why| ApiError::bad_request(&why))?;
        let with_body = match query {
            "" | "body=true" => true,
            "body=false" => false,
            _ => {
                return Err(ApiError::bad_request(
                    "there is only `body`, which is true or false",
                ));
            }
        };
        let cache = self.cache;
        let work = move || {
            let found = cache.store().inspect(&key).map_err(|e| {
                log::warn!("an entry cannot be shown: {e} key={key}");
                unavailable(format!("the disk does not give the entry: {e}"))
            })?;
            let record = found.ok_or_else(|| not_found("there is no entry of this key"))?;
            let shown = Shown::of(&record, with_body, now_ms()).map_err(|e| {
                log::error!("an entry cannot be shown: {e} key={key}");
                ApiError::internal()
            })?;
            Reply::json(&shown)
        };
        apart(&self.looks, Duration::ZERO, work).await
    }

    async fn purge(&self, body: &[u8]) -> Result<Reply, ApiError> {
        let asked = Asked::read(body).and_then(|asked| asked.what(now_ms()));
        let what = asked.map_err(|why| ApiError::bad_request(&why))?;
        let cache = self.cache;
        let of_all = what == What::Covered(Covers::All);
        let elsewhere = match &what {
            What::Answer(key) => cache.store().question_elsewhere(key).await,
            What::Covered(_) => Ok(None),
        };
        let work = move || {
            let covers = match what {
                What::Covered(covers) => covers,
                What::Answer(key) => {
                    let answer = cache.store().answer_of(key, elsewhere);
                    answer.map_err(|error| {
                        log::error!("purge of key {key}: {error}");
                        not_purged(&error)
                    })?
                }
            };
            let words = purge::in_words(&covers);
            match cache.store().purge_everywhere(covers.clone()) {
                Ok(generation) => {
                    log::info!("purged: {words} generation={generation}");
                    let told = cache.store().fleet_is_told(TELLING_MAX);
                    if told == Some(false) {
                        log::warn!(
                            "the fleet is told of the purge once it can be reached: {words}"
                        );
                    }
                    Reply::json(&Purged::new(&covers, generation, told))
                }
                Err(error) => {
                    log::error!("purge of {words}: {error}");
                    Err(not_purged(&error))
                }
            }
        };
        let reply = apart(&self.purges, PURGE_WAIT_MAX, work).await;
        if of_all {
            // Nobody waits for that.
            drop(tokio::task::spawn_blocking(move || {
                cache.store().drop_purged();
            }));
        }
        reply
    }

    async fn checkpoint(&self, body: &[u8]) -> Result<Reply, ApiError> {
        let Checkpoint { directory } = serde_json::from_slice(body).map_err(|e| {
            ApiError::bad_request(&format!(r#"{e}; send {{"directory":"/a/new/directory"}}"#))
        })?;
        let cache = self.cache;
        let work = move || {
            let began = Instant::now();
            cache
                .store()
                .checkpoint(&directory)
                .map_err(|e| not_copied(&e))?;
            let shown = directory.display();
            log::info!("the database was copied to {shown}");
            Reply::json(&serde_json::json!({
                "directory": shown.to_string(),
                "seconds": began.elapsed().as_secs_f64(),
            }))
        };
        apart(&self.copies, Duration::ZERO, work).await
    }
}

/// Runs work that may block on the pool for that, if not too much of it is under way, or soon no more.
/// It is counted until it is over, whether or not somebody still waits.
async fn apart(
    limit: &Arc<Semaphore>,
    wait_max: Duration,
    work: impl FnOnce() -> Result<Reply, ApiError> + Send + 'static,
) -> Result<Reply, ApiError> {
    let turn = tokio::time::timeout(wait_max, limit.clone().acquire_owned());
    let Ok(Ok(permit)) = turn.await else {
        return Err(unavailable(
            "other requests of operators are under way; ask again in a while".into(),
        ));
    };
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(permit);
        done
    });
    done.await.unwrap_or_else(|_| Err(ApiError::internal()))
}

/// Visits all entries, for as long as a look may take. True if it was broken off by the clock.
fn scan(cache: &Cache, mut visit: impl FnMut(&Entry) -> ControlFlow<()>) -> Result<bool, ApiError> {
    let deadline = Instant::now() + LOOK_MAX;
    let mut late = false;
    let scanned = cache.store().scan(&mut |entry| {
        late = Instant::now() > deadline;
        match late {
            true => ControlFlow::Break(()),
            false => visit(&entry),
        }
    });
    match scanned {
        Ok(()) => Ok(late),
        Err(error) => Err(store_failed(&error)),
    }
}

fn store_failed(error: &StoreError) -> ApiError {
    log::warn!("an operator's request failed: {error}");
    unavailable(error.to_string())
}

fn not_purged(error: &PurgeError) -> ApiError {
    match error {
        PurgeError::TooMany(_) | PurgeError::NotLookedUp(_) => unavailable(error.to_string()),
        PurgeError::NotWritten(_) => ApiError {
            status: 500,
            kind: "store_error",
            code: "purge_not_written",
            message: format!("{error}. Ask again once llm_cache_store_writable is 1"),
        },
    }
}

fn not_copied(error: &CheckpointError) -> ApiError {
    match error {
        CheckpointError::Directory(why) => ApiError {
            status: 400,
            kind: "invalid_request_error",
            code: "directory",
            message: why.clone(),
        },
        CheckpointError::Store(error) => store_failed(error),
        CheckpointError::Write { .. } => {
            log::warn!("an operator's request failed: {error}");
            unavailable(error.to_string())
        }
    }
}

fn unavailable(message: String) -> ApiError {
    ApiError {
        status: 503,
        kind: "store_error",
        code: "unavailable",
        message,
    }
}

fn not_found(message: &str) -> ApiError {
    ApiError {
        status: 404,
        kind: "invalid_request_error",
        code: "not_found",
        message: message.into(),
    }
}

fn wrong_method(methods: &str) -> ApiError {
    ApiError {
        status: 405,
        kind: "invalid_request_error",
        code: "method_not_allowed",
        message: format!("this takes {methods} only"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn a_third_look_is_told_to_come_again_until_one_is_over() {
        let limit = Arc::new(Semaphore::new(LOOKS_MAX));
        let look = || Ok(Reply::text(StatusCode::OK, "looked"));
        let (release, held) = sync_channel(0);
        let held = Arc::new(parking_lot::Mutex::new(held));
        let under_way: Vec<_> = (0..LOOKS_MAX)
            .map(|_| {
                let (limit, held) = (limit.clone(), held.clone());
                tokio::spawn(async move {
                    let work = move || {
                        held.lock().recv().unwrap();
                        look()
                    };
                    // Whoever asked has left; the work goes on, and counts.
                    let asked = apart(&limit, Duration::ZERO, work);
                    let _ = tokio::time::timeout(Duration::ZERO, asked).await;
                })
            })
            .collect();
        for asked in under_way {
            asked.await.unwrap();
        }
        let refused = apart(&limit, Duration::ZERO, look).await.err().unwrap();
        assert_eq!((refused.status, refused.code), (503, "unavailable"));
        let reply = Reply::error(&refused).into_response();
        assert!(reply.headers().contains_key(http::header::RETRY_AFTER));
        // Who waits for a turn gets the first one.
        let waiting = tokio::spawn({
            let limit = limit.clone();
            async move { apart(&limit, Duration::from_secs(20), look).await }
        });
        release.send(()).unwrap();
        assert!(waiting.await.unwrap().is_ok());
        while limit.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
        assert!(apart(&limit, Duration::ZERO, look).await.is_ok());
        release.send(()).unwrap();
    }
}
