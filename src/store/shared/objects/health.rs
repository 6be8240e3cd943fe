//! What is said of a bucket: in the log, and to those who asked.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::super::client::trouble::Trouble;
use crate::metrics::objects::Operation;

/// A bucket that does now and then what it is asked is not complained of more often.
const COMPLAINTS_APART: Duration = Duration::from_secs(10);
/// Of a message of the bucket, which may be a page.
const MESSAGE_MAX: usize = 300;

/// Whether the bucket did what it was asked, as it was last logged.
pub struct Health {
    /// By what was asked: who may not read may write, perhaps.
    said: Mutex<[Said; Operation::ALL.len()]>,
    name: String,
}

#[derive(Default)]
struct Said {
    /// `None`: nothing yet.
    well: Option<bool>,
    complained_at: Option<Instant>,
}

impl Health {
    /// Of a bucket of this name, of which nothing is known.
    pub fn of(name: &str) -> Health {
        Health {
            said: Mutex::default(),
            name: name.to_owned(),
        }
    }

    /// Notes how a request ended; logs it if that is new.
    pub fn note<T>(&self, operation: Operation, outcome: &Result<T, object_store::Error>) {
        let is_well = outcome.is_ok();
        {
            let mut said = self.said.lock();
            let Some(said) = said.get_mut(operation as usize) else {
                return;
            };
            let lately = |at: Instant| at.elapsed() < COMPLAINTS_APART;
            if said.well == Some(is_well) || (!is_well && said.complained_at.is_some_and(lately)) {
                return;
            }
            said.well = Some(is_well);
            if !is_well {
                said.complained_at = Some(Instant::now());
            }
        }
        let (name, operation) = (&self.name, operation.as_str());
        match outcome {
            Ok(_) => log::info!("the bucket {name} is used ({operation})"),
            Err(error) => log::warn!(
                "the bucket {name} cannot be used for the moment ({operation}): {}",
                in_short(error)
            ),
        }
    }
}

/// What it is to those who asked.
pub fn trouble_of(error: &object_store::Error) -> Trouble {
    use object_store::Error;
    match error {
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            Trouble::Refused(in_short(error))
        }
        _ => Trouble::Unreachable,
    }
}

/// What is at the bottom of it, in one line that a log can bear.
fn in_short(error: &object_store::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string();
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((at, _)) = words.char_indices().nth(MESSAGE_MAX) {
        words.truncate(at);
        words.push('…');
    }
    words
}
