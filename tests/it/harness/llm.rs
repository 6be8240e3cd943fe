//! Answers of a well-behaved provider, marked `call-N` by the call that caused them.

use serde_json::{Value, json};

use super::reply::{Call, Reply};

/// What every good chat answer reports: (input, output) tokens.
pub const USAGE: (u64, u64) = (11, 7);

/// Answers every API by its path, streamed if asked to.
pub fn any(call: &Call) -> Reply {
    let path = call.target.split('?').next().unwrap_or_default();
    let known = |tail: &str| call.method == "POST" && path.ends_with(tail);
    if known("/completions") && call.json().is_null() {
        return Reply::error(400, &format!("call-{}: not JSON", call.number));
    }
    match call.streams() {
        true if known("/chat/completions") => chat_stream(call, 5),
        false if known("/chat/completions") => chat_json(call),
        false if known("/completions") => completion(call),
        false if known("/embeddings") => embeddings(call),
        true if known("/responses") => responses_stream(call),
        false if known("/responses") => responses_json(call),
        true if known("/messages") => messages_stream(call),
        false if known("/messages") => messages_json(call),
        _ => echo(call),
    }
}

/// Says what was asked, for paths that are no API of the cache.
pub fn echo(call: &Call) -> Reply {
    let said = json!({
        "id": format!("echo-call-{}", call.number),
        "method": call.method, "target": call.target, "length": call.body.len(),
    });
    Reply::json(200, said)
}

fn chat_usage() -> Value {
    let (input, output) = USAGE;
    json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output})
}

pub fn chat_value(call: &Call) -> Value {
    json!({
        "id": format!("chatcmpl-call-{}", call.number), "object": "chat.completion",
        "created": 1_760_000_000, "model": call.model(),
        "choices": [{
            "index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Paris, said the mock."},
        }],
        "usage": chat_usage(),
    })
}

pub fn chat_json(call: &Call) -> Reply {
    Reply::json(200, chat_value(call))
}

pub fn tool_call() -> Value {
    let arguments = "{\"city\":\"Paris\",\"days\":3}";
    json!({
        "index": 0, "id": "call_x", "type": "function",
        "function": {"name": "weather", "arguments": arguments},
    })
}

/// One frame of a chat stream.
pub fn chunk(call: &Call, delta: Value, finish: Option<&str>) -> String {
    let chunk = json!({
        "id": format!("chatcmpl-call-{}", call.number), "object": "chat.completion.chunk",
        "created": 1_760_000_000, "model": call.model(),
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    });
    data(&chunk)
}

pub fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

pub const DONE: &str = "data: [DONE]\n\n";

/// A chat stream: a role frame, `words` content frames, the finish, usage, `[DONE]`.
pub fn chat_frames(call: &Call, words: usize) -> Vec<String> {
    let mut frames = vec![chunk(
        call,
        json!({"role": "assistant", "content": ""}),
        None,
    )];
    frames.extend((0..words).map(|n| chunk(call, json!({"content": format!("word{n} ")}), None)));
    frames.push(chunk(call, json!({}), Some("stop")));
    let usage = json!({
        "id": format!("chatcmpl-call-{}", call.number), "object": "chat.completion.chunk",
        "created": 1_760_000_000, "model": call.model(), "choices": [], "usage": chat_usage(),
    });
    frames.push(data(&usage));
    frames.push(DONE.to_owned());
    frames
}

pub fn chat_stream(call: &Call, words: usize) -> Reply {
    Reply::frames(chat_frames(call, words))
}

pub fn completion(call: &Call) -> Reply {
    let answer = json!({
        "id": format!("cmpl-call-{}", call.number), "object": "text_completion",
        "created": 1_760_000_000, "model": call.model(),
        "choices": [{"text": "Paris", "index": 0, "logprobs": null, "finish_reason": "stop"}],
        "usage": chat_usage(),
    });
    Reply::json(200, answer)
}

