"""What the stand-in LLM says as Anthropic."""

from mock_base import MESSAGES, Cut, arguments, arguments_text, halves, make_id, make_number, refuse, say, text_of, words

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


def error_body(status):
    return {"type": "error", "error": {"type": TYPES[status], "message": MESSAGES[status]}}


def messages(request, _call):
    breaks = refuse(request["model"])
    content = request["messages"][-1]["content"]
    prompt = text_of(content)
    text = say(prompt)
    answered = isinstance(content, list) and any(part.get("type") == "tool_result" for part in content)
    calls = bool(request.get("tools")) and not answered
    if calls:
        name = request["tools"][0]["name"]
        block = {"type": "tool_use", "id": make_id("toolu_"), "name": name, "input": arguments(prompt)}
    else:
        block = {"type": "text", "text": text}
    reason = "tool_use" if calls else "end_turn"
    base = {"id": make_id("msg_"), "type": "message", "role": "assistant", "model": request["model"], "stop_sequence": None}
    if not request.get("stream"):
        usage = {"input_tokens": len(prompt), "output_tokens": len(text)}
        return {**base, "content": [block], "stop_reason": reason, "usage": usage}

    def event(kind, **fields):
        return kind, {"type": kind, **fields}

    def events():
        usage = {"input_tokens": len(prompt), "output_tokens": 1}
        yield event("message_start", message={**base, "content": [], "stop_reason": None, "usage": usage})
        yield event("ping")
        if breaks == "error-cut":
            yield Cut
        if breaks:
            yield event("error", error={"type": "overloaded_error", "message": MESSAGES[529]})
            return
        opening = {**block, "input": {}} if calls else {**block, "text": ""}
        yield event("content_block_start", index=0, content_block=opening)
        for piece in halves(arguments_text(prompt)) if calls else words(text):
            delta = {"type": "input_json_delta", "partial_json": piece} if calls else {"type": "text_delta", "text": piece}
            yield event("content_block_delta", index=0, delta=delta)
        yield event("content_block_stop", index=0)
        delta = {"stop_reason": reason, "stop_sequence": None}
        yield event("message_delta", delta=delta, usage={"output_tokens": len(text)})
        yield event("message_stop")

    return events()


def count_tokens(request, _call):
    refuse(request["model"])
    # The API has no id; the count stands in for it, so that tests can tell a replay.
    return {"input_tokens": make_number()}


ROUTES = [
    (r"/v1/messages", messages),
    (r"/v1/messages/count_tokens", count_tokens),
]
