//! What makes a complete answer worth keeping: how it ended, and whether its tool calls can be read.
//!
//! An answer that a retry would mend must not be believed for the lifetime of an entry.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use super::Fault;

/// All tool arguments of one answer together, in bytes, with what keeping them costs.
const ARGUMENTS_BYTES_MAX: usize = 16 << 20;
/// What one tool call costs besides its arguments, roughly.
const CALL_BYTES: usize = 64;

/// By which the server says that it failed or gave up: OpenRouter, vLLM and SGLang, DeepSeek, GLM.
const FAILED: &[&str] = &[
    "error",
    "abort",
    "insufficient_system_resource",
    "network_error",
];
/// By which it says that the answer has reached a limit: OpenAI, Mistral, Anthropic.
const LENGTH: &[&str] = &[
    "length",
    "model_length",
    "max_tokens",
    "model_context_window_exceeded",
];
/// By which it says that the answer was held back: OpenAI, GLM.
const FILTERED: &[&str] = &["content_filter", "sensitive"];
/// By which it says that the model refused: Anthropic.
const REFUSED: &[&str] = &["refusal"];
/// By which it says that the turn goes on: Anthropic.
const UNFINISHED: &[&str] = &["pause_turn"];

/// What is wrong with an answer that ended for this reason, if anything.
pub(super) fn end_fault(reason: &str) -> Option<Fault> {
    let table = [
        (FAILED, Fault::ErrorFinish),
        (LENGTH, Fault::Length),
        (FILTERED, Fault::Filtered),
        (REFUSED, Fault::Refused),
        (UNFINISHED, Fault::IncompleteStatus),
    ];
    table
        .into_iter()
        .find(|(reasons, _)| reasons.contains(&reason))
        .map(|(_, fault)| fault)
}

/// True if tool arguments can be read.
pub(super) fn is_json(arguments: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(arguments).is_ok()
}

/// The arguments of an answer's tool calls, in the pieces of a stream.
#[derive(Default)]
pub(super) struct ToolArguments {
    calls: BTreeMap<(u64, u64), Vec<u8>>,
    bytes: usize,
}

impl ToolArguments {
    /// Adds a piece to a call, named by choice and index or the like.
    pub(super) fn add(&mut self, call: (u64, u64), piece: &[u8]) {
        self.bytes = self.bytes.saturating_add(piece.len());
        if !self.calls.contains_key(&call) {
            self.bytes = self.bytes.saturating_add(CALL_BYTES);
        }
        if self.bytes > ARGUMENTS_BYTES_MAX {
            self.calls.clear();
            return;
        }
        self.calls.entry(call).or_default().extend_from_slice(piece);
    }

    /// Whether all arguments can be read.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.bytes > ARGUMENTS_BYTES_MAX {
            return Err(Fault::TooLarge);
        }
        match self.calls.values().all(|arguments| is_json(arguments)) {
            true => Ok(()),
            false => Err(Fault::BadToolCall),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_joined_by_call() {
        let mut arguments = ToolArguments::default();
        assert_eq!(arguments.check(), Ok(()));
        for (call, piece) in [((0, 0), "{\"a\""), ((0, 1), "["), ((0, 0), ":1}")] {
            arguments.add(call, piece.as_bytes());
            assert_eq!(arguments.check(), Err(Fault::BadToolCall));
        }
        arguments.add((0, 1), b"]");
        assert_eq!(arguments.check(), Ok(()));
    }

    #[test]
    fn arguments_beyond_the_limit_are_dropped() {
        let mut arguments = ToolArguments::default();
        arguments.add((0, 0), b"1");
        arguments.add(
            (0, 1),
            &vec![b' '; ARGUMENTS_BYTES_MAX - 2 * CALL_BYTES - 1],
        );
        assert_eq!(arguments.check(), Err(Fault::BadToolCall));
        arguments.add((0, 1), b"1");
        assert_eq!(arguments.check(), Err(Fault::TooLarge));
        assert!(arguments.calls.is_empty());
        arguments.add((0, 2), b"1");
        assert_eq!(arguments.check(), Err(Fault::TooLarge));
    }
}
