//! Anthropic messages as the stand-in gives them, in one document or as named events.

use std::time::Duration;

use serde_json::{Value, json};

use super::ask::{Ask, Refusal};
use super::reply::{Call, Reply};

pub(super) const PATH: &str = "/v1/messages";

pub(super) fn messages(call: &Call) -> Result<Reply, Refusal> {
    let ask = Ask::read(call.body, &["max_tokens"])?;
    Ok(if ask.stream {
        events(call, &ask)
    } else {
        document(call, &ask)
    })
}

fn document(call: &Call, ask: &Ask) -> Reply {
    let content = json!([{"type": "text", "text": ask.tokens.concat()}]);
    let message = message(call, ask, content, Some(stop_reason(ask)), ask.tokens.len());
    Reply::Json(call.pace.whole(ask.tokens.len()), message)
}

fn events(call: &Call, ask: &Ask) -> Reply {
    let start = message(call, ask, json!([]), None, 1);
    let mut frames = vec![
        (
            call.pace.first_token,
            event("message_start", json!({"message": start})),
        ),
        (
            Duration::ZERO,
            event(
                "content_block_start",
                json!({"index": 0, "content_block": {"type": "text", "text": ""}}),
            ),
        ),
        (Duration::ZERO, event("ping", json!({}))),
    ];
    let waits = std::iter::once(Duration::ZERO).chain(std::iter::repeat(call.pace.per_token));
    for (token, wait) in ask.tokens.iter().zip(waits) {
        let delta = json!({"index": 0, "delta": {"type": "text_delta", "text": token}});
        frames.push((wait, event("content_block_delta", delta)));
    }
    let delta = json!({
        "delta": {"stop_reason": stop_reason(ask), "stop_sequence": null},
        "usage": {"output_tokens": ask.tokens.len()},
    });
    frames.push((
        Duration::ZERO,
        event("content_block_stop", json!({"index": 0})),
    ));
    frames.push((Duration::ZERO, event("message_delta", delta)));
    frames.push((Duration::ZERO, event("message_stop", json!({}))));
    Reply::Stream(frames)
}

fn event(name: &str, mut data: Value) -> String {
    if let Some(fields) = data.as_object_mut() {
        fields.insert("type".into(), Value::from(name));
    }
    format!("event: {name}\ndata: {data}\n\n")
}

fn message(
    call: &Call,
    ask: &Ask,
    content: Value,
    stop_reason: Option<&str>,
    output_tokens: usize,
) -> Value {
    json!({
        "id": format!("msg_{:08}", call.number),
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": null,
        "usage": {"input_tokens": ask.prompt_tokens, "output_tokens": output_tokens},
    })
}

fn stop_reason(ask: &Ask) -> &'static str {
    if ask.cut { "max_tokens" } else { "end_turn" }
}
