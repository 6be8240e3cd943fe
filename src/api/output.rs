//! What makes a complete answer worth keeping: how it ended, and whether its tool calls can be read.
//!
//! An answer that a retry would mend must not be believed for the lifetime of an entry.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use super::Fault;
use super::candidates::finish_fault;

/// All tool arguments of one answer together, in bytes, with what keeping them costs.
const ARGUMENTS_BYTES_MAX: usize = 16 << 20;
/// What one tool call costs besides its arguments, roughly.
const CALL_BYTES: usize = 64;

/// By which the model says that it has said all: OpenAI, Anthropic, Cohere, Together, TGI, Baidu.
const DONE: &[&str] = &[
    "stop",
    "end_turn",
    "stop_sequence",
    "complete",
    "eos",
    "eos_token",
    "normal",
];
/// By which it says that it calls tools: OpenAI, Anthropic, Cohere.
const CALLS: &[&str] = &["tool_calls", "function_call", "tool_use", "tool_call"];
/// By which the server says that the answer has reached a limit: OpenAI, Mistral, Anthropic, MiniMax,
/// and the responses API.
const LENGTH: &[&str] = &[
    "length",
    "model_length",
    "max_tokens",
    "model_context_window_exceeded",
    "max_output",
    "max_output_tokens",
];
/// By which it says that the answer was held back: OpenAI, GLM, Bedrock.
const FILTERED: &[&str] = &[
    "content_filter",
    "sensitive",
    "content_filtered",
    "guardrail_intervened",
];
/// By which it says that the model refused: Anthropic.
const REFUSED: &[&str] = &["refusal"];
/// By which it says that the turn goes on: Anthropic.
const UNFINISHED: &[&str] = &["pause_turn", "compaction"];
/// By which it says that a call could not be read: Google, in OpenAI's words.
const BAD_CALL: &[&str] = &["function_call_filter"];

/// What is wrong with an answer that ended for this reason, if anything. Gateways pass on the words
/// of the provider behind them, in any case and with more behind a colon. A reason that nobody knows
/// is taken for a failure, as are `error`, `abort` and the like. No reason has no fault.
pub(super) fn end_fault(reason: &str) -> Option<Fault> {
    let said = plain(reason);
    if said.is_empty() || DONE.contains(&&*said) || CALLS.contains(&&*said) {
        return None;
    }
    let kind = said.split(':').next().unwrap_or_default().trim_end();
    let table = [
        (LENGTH, Fault::Length),
        (FILTERED, Fault::Filtered),
        (REFUSED, Fault::Refused),
        (UNFINISHED, Fault::IncompleteStatus),
        (BAD_CALL, Fault::BadToolCall),
    ];
    let found = table.into_iter().find(|(kinds, _)| kinds.contains(&kind));
    found
        .map(|(_, fault)| fault)
        .or_else(|| finish_fault(&kind.to_ascii_uppercase()))
        .or(Some(Fault::ErrorFinish))
}

/// Whether an answer that ended for this reason calls a tool.
pub(super) fn ends_in_call(reason: &str) -> bool {
    CALLS.contains(&&*plain(reason))
}

/// A reason in one case and with one way to part words.
fn plain(reason: &str) -> String {
    reason.to_ascii_lowercase().replace('-', "_")
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

    /// Whether all arguments can be read. None at all will do where `may_be_empty` says so, by choice.
    pub(super) fn check(&self, may_be_empty: impl Fn(u64) -> bool) -> Result<(), Fault> {
        if self.bytes > ARGUMENTS_BYTES_MAX {
            return Err(Fault::TooLarge);
        }
        let mut calls = self.calls.iter();
        let good = calls.all(|((choice, _), arguments)| {
            is_json(arguments) || arguments.is_empty() && may_be_empty(*choice)
        });
        match good {
            true => Ok(()),
            false => Err(Fault::BadToolCall),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ends_that_are_known_to_be_good_have_no_fault() {
        let table: &[(Option<Fault>, &[&str])] = &[
            (
                None,
                &[
                    "",
                    "stop",
                    "STOP",
                    "Stop",
                    "tool_calls",
                    "tool-calls",
                    "function_call",
                    "end_turn",
                    "stop_sequence",
                    "tool_use",
                    "COMPLETE",
                    "TOOL_CALL",
                    "eos",
                    "eos_token",
                    "normal",
                ],
            ),
            (
                Some(Fault::Length),
                &[
                    "length",
                    "LENGTH",
                    "model_length",
                    "max_tokens",
                    "MAX_TOKENS",
                    "max_output_tokens",
                    "model_context_window_exceeded",
                    "length: 4096",
                ],
            ),
            (
                Some(Fault::Filtered),
                &[
                    "content_filter",
                    "content-filter",
                    "content_filter: RECITATION",
                    "sensitive",
                    "content_filtered",
                    "guardrail_intervened",
                    "SAFETY",
                    "safety",
                    "RECITATION",
                    "PROHIBITED_CONTENT",
                    "image_safety",
                ],
            ),
            (Some(Fault::Refused), &["refusal"]),
            (
                Some(Fault::IncompleteStatus),
                &["pause_turn", "compaction", "CONTINUATION"],
            ),
            (
                Some(Fault::BadToolCall),
                &[
                    "function_call_filter: MALFORMED_FUNCTION_CALL",
                    "MALFORMED_FUNCTION_CALL",
                ],
            ),
            (
                Some(Fault::ErrorFinish),
                &[
                    "error",
                    "abort",
                    "insufficient_system_resource",
                    "network_error",
                    "load",
                    "OTHER",
                    "timeout",
                    "cancelled",
                    "repetition",
                    "null",
                    " ",
                    ":",
                    "stop:",
                    "stop: cancelled",
                    "stop ",
                    "a_reason_from_the_future",
                ],
            ),
        ];
        for (fault, reasons) in table {
            for reason in *reasons {
                assert_eq!(end_fault(reason), *fault, "{reason}");
            }
        }
    }

    #[test]
    fn arguments_are_joined_by_call() {
        let mut arguments = ToolArguments::default();
        assert_eq!(arguments.check(|_| false), Ok(()));
        for (call, piece) in [((0, 0), "{\"a\""), ((0, 1), "["), ((0, 0), ":1}")] {
            arguments.add(call, piece.as_bytes());
            assert_eq!(arguments.check(|_| false), Err(Fault::BadToolCall));
        }
        arguments.add((0, 1), b"]");
        assert_eq!(arguments.check(|_| false), Ok(()));
        arguments.add((1, 0), b"");
        assert_eq!(arguments.check(|choice| choice == 1), Ok(()));
        assert_eq!(
            arguments.check(|choice| choice == 0),
            Err(Fault::BadToolCall)
        );
    }

    #[test]
    fn arguments_beyond_the_limit_are_dropped() {
        let mut arguments = ToolArguments::default();
        arguments.add((0, 0), b"1");
        arguments.add(
            (0, 1),
            &vec![b' '; ARGUMENTS_BYTES_MAX - 2 * CALL_BYTES - 1],
        );
        assert_eq!(arguments.check(|_| false), Err(Fault::BadToolCall));
        arguments.add((0, 1), b"1");
        assert_eq!(arguments.check(|_| false), Err(Fault::TooLarge));
        assert!(arguments.calls.is_empty());
        arguments.add((0, 2), b"1");
        assert_eq!(arguments.check(|_| false), Err(Fault::TooLarge));
    }
}
