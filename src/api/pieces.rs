//! Streams of OpenAI's audio APIs: pieces of one thing (sound, or what was said), and an event that ends
//! them and counts tokens.
//!
//! Complete iff the last event is the one that ends the stream, and no error came. Not worth keeping
//! unless the operator says so: no piece with anything in it.

use serde::Deserialize;

use super::named_event;
use super::sse::Event;
use super::stream::{Seen, StreamJudge, StreamRules};
use super::wire::{Counts, Filled, InputUsage, any_filled};
use super::{Fault, Judge, Worth};

/// The events of one API.
#[derive(Clone, Copy)]
pub(super) struct Kinds {
    /// Carries a piece.
    pub(super) piece: &'static str,
    /// Ends the stream.
    pub(super) end: &'static str,
}

/// The judge of a stream with these events.
pub(super) fn judge(kinds: Kinds, worth: Worth) -> Box<dyn Judge> {
    StreamJudge::boxed(Rules {
        kinds,
        worth,
        filled: false,
    })
}

struct Rules {
    kinds: Kinds,
    worth: Worth,
    filled: bool,
}

/// Any of the events; each has some of these members.
#[derive(Deserialize)]
struct Piece {
    audio: Option<Filled>,
    delta: Option<Filled>,
    text: Option<Filled>,
    usage: Option<Counts<InputUsage>>,
}

impl Rules {
    fn read(&mut self, kind: &str, data: &str, seen: &mut Seen) -> Result<(), serde_json::Error> {
        let ends = kind == self.kinds.end;
        if ends {
            seen.end();
        }
        if ends || kind == self.kinds.piece {
            let piece = serde_json::from_str::<Piece>(data)?;
            self.filled |= any_filled(&[&piece.audio, &piece.delta, &piece.text]);
            seen.spent(piece.usage.and_then(|usage| usage.0?.usage()));
        }
        Ok(())
    }
}

impl StreamRules for Rules {
    fn event(&mut self, event: Event<'_>, seen: &mut Seen) {
        if let Some((kind, data)) = named_event::read(event, seen)
            && self.read(&kind, data, seen).is_err()
        {
            seen.fail(Fault::BadFrame);
        }
    }

    fn may_follow_end(&self, event: Event<'_>) -> bool {
        named_event::is_sentinel(event)
    }

    fn complete(&self) -> Result<(), Fault> {
        match self.filled {
            true => Ok(()),
            false => self.worth.check(Fault::Empty),
        }
    }
}
