//! Only what is complete and good by its API's own grammar is kept; everything still reaches the
//! client as it came.

use serde_json::{Value, json};

use crate::harness::*;

/// One provider's answer, and the question that gets it.
struct Case {
    name: &'static str,
    ask: Ask,
    reply: fn(&Call) -> Reply,
}

fn case(name: &'static str, ask: Ask, reply: fn(&Call) -> Reply) -> Case {
    Case { name, ask, reply }
}

/// Asks every case twice before its upstream; `kept`: whether the second is a hit.
async fn judged(cases: Vec<Case>, kept: bool) {
    for Case { name, ask, reply } in cases {
        let origin = origin().answer(reply).start().await;
        // A refusal may be shared for a moment with requests that come right behind it.
        let proxy = proxy()
            .upstream(&origin)
            .set("cache.error_linger", "0s")
            .start()
            .await;
        let first = proxy.ask(&ask).await;
        let whole = reply(&origin.last()).bytes();
        let arrived = match first.end {
            End::Clean => first.body == whole,
            End::Broken(_) => whole.starts_with(&first.body),
        };
        assert!(arrived, "{name}: changed on its way{}", first.dump());
        assert_eq!(first.outcome(), "miss", "{name}: {}", first.dump());
        let second = proxy.ask(&ask).await;
        let (outcome, calls) = if kept { ("hit", 1) } else { ("miss", 2) };
        assert_eq!(second.outcome(), outcome, "{name}: {}", second.dump());
        assert_eq!(origin.count(), calls, "{name}");
        if kept {
            assert_eq!(second.body, whole, "{name}: another answer than the first");
            assert_eq!(first.end, End::Clean, "{name}");
        }
    }
}

fn changed(reply: Reply, change: impl FnOnce(&mut Value)) -> Reply {
    let mut value = serde_json::from_slice(&reply.bytes()).unwrap();
    change(&mut value);
    Reply::json(reply.status, value)
}

/// A chat stream without the frames whose text fits.
fn without(call: &Call, text: &str) -> Vec<String> {
    llm::chat_frames(call, 3)
        .into_iter()
        .filter(|frame| !frame.contains(text))
        .collect()
}

fn finish(call: &Call, reason: &str) -> Vec<String> {
    let finish = |frame: String| frame.replace("\"finish_reason\":\"stop\"", reason);
    llm::chat_frames(call, 3).into_iter().map(finish).collect()
}

#[tokio::test]
async fn streams_that_are_not_complete_are_not_kept() {
    let ask = || chat_stream("incomplete");
    judged(
        vec![
            case("broken in the middle", ask(), |call| {
                llm::chat_stream(call, 3).broken_after(3)
            }),
            case("broken before [DONE]", ask(), |call| {
                llm::chat_stream(call, 3).broken_after(6)
            }),
            case("[DONE] without finish_reason", ask(), |call| {
                Reply::frames(without(call, "\"finish_reason\":\"stop\""))
            }),
            case("finish_reason without [DONE]", ask(), |call| {
                Reply::frames(without(call, "[DONE]"))
            }),
            case("an error object, then [DONE]", ask(), |call| {
                let error = llm::data(&error_object("overloaded"));
                let mut frames = llm::chat_frames(call, 3);
                frames.splice(3..5, [error]);
                Reply::frames(frames)
            }),
            case(
                "an error object behind the finish, then [DONE]",
                ask(),
                |call| {
                    let mut frames = llm::chat_frames(call, 3);
                    frames.insert(5, llm::data(&error_object("overloaded")));
                    Reply::frames(frames)
                },
            ),
            case("object: error", ask(), |call| {
                let error = json!({"object": "error", "message": "no", "code": 500});
                let mut frames = llm::chat_frames(call, 3);
                frames.insert(2, llm::data(&error));
                Reply::frames(frames)
            }),
            case("ends inside a frame", ask(), |call| {
                let mut frames = llm::chat_frames(call, 3);
                let last = frames.last_mut().unwrap();
                last.truncate(last.len() - 2);
                Reply::frames(frames)
            }),
            case("no frame at all", ask(), |_| {
                Reply::frames(Vec::<String>::new())
            }),
            case("one choice of two finished", two_choices(), |call| {
                llm::chat_stream(call, 3)
            }),
        ],
        false,
    )
    .await;
}

