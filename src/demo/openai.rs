//! OpenAI chat completions as the stand-in gives them, in one document or as server-sent events.

use std::time::Duration;

use serde_json::{Value, json};

use super::ask::{Ask, Refusal};
use super::reply::{Call, Reply};

pub(super) const PATH: &str = "/v1/chat/completions";

pub(super) fn chat(call: &Call) -> Result<Reply, Refusal> {
    let ask = Ask::read(call.body, &["max_completion_tokens", "max_tokens"])?;
    Ok(if ask.stream {
        events(call, &ask)
    } else {
        document(call, &ask)
    })
}

fn document(call: &Call, ask: &Ask) -> Reply {
    let message = json!({"role": "assistant", "content": ask.tokens.concat(), "refusal": null});
    let end = finish_reason(ask);
    let completion = json!({
        "id": id(call),
        "object": "chat.completion",
        "created": call.created,
        "model": ask.model,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": end}],
        "usage": usage(ask),
    });
    Reply::Json(call.pace.whole(ask.tokens.len()), completion)
}

fn events(call: &Call, ask: &Ask) -> Reply {
    let chunk = |choices: Value, usage: Option<Value>| {
        let mut chunk = json!({
            "id": id(call),
            "object": "chat.completion.chunk",
            "created": call.created,
            "model": ask.model,
            "choices": choices,
        });
        // Asked for usage, every chunk has the member, null in all but the last.
        if let Some(fields) = chunk.as_object_mut().filter(|_| ask.include_usage) {
            fields.insert("usage".into(), usage.unwrap_or(Value::Null));
        }
        format!("data: {chunk}\n\n")
    };
    let delta = |delta: Value, finish_reason: Option<&str>| {
        let choice =
            json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason});
        chunk(json!([choice]), None)
    };

    let role = json!({"role": "assistant", "content": "", "refusal": null});
    let mut frames = vec![(call.pace.first_token, delta(role, None))];
    let waits = std::iter::once(Duration::ZERO).chain(std::iter::repeat(call.pace.per_token));
    for (token, wait) in ask.tokens.iter().zip(waits) {
        frames.push((wait, delta(json!({"content": token}), None)));
    }
    frames.push((Duration::ZERO, delta(json!({}), Some(finish_reason(ask)))));
    if ask.include_usage {
        frames.push((Duration::ZERO, chunk(json!([]), Some(usage(ask)))));
    }
    frames.push((Duration::ZERO, "data: [DONE]\n\n".to_owned()));
    Reply::Stream(frames)
}

fn id(call: &Call) -> String {
    format!("chatcmpl-{:08}", call.number)
}

fn finish_reason(ask: &Ask) -> &'static str {
    if ask.cut { "length" } else { "stop" }
}

fn usage(ask: &Ask) -> Value {
    json!({
        "prompt_tokens": ask.prompt_tokens,
        "completion_tokens": ask.tokens.len(),
        "total_tokens": ask.prompt_tokens + ask.tokens.len(),
    })
}