pub fn embeddings(call: &Call) -> Reply {
    let asked = call.json()["input"].as_array().map_or(1, Vec::len);
    let item = |index| json!({"object": "embedding", "index": index, "embedding": [0.25, -0.5]});
    let answer = json!({
        "object": "list", "data": (0..asked).map(item).collect::<Vec<_>>(),
        // The API has no id, so the model's name is marked.
        "model": format!("{}-call-{}", call.model(), call.number),
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    });
    Reply::json(200, answer)
}

fn response_value(call: &Call, status: &str) -> Value {
    let finished = status == "completed";
    let message = json!({
        "type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
        "content": [{"type": "output_text", "text": "Paris", "annotations": []}],
    });
    json!({
        "id": format!("resp_call-{}", call.number), "object": "response", "status": status,
        "created_at": 1_760_000_000, "model": call.model(), "error": null,
        "incomplete_details": null, "store": false,
        "output": if finished { json!([message]) } else { json!([]) },
        "usage": if finished {
            json!({"input_tokens": 11, "output_tokens": 7, "total_tokens": 18})
        } else {
            Value::Null
        },
    })
}

pub fn responses_json(call: &Call) -> Reply {
    Reply::json(200, response_value(call, "completed"))
}

pub fn responses_stream(call: &Call) -> Reply {
    let item = json!({"type": "message", "id": "msg_1", "role": "assistant", "content": []});
    let delta =
        json!({"item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "Paris"});
    let events = [
        (
            "response.created",
            json!({"response": response_value(call, "in_progress")}),
        ),
        (
            "response.output_item.added",
            json!({"output_index": 0, "item": item}),
        ),
        ("response.output_text.delta", delta),
        (
            "response.completed",
            json!({"response": response_value(call, "completed")}),
        ),
    ];
    Reply::frames(
        events
            .into_iter()
            .enumerate()
            .map(|(number, (name, mut value))| {
                value["type"] = json!(name);
                value["sequence_number"] = json!(number);
                event(name, &value)
            }),
    )
}

pub fn event(name: &str, value: &Value) -> String {
    format!("event: {name}\ndata: {value}\n\n")
}

pub fn messages_json(call: &Call) -> Reply {
    let answer = json!({
        "id": format!("msg_call-{}", call.number), "type": "message", "role": "assistant",
        "model": call.model(), "content": [{"type": "text", "text": "Paris"}],
        "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 11, "output_tokens": 7},
    });
    Reply::json(200, answer)
}

/// A messages stream with a text block and a tool call.
pub fn messages_frames(call: &Call) -> Vec<String> {
    let message = json!({
        "id": format!("msg_call-{}", call.number), "type": "message", "role": "assistant",
        "model": call.model(), "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": 11, "output_tokens": 1},
    });
    let tool = json!({"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}});
    let json_part = |part: &str| json!({"type": "input_json_delta", "partial_json": part});
    let events = [
        ("message_start", json!({"message": message})),
        (
            "content_block_start",
            json!({"index": 0, "content_block": {"type": "text", "text": ""}}),
        ),
        ("ping", json!({})),
        (
            "content_block_delta",
            json!({"index": 0, "delta": {"type": "text_delta", "text": "Hm."}}),
        ),
        ("content_block_stop", json!({"index": 0})),
        (
            "content_block_start",
            json!({"index": 1, "content_block": tool}),
        ),
        (
            "content_block_delta",
            json!({"index": 1, "delta": json_part("{\"city\":")}),
        ),
        (
            "content_block_delta",
            json!({"index": 1, "delta": json_part("\"Paris\"}")}),
        ),
        ("content_block_stop", json!({"index": 1})),
        (
            "message_delta",
            json!({
                "delta": {"stop_reason": "tool_use", "stop_sequence": null},
                "usage": {"output_tokens": 7},
            }),
        ),
        ("message_stop", json!({})),
    ];
    let frames = events.into_iter().map(|(name, mut value)| {
        value["type"] = json!(name);
        event(name, &value)
    });
    frames.collect()
}

pub fn messages_stream(call: &Call) -> Reply {
    Reply::frames(messages_frames(call))
}