fn two_choices() -> Ask {
    let mut body = chat_body("two");
    body["n"] = json!(2);
    body["stream"] = json!(true);
    Ask::post("/v1/chat/completions", body.to_string())
}

#[tokio::test]
async fn answers_that_are_not_good_are_not_kept() {
    let json_answer = || chat("not good");
    let stream = || chat_stream("not good");
    judged(
        vec![
            case("429", json_answer(), |call| {
                Reply::error(429, &format!("call-{}", call.number))
            }),
            case("500", json_answer(), |call| {
                Reply::error(500, &format!("call-{}", call.number))
            }),
            case("503 to a stream", stream(), |_| Reply::error(503, "busy")),
            case("400", json_answer(), |_| Reply::error(400, "no")),
            case("a part of an answer", json_answer(), |call| {
                let mut reply = llm::chat_json(call);
                reply.status = 206;
                reply.header("content-range", "bytes 0-99/100")
            }),
            case("a 200 with an error body", json_answer(), |_| {
                Reply::error(200, "no")
            }),
            case("a 200 with an error body to a stream", stream(), |_| {
                Reply::error(200, "no")
            }),
            case("a 200 with a page", json_answer(), |_| {
                Reply::new(200, "text/html", "<h1>Sign in</h1>")
            }),
            case("a 200 that is no JSON", json_answer(), |_| {
                Reply::new(200, "application/json", "{\"id\":")
            }),
            case("a 200 without a body", json_answer(), |_| {
                Reply::new(200, "application/json", "")
            }),
            case("cut by length", json_answer(), |call| {
                changed(llm::chat_json(call), |v| {
                    v["choices"][0]["finish_reason"] = "length".into()
                })
            }),
            case("filtered", json_answer(), |call| {
                changed(llm::chat_json(call), |v| {
                    v["choices"][0]["finish_reason"] = "content_filter".into();
                })
            }),
            case("empty", json_answer(), |call| {
                changed(llm::chat_json(call), |v| {
                    v["choices"][0]["message"]["content"] = "".into()
                })
            }),
            case("no choices", json_answer(), |call| {
                changed(llm::chat_json(call), |v| v["choices"] = json!([]))
            }),
            case("a tool call with cut arguments", json_answer(), |call| {
                changed(llm::chat_json(call), |v| {
                    let mut tool = llm::tool_call();
                    tool["function"]["arguments"] = "{\"city\":".into();
                    v["choices"][0]["message"] =
                        json!({"role": "assistant", "content": null, "tool_calls": [tool]});
                    v["choices"][0]["finish_reason"] = "tool_calls".into();
                })
            }),
            case("a stream cut by length", stream(), |call| {
                Reply::frames(finish(call, "\"finish_reason\":\"length\""))
            }),
            case("a filtered stream", stream(), |call| {
                Reply::frames(finish(call, "\"finish_reason\":\"content_filter\""))
            }),
            case("an empty stream", stream(), |call| {
                Reply::frames(without(call, "word"))
            }),
            case("one embedding of two", embeddings(&["a", "b"]), |call| {
                changed(llm::embeddings(call), |v| {
                    v["data"].as_array_mut().unwrap().truncate(1);
                })
            }),
            case("an embedding with a null", embeddings(&["a"]), |call| {
                changed(llm::embeddings(call), |v| {
                    v["data"][0]["embedding"][1] = Value::Null
                })
            }),
        ],
        false,
    )
    .await;
}

#[tokio::test]
async fn other_apis_have_their_own_grammar_of_complete() {
    judged(
        vec![
            case("responses: incomplete", responses("cut", false), |call| {
                changed(llm::responses_json(call), |v| v["status"] = "incomplete".into())
            }),
            case("responses: failed", responses("fail", false), |call| {
                changed(llm::responses_json(call), |v| v["status"] = "failed".into())
            }),
            case("responses: no completed event", responses("cut", true), |call| {
                let mut reply = llm::responses_stream(call);
                reply.steps.pop();
                reply
            }),
            case("messages: no message_stop", messages("cut", true), |call| {
                let mut frames = llm::messages_frames(call);
                frames.pop();
                Reply::frames(frames)
            }),
            case("messages: no stop_reason", messages("cut", true), |call| {
                let mut frames = llm::messages_frames(call);
                frames.retain(|frame| !frame.contains("message_delta"));
                Reply::frames(frames)
            }),
            case("messages: overloaded in mid-stream", messages("busy", true), |call| {
                let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}});
                let mut frames = llm::messages_frames(call);
                frames.insert(5, llm::event("error", &error));
                Reply::frames(frames)
            }),
            case("messages: cut by max_tokens", messages("cut", false), |call| {
                changed(llm::messages_json(call), |v| v["stop_reason"] = "max_tokens".into())
            }),
            case("completions: no finish_reason", completion("cut"), |call| {
                changed(llm::completion(call), |v| v["choices"][0]["finish_reason"] = Value::Null)
            }),
        ],
        false,
    )
    .await;
}

