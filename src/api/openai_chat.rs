//! OpenAI chat completions: `chat/completions`. When an answer is complete: [`choices`].

use super::request::Request;
use super::{Bypass, Facts, Grammar, choices};
use crate::key::canonical::Canonical;

#[cfg(test)]
mod tests;

pub(super) const GRAMMAR: Grammar = Grammar {
    label: "chat",
    operation: "chat",
    path: "chat/completions",
    ignored: &[
        "user",
        "safety_identifier",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
    ],
    sorted: &[
        "audio",
        "logit_bias",
        "messages",
        "modalities",
        "prediction",
        "reasoning",
        "stop",
        "stream_options",
        "tool_choice",
    ],
    key_headers: &["openai-beta"],
    facts,
    judge: choices::judge,
};

fn facts(body: &Canonical) -> Facts {
    let mut request = Request::new(body);
    request.read_choices(1);
    request.refuse_switched_on("store", Bypass::Store);
    request.refuse_set("web_search_options", Bypass::WebSearch);
    request.refuse_server_tools(&["function", "custom"]);
    request.refuse_file_ids("messages");
    request.facts()
}
