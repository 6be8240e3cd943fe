//! What an operation of the shared tier may come to instead of an answer.

use thiserror::Error;

/// Why an operation came to nothing. Every variant means: go on without the shared tier.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Trouble {
    /// There is no connection, or the server says that it cannot serve now.
    #[error("the server cannot be reached")]
    Unreachable,
    /// No answer in time; whether it was done is not known.
    #[error("no answer in time")]
    Deadline,
    /// Too much is under way.
    #[error("too many operations at once")]
    Busy,
    /// The server has failed too often just now.
    #[error("the circuit breaker is open")]
    Open,
    /// The server, well as it is, does not do that.
    #[error("refused: {0}")]
    Refused(String),
}

/// What comes back is not what such a command gives.
const ODD: &str = "an answer of another kind than asked for";

impl Trouble {
    /// An answer that is none.
    pub fn odd() -> Trouble {
        Trouble::Refused(ODD.to_owned())
    }

    /// Whether it comes from a key that holds something else than it should.
    pub fn is_of_another_kind(&self) -> bool {
        matches!(self, Trouble::Refused(why) if why == ODD || why.starts_with("WRONGTYPE"))
    }
}