#[tokio::test]
async fn complete_answers_of_every_api_are_kept() {
    judged(
        vec![
            case("chat", chat("good"), llm::any),
            case("chat stream", chat_stream("good"), llm::any),
            case("completions", completion("good"), llm::any),
            case("embeddings", embeddings(&["a", "b", "c"]), llm::any),
            case("responses", responses("good", false), llm::any),
            case("responses stream", responses("good", true), llm::any),
            case("messages", messages("good", false), llm::any),
            case("messages stream with a tool call", messages("good", true), llm::any),
            case("chat with a tool call", chat("tool"), |call| {
                changed(llm::chat_json(call), |v| {
                    v["choices"][0]["message"] =
                        json!({"role": "assistant", "content": null, "tool_calls": [llm::tool_call()]});
                    v["choices"][0]["finish_reason"] = "tool_calls".into();
                })
            }),
            case("chat stream with a tool call", chat_stream("tool"), |call| {
                let tool = json!({"role": "assistant", "tool_calls": [llm::tool_call()]});
                Reply::frames([
                    llm::chunk(call, tool, None),
                    llm::chunk(call, json!({}), Some("tool_calls")),
                    llm::DONE.to_owned(),
                ])
            }),
            case("two choices", two_choices(), |call| {
                let frames = llm::chat_frames(call, 3);
                let second = |f: &String| f.replace("\"index\":0", "\"index\":1");
                let done = frames.len() - 1;
                let both = frames[..done].iter().flat_map(|f| [f.clone(), second(f)]);
                Reply::frames(both.chain([llm::DONE.to_owned()]).collect::<Vec<_>>())
            }),
        ],
        true,
    )
    .await;
}

#[tokio::test]
async fn a_stream_is_judged_however_it_is_framed() {
    judged(
        vec![
            case("comments between frames", chat_stream("framing"), |call| {
                let mut frames = llm::chat_frames(call, 3);
                frames.insert(0, ": PROCESSING\n\n".to_owned());
                frames.insert(3, ":\n\n".to_owned());
                Reply::frames(frames)
            }),
            case("CRLF", chat_stream("framing"), |call| {
                let crlf = |f: String| f.replace('\n', "\r\n");
                Reply::frames(
                    llm::chat_frames(call, 3)
                        .into_iter()
                        .map(crlf)
                        .collect::<Vec<_>>(),
                )
            }),
            case(
                "no space behind the colon",
                chat_stream("framing"),
                |call| {
                    let tight = |f: String| f.replace("data: ", "data:");
                    Reply::frames(
                        llm::chat_frames(call, 3)
                            .into_iter()
                            .map(tight)
                            .collect::<Vec<_>>(),
                    )
                },
            ),
            case("in pieces of three bytes", chat_stream("framing"), |call| {
                let whole = llm::chat_frames(call, 3).concat();
                let pieces = whole
                    .as_bytes()
                    .chunks(3)
                    .map(<[u8]>::to_vec)
                    .collect::<Vec<_>>();
                Reply::frames(pieces)
            }),
            case("in one piece", chat_stream("framing"), |call| {
                Reply::frames([llm::chat_frames(call, 3).concat()])
            }),
            case("with a length", chat_stream("framing"), |call| {
                let whole = llm::chat_frames(call, 3).concat();
                Reply::new(200, "text/event-stream", whole)
            }),
        ],
        true,
    )
    .await;
}

