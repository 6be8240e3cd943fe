//! Pingora and nothing else: what a server on it can reach at most.

use async_trait::async_trait;
use http::{Response, header};
use pingora_core::apps::http_app::ServeHttp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{RunArgs, Server};
use pingora_core::services::listening::Service;

#[derive(clap::Args)]
pub struct Args {
    /// Address to listen on
    addr: String,
    /// Worker threads
    #[arg(default_value_t = 1)]
    threads: usize,
}

/// Reads the request and answers with this, 2 KB of JSON.
struct Fixed(Vec<u8>);

#[async_trait]
impl ServeHttp for Fixed {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        while let Ok(Some(piece)) = session.read_request_body().await {
            std::hint::black_box(piece);
        }
        let response = Response::builder()
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_LENGTH, self.0.len());
        response.body(self.0.clone()).expect("a response")
    }
}

pub fn run(args: &Args) {
    let conf = ServerConf {
        threads: args.threads,
        work_stealing: true,
        // It is ended by a signal, and nobody waits for its answers then.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let fixed = Fixed(crate::mock::document(1).into_bytes());
    let mut service = Service::new("bare".to_owned(), fixed);
    service.add_tcp(&args.addr);
    server.add_service(service);
    server.run(RunArgs::default());
}
