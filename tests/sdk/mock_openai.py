"""What the stand-in LLM says as OpenAI, first part: the APIs that make text, and embeddings."""

import base64
import itertools
import struct

from mock_base import (
    CREATED_S,
    EMBEDDING_SIZE,
    MESSAGES,
    Cut,
    Done,
    arguments_text,
    credential,
    halves,
    make_id,
    make_number,
    refuse,
    say,
    text_of,
    vector,
    words,
)

TYPES = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error", 500: "server_error"}


def error_body(status):
    kind = TYPES.get(status, "server_error")
    return {"error": {"message": MESSAGES[status], "type": kind, "param": None, "code": f"mock_{status}"}}


def chat(request, asked):
    breaks = refuse(request["model"])
    last = request["messages"][-1]
    prompt = text_of(last["content"])
    text = say(prompt)
    base = {"id": make_id("chatcmpl-"), "created": CREATED_S, "model": request["model"]}
    base["system_fingerprint"] = credential(asked.headers)
    usage = {"prompt_tokens": len(prompt), "completion_tokens": len(text), "total_tokens": len(prompt) + len(text)}
    call = None
    if request.get("tools") and last["role"] != "tool":
        name = request["tools"][0]["function"]["name"]
        call = {"id": make_id("call_"), "type": "function", "function": {"name": name, "arguments": arguments_text(prompt)}}
    if not request.get("stream"):
        message = {"role": "assistant", "content": None if call else text, "refusal": None}
        if call:
            message["tool_calls"] = [call]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls" if call else "stop"}
        return {**base, "object": "chat.completion", "choices": [choice], "usage": usage}

    def chunk(delta, finish_reason=None):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return None, {**base, "object": "chat.completion.chunk", "choices": [choice]}

    def events():
        yield chunk({"role": "assistant", "content": None if call else ""})
        if breaks:
            yield chunk({"content": "half an ans"})
            if breaks == "error-cut":
                yield Cut
            yield None, {"error": {"message": MESSAGES[500], "type": "server_error", "param": None, "code": None}}
            yield Done
            return
        if call:
            opening = {**call, "index": 0, "function": {**call["function"], "arguments": ""}}
            yield chunk({"tool_calls": [opening]})
            for piece in halves(call["function"]["arguments"]):
                yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        else:
            for word in words(text):
                yield chunk({"content": word})
        yield chunk({}, "tool_calls" if call else "stop")
        if (request.get("stream_options") or {}).get("include_usage"):
            yield None, {**base, "object": "chat.completion.chunk", "choices": [], "usage": usage}
        yield Done

    return events()


def completions(request, _call):
    refuse(request["model"])
    prompt = request["prompt"]
    text = say(prompt)
    base = {"id": make_id("cmpl-"), "object": "text_completion", "created": CREATED_S, "model": request["model"]}

    def choice(text, finish_reason):
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}

    if not request.get("stream"):
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(text), "total_tokens": len(prompt) + len(text)}
        return {**base, "choices": [choice(text, "stop")], "usage": usage}
    pieces = [(None, {**base, "choices": [choice(word, None)]}) for word in words(text)]
    return iter([*pieces, (None, {**base, "choices": [choice("", "stop")]}), Done])


def embeddings(request, _call):
    refuse(request["model"])
    inputs = request["input"] if isinstance(request["input"], list) else [request["input"]]
    data = []
    for index, text in enumerate(inputs):
        numbers = vector(str(text))  # a text, or the list of its tokens
        if request.get("encoding_format") == "base64":
            numbers = base64.b64encode(struct.pack(f"<{EMBEDDING_SIZE}f", *numbers)).decode()
        data.append({"object": "embedding", "index": index, "embedding": numbers})
    # The API has no id; the token count stands in for it, so that tests can tell a replay.
    tokens = make_number()
    return {
        "object": "list",
        "data": data,
        "model": request["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def responses(request, _call):
    breaks = refuse(request["model"])
    given = request["input"]
    last = given[-1] if isinstance(given, list) else {"content": given}
    prompt = text_of(last.get("content"))
    text = say(prompt)
    usage = {
        "input_tokens": len(prompt),
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": len(text),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": len(prompt) + len(text),
    }
    base = {
        "id": make_id("resp_"),
        "object": "response",
        "created_at": CREATED_S,
        "model": request["model"],
        "error": None,
        "incomplete_details": None,
        "instructions": request.get("instructions"),
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": request.get("tools") or [],
        "top_p": 1.0,
        "store": request.get("store", True),
    }
    calls = bool(request.get("tools")) and last.get("type") != "function_call_output"
    if calls:
        item = {
            "id": make_id("fc_"),
            "type": "function_call",
            "status": "completed",
            "call_id": make_id("call_"),
            "name": request["tools"][0]["name"],
            "arguments": arguments_text(prompt),
        }
    else:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        item = {"id": make_id("msg_"), "type": "message", "status": "completed", "role": "assistant", "content": [part]}
    finished = {**base, "status": "completed", "output": [item], "usage": usage}
    if not request.get("stream"):
        return finished

    numbers = itertools.count()

    def event(kind, **fields):
        return kind, {"type": kind, "sequence_number": next(numbers), **fields}

    def events():
        started = {**base, "status": "in_progress", "output": [], "usage": None}
        at = {"item_id": item["id"], "output_index": 0}
        yield event("response.created", response=started)
        yield event("response.in_progress", response=started)
        if breaks == "error-cut":
            yield Cut
        if breaks:
            yield event("error", code="server_error", message=MESSAGES[500], param=None)
            return
        if calls:
            opening = {**item, "status": "in_progress", "arguments": ""}
            yield event("response.output_item.added", output_index=0, item=opening)
            for piece in halves(item["arguments"]):
                yield event("response.function_call_arguments.delta", **at, delta=piece)
            yield event("response.function_call_arguments.done", **at, name=item["name"], arguments=item["arguments"])
        else:
            at_part = {**at, "content_index": 0}
            opening = {**item, "status": "in_progress", "content": []}
            yield event("response.output_item.added", output_index=0, item=opening)
            yield event("response.content_part.added", **at_part, part={**part, "text": ""})
            for word in words(text):
                yield event("response.output_text.delta", **at_part, delta=word, logprobs=[])
            yield event("response.output_text.done", **at_part, text=text, logprobs=[])
            yield event("response.content_part.done", **at_part, part=part)
        yield event("response.output_item.done", output_index=0, item=item)
        yield event("response.completed", response=finished)

    return events()


# Azure has the same APIs under a deployment's name.
AT = r"(?:/v1|/openai/deployments/(?P<deployment>[^/]+))"

ROUTES = [
    (AT + r"/chat/completions", chat),
    (AT + r"/completions", completions),
    (AT + r"/embeddings", embeddings),
    (r"/v1/responses", responses),
]
