//! Turns: stories that measure time or fill both cores run alone, all others side by side.

use std::cell::Cell;

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static TURNS: RwLock<()> = RwLock::const_new(());

thread_local! {
    /// How many turns the test on this thread holds; every test runs on one thread.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// A turn; the next one may begin when it is dropped.
pub struct Turn {
    _shared: Option<RwLockReadGuard<'static, ()>>,
    _alone: Option<RwLockWriteGuard<'static, ()>>,
}

/// Waits for a turn with no other story beside it.
pub async fn alone() -> Turn {
    let guard = TURNS.write().await;
    HELD.set(HELD.get() + 1);
    Turn {
        _shared: None,
        _alone: Some(guard),
    }
}

/// Waits for a turn beside other stories; at once if this test holds one already.
pub async fn beside() -> Turn {
    // A second guard behind a waiting writer would wait for ever.
    let guard = if HELD.get() == 0 {
        Some(TURNS.read().await)
    } else {
        None
    };
    HELD.set(HELD.get() + 1);
    Turn {
        _shared: guard,
        _alone: None,
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // The thread may be past its locals when a runtime is torn down.
        let _ = HELD.try_with(|held| held.set(held.get().saturating_sub(1)));
    }
}
