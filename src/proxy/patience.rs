//! Limits on waits that are seldom waited for.

use std::pin::pin;
use std::time::Duration;

use futures_util::poll;

/// What `work` comes to, `None` if that takes longer than `limit`. Most reads and writes are done at
/// once: only one that is not gets a timer.
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    match poll!(work.as_mut()) {
        std::task::Poll::Ready(done) => Some(done),
        std::task::Poll::Pending => tokio::time::timeout(limit, work).await.ok(),
    }
}
