//! One call of the mock and how its answer went: what was sent, and whether it ended.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::sync::watch;

use super::reply::{Call, Step};

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// One call and what became of its answer.
#[derive(Debug)]
pub struct Exchange {
    pub call: Call,
    /// The bytes handed to the connection so far and how the answer ended, if it did.
    pub sent: watch::Sender<(Vec<u8>, Option<Sent>)>,
}

/// How an answer ended on the provider's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Whole,
    /// Broken by the script.
    Broken,
    /// The other side went away first.
    Abandoned,
}

/// Marks an answer as abandoned unless it ended before.
struct Performance(Arc<Exchange>);

impl Performance {
    fn end(&self, how: Sent) {
        self.0
            .sent
            .send_if_modified(|(_, end)| end.is_none() && end.replace(how).is_none());
    }
}

impl Drop for Performance {
    fn drop(&mut self) {
        self.end(Sent::Abandoned);
    }
}

/// A body that goes through these steps and notes in `exchange` how far it came.
pub fn play(steps: Vec<Step>, exchange: Arc<Exchange>) -> Body {
    let state = (steps.into_iter(), Performance(exchange));
    let frames = stream::unfold(state, |(mut steps, performance)| async move {
        loop {
            match steps.next() {
                Some(Step::Send(bytes)) => {
                    performance
                        .0
                        .sent
                        .send_modify(|(sent, _)| sent.extend_from_slice(&bytes));
                    return Some((Ok(Frame::data(bytes)), (steps, performance)));
                }
                Some(Step::Pause(time)) => tokio::time::sleep(time).await,
                Some(Step::Hold(gate)) => gate.passed().await,
                Some(Step::Break) => {
                    // Lets hyper flush what was sent before the connection is dropped.
                    tokio::task::yield_now().await;
                    performance.end(Sent::Broken);
                    let error = io::Error::other("broken by the script");
                    return Some((Err(error), (steps, performance)));
                }
                None => {
                    performance.end(Sent::Whole);
                    return None;
                }
            }
        }
    });
    StreamBody::new(frames).boxed_unsync()
}
