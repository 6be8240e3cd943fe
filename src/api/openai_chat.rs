//! OpenAI chat completions: `chat/completions`. When an answer is complete: [`choices`].

use super::place::openai_paths;
use super::question::Reader;
use super::request::Request;
use super::{Bypass, Facts, Grammar, Place, choices};
use crate::key::canonical::Canonical;

#[cfg(test)]
mod tests;

pub(super) const GRAMMAR: Grammar = Grammar {
    label: "chat",
    operation: "chat",
    paths: openai_paths!("chat/completions"),
    ignored: &[
        "user",
        "safety_identifier",
        "metadata",
        "prompt_cache_key",
        "prompt_cache_retention",
    ],
    framing: &["stream", "stream_options"],
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
    read: Reader::Json(facts),
    judge: choices::judge,
};

fn facts(body: &Canonical, place: &Place<'_>) -> Facts {
    let mut request = Request::new(body, place);
    request.read_variant();
    request.read_choices(1);
    request.refuse_switched_on("store", Bypass::Store);
    request.refuse_set("web_search_options", Bypass::WebSearch);
    request.refuse_server_tools(&["function", "custom"]);
    request.refuse_file_ids("messages");
    request.facts()
}
