//! The recorded answers under tests/forms/. Read at build time, so that the tests need no path.

use crate::api::Api;

/// An answer in both forms.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) api: Api,
    pub(super) name: &'static str,
    pub(super) stream: &'static str,
    pub(super) json: &'static str,
}

macro_rules! pairs {
    ($api:ident, $folder:literal: $($name:literal,)+) => {
        &[$(Pair {
            api: Api::$api,
            name: concat!($folder, "/", $name),
            stream: include_str!(concat!("../../../../tests/forms/", $folder, "/", $name, ".sse")),
            json: include_str!(concat!("../../../../tests/forms/", $folder, "/", $name, ".json")),
        }),+]
    };
}

pub(super) const CHAT: &[Pair] = pairs! { OpenAiChat, "chat":
    "annotations",
    "annotations-in-pieces",
    "audio-whole",
    "choices-interleaved",
    "citations-perplexity",
    "crlf-comments",
    "empty-strings",
    "function-call",
    "logprobs",
    "logprobs-refusal",
    "moderation",
    "plain",
    "reasoning-deepseek",
    "reasoning-openrouter",
    "refusal",
    "text-and-tools",
    "tool",
    "tools-parallel",
    "unicode",
    "unknown-fields",
    "usage-in-each-chunk",
    "vllm",
};

pub(super) const RESPONSES: &[Pair] = pairs! { OpenAiResponses, "responses":
    "annotations",
    "crlf-comments-done",
    "custom-tool",
    "empty-deltas-keepalive",
    "logprobs",
    "numbers",
    "output-in-items-only",
    "plain",
    "reasoning-summary",
    "reasoning-text",
    "refusal",
    "server-tool-steps",
    "several-parts",
    "text-and-tool",
    "tool",
    "tools-parallel",
    "unicode",
    "unknown-fields",
};

pub(super) const MESSAGES: &[Pair] = pairs! { AnthropicMessages, "messages":
    "citations",
    "citations-null",
    "context-management",
    "crlf-comments-done",
    "empty-deltas",
    "plain",
    "refusal-details",
    "stop-sequence",
    "thinking",
    "thinking-and-tool",
    "thinking-redacted",
    "tool",
    "tool-without-input",
    "tools-parallel",
    "unicode",
    "unknown-fields",
    "usage-cumulative-server-tool",
};

pub(super) fn pairs() -> impl Iterator<Item = &'static Pair> {
    [CHAT, RESPONSES, MESSAGES].into_iter().flatten()
}