#[tokio::test]
async fn an_answer_ended_by_the_connection_is_kept_only_if_its_grammar_is_complete() {
    let frames = |number| {
        let call = format!("chatcmpl-call-{number}");
        let delta = json!({"content": "word"});
        let chunk = |delta: Value, finish: Value| {
            let choice = json!({"index": 0, "delta": delta, "finish_reason": finish});
            llm::data(&json!({"id": call, "object": "chat.completion.chunk", "choices": [choice]}))
        };
        [
            chunk(delta, Value::Null),
            chunk(json!({}), "stop".into()),
            llm::DONE.to_owned(),
        ]
    };
    let cut = move |n| until_close("text/event-stream", &frames(n)[..2].concat());
    let whole = move |n| until_close("text/event-stream", &frames(n).concat());
    let origin = raw_origin(move |n| if n <= 2 { cut(n) } else { whole(n) }).await;
    let proxy = proxy().upstream_at(&origin.url()).start().await;
    let ask = chat_stream("until close");
    for call in [1, 2] {
        let answer = proxy.ask(&ask).await;
        answer.is_broken();
        assert_eq!(answer.call(), call, "a cut answer was stored");
    }
    let miss = proxy.ask(&ask).await;
    miss.is(200, "miss");
    let hit = proxy.ask(&ask).await;
    hit.is(200, "hit");
    assert_eq!((hit.call(), hit.body.clone()), (3, miss.body));
    assert_eq!(origin.calls().len(), 3);
}

#[tokio::test]
async fn a_stream_of_gemini_ended_by_the_connection_is_not_kept() {
    let candidate = |number| {
        let call = format!("call-{number}");
        let parts = json!({"parts": [{"text": call}], "role": "model"});
        let candidate = json!({"content": parts, "finishReason": "STOP", "index": 0});
        llm::data(&json!({"candidates": [candidate]}))
    };
    let origin = raw_origin(move |n| until_close("text/event-stream", &candidate(n))).await;
    let proxy = proxy().upstream_at(&origin.url()).start().await;
    let ask = Ask::post(
        "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        r#"{"contents":[{"parts":[{"text":"until close"}]}]}"#,
    );
    // It may be whole, so that the client is not told of a break.
    for _ in 0..2 {
        proxy.ask(&ask).await.is(200, "miss");
    }
    assert_eq!(origin.calls().len(), 2);
}

#[tokio::test]
async fn followers_of_a_stream_without_an_end_see_no_clean_end() {
    let gate = Gate::closed();
    let held = gate.clone();
    let first = llm::data(&json!({"choices": [{"index": 0, "delta": {"content": "a"}}]}));
    let script = move |_| {
        let mut acts = until_close("text/event-stream", &first);
        acts.insert(2, Act::Hold(held.clone()));
        acts
    };
    let origin = raw_origin(script).await;
    let proxy = proxy().upstream_at(&origin.url()).start().await;
    let ask = chat_stream("until close");
    let asks = vec![ask.clone(); 5];
    let h2 = proxy.h2().await;
    let opened = async {
        proxy.following(6).await;
        gate.open();
    };
    let (answers, over_h2, ()) = tokio::join!(ask_all(&proxy, &asks), h2.ask(&ask), opened);
    assert_eq!(origin.calls().len(), 1);
    for answer in answers.iter().chain([&over_h2]) {
        answer.is_broken();
    }
}

#[tokio::test]
async fn a_length_that_is_not_reached_is_a_break() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n";
    let script = move |n| {
        let body = format!("{head}{{\"id\":\"chatcmpl-call-{n}\"");
        vec![Act::Write(body.into_bytes()), Act::Close]
    };
    let origin = raw_origin(script).await;
    let proxy = proxy().upstream_at(&origin.url()).start().await;
    for call in [1, 2] {
        let answer = proxy.ask(&chat("short")).await;
        answer.is_broken();
        assert_eq!(answer.call(), call);
    }
}

#[tokio::test]
async fn an_answer_longer_than_the_recorder_still_reaches_the_client() {
    let long = |call: &Call| {
        changed(llm::chat_json(call), |v| {
            v["choices"][0]["message"]["content"] = "long ".repeat(100_000).into();
        })
    };
    let origin = origin().answer(long).start().await;
    let proxy = proxy()
        .upstream(&origin)
        .set("limits.answer_bytes_max", "64KiB")
        .start()
        .await;
    for call in [1, 2] {
        let answer = proxy.ask(&chat("long")).await;
        answer.is(200, "miss");
        assert_eq!(answer.call(), call);
        assert_eq!(answer.body, long(&origin.last()).bytes());
    }
}
