"""What the stand-in LLM says, one function for each API: request in, JSON or a stream of events out."""

import base64
import hashlib
import itertools
import json
import struct

_ids = itertools.count(1)

CREATED_S = 1_700_000_000
EMBEDDING_SIZE = 8
MESSAGES = {
    400: "mock: the request is malformed – “naïve”",
    401: "mock: the credential is not valid",
    429: "mock: too many requests, try again",
    500: "mock: the model fell over",
    529: "mock: overloaded",
}
OPENAI_TYPES = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error", 500: "server_error"}
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


class Done:
    """The `[DONE]` sentinel of OpenAI streams."""


class Cut:
    """The connection ends here, without the end of the body."""


class Error(Exception):
    """An answer with an error status."""

    def __init__(self, status):
        super().__init__(status)
        self.status = status

    def body(self, path):
        message = MESSAGES[self.status]
        if path.endswith("/messages"):
            return {"type": "error", "error": {"type": ANTHROPIC_TYPES[self.status], "message": message}}
        kind = OPENAI_TYPES.get(self.status, "server_error")
        return {"error": {"message": message, "type": kind, "param": None, "code": f"mock_{self.status}"}}

    def headers(self):
        return [("retry-after", "1")] if self.status == 429 else []


def _refuse(request):
    """Raises what an `error-NNN` model asks for, or tells how its stream is to break."""
    model = request["model"]
    if model in ("error-stream", "error-cut"):
        return model
    if model.startswith("error-"):
        raise Error(int(model.removeprefix("error-")))
    return None


def _id(prefix):
    return f"{prefix}{next(_ids):08d}"


def _text(value):
    """The text of a message's content: a string, or a list of parts."""
    if isinstance(value, list):
        return " ".join(part.get("text") or part.get("content") or "" for part in value)
    return value or ""


def _say(prompt):
    return f"you said: {prompt} – “ça va” 你好 🙂"


def _words(text):
    return [word + " " for word in text.split(" ")[:-1]] + [text.split(" ")[-1]]


def _halves(text):
    return [text[: len(text) // 2], text[len(text) // 2 :]]


def _arguments(prompt):
    return json.dumps({"question": prompt, "unit": "°C"}, ensure_ascii=False)


def _credential(headers):
    """A short digest of the credential, so that a test can see which one came through."""
    value = headers.get("authorization") or headers.get("x-api-key") or ""
    return "fp_" + hashlib.sha256(value.encode()).hexdigest()[:10]


def chat(request, headers):
    breaks = _refuse(request)
    last = request["messages"][-1]
    prompt = _text(last["content"])
    text = _say(prompt)
    base = {"id": _id("chatcmpl-"), "created": CREATED_S, "model": request["model"]}
    base["system_fingerprint"] = _credential(headers)
    usage = {"prompt_tokens": len(prompt), "completion_tokens": len(text), "total_tokens": len(prompt) + len(text)}
    call = None
    if request.get("tools") and last["role"] != "tool":
        name = request["tools"][0]["function"]["name"]
        call = {"id": _id("call_"), "type": "function", "function": {"name": name, "arguments": _arguments(prompt)}}
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
            for piece in _halves(call["function"]["arguments"]):
                yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        else:
            for word in _words(text):
                yield chunk({"content": word})
        yield chunk({}, "tool_calls" if call else "stop")
        if (request.get("stream_options") or {}).get("include_usage"):
            yield None, {**base, "object": "chat.completion.chunk", "choices": [], "usage": usage}
        yield Done

    return events()


def completions(request, _headers):
    _refuse(request)
    prompt = request["prompt"]
    text = _say(prompt)
    base = {"id": _id("cmpl-"), "object": "text_completion", "created": CREATED_S, "model": request["model"]}

    def choice(text, finish_reason):
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish_reason}

    if not request.get("stream"):
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(text), "total_tokens": len(prompt) + len(text)}
        return {**base, "choices": [choice(text, "stop")], "usage": usage}
    pieces = [(None, {**base, "choices": [choice(word, None)]}) for word in _words(text)]
    return iter([*pieces, (None, {**base, "choices": [choice("", "stop")]}), Done])


def embeddings(request, _headers):
    _refuse(request)
    inputs = request["input"] if isinstance(request["input"], list) else [request["input"]]
    data = []
    for index, text in enumerate(inputs):
        # Sums of powers of two, so that float32 holds them exactly.
        vector = [byte / 256 - 0.5 for byte in hashlib.sha256(text.encode()).digest()[:EMBEDDING_SIZE]]
        if request.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{EMBEDDING_SIZE}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    # The API has no id; the token count stands in for it, so that tests can tell a replay.
    tokens = next(_ids)
    return {
        "object": "list",
        "data": data,
        "model": request["model"],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def responses(request, _headers):
    breaks = _refuse(request)
    given = request["input"]
    last = given[-1] if isinstance(given, list) else {"content": given}
    prompt = _text(last.get("content"))
    text = _say(prompt)
    usage = {
        "input_tokens": len(prompt),
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": len(text),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": len(prompt) + len(text),
    }
    base = {
        "id": _id("resp_"),
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
            "id": _id("fc_"),
            "type": "function_call",
            "status": "completed",
            "call_id": _id("call_"),
            "name": request["tools"][0]["name"],
            "arguments": _arguments(prompt),
        }
    else:
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        item = {"id": _id("msg_"), "type": "message", "status": "completed", "role": "assistant", "content": [part]}
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
            for piece in _halves(item["arguments"]):
                yield event("response.function_call_arguments.delta", **at, delta=piece)
            yield event("response.function_call_arguments.done", **at, name=item["name"], arguments=item["arguments"])
        else:
            at_part = {**at, "content_index": 0}
            opening = {**item, "status": "in_progress", "content": []}
            yield event("response.output_item.added", output_index=0, item=opening)
            yield event("response.content_part.added", **at_part, part={**part, "text": ""})
            for word in _words(text):
                yield event("response.output_text.delta", **at_part, delta=word, logprobs=[])
            yield event("response.output_text.done", **at_part, text=text, logprobs=[])
            yield event("response.content_part.done", **at_part, part=part)
        yield event("response.output_item.done", output_index=0, item=item)
        yield event("response.completed", response=finished)

    return events()


def messages(request, _headers):
    breaks = _refuse(request)
    content = request["messages"][-1]["content"]
    prompt = _text(content)
    text = _say(prompt)
    answered = isinstance(content, list) and any(part.get("type") == "tool_result" for part in content)
    calls = bool(request.get("tools")) and not answered
    if calls:
        arguments = json.loads(_arguments(prompt))
        block = {"type": "tool_use", "id": _id("toolu_"), "name": request["tools"][0]["name"], "input": arguments}
    else:
        block = {"type": "text", "text": text}
    reason = "tool_use" if calls else "end_turn"
    base = {"id": _id("msg_"), "type": "message", "role": "assistant", "model": request["model"], "stop_sequence": None}
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
        for piece in _halves(_arguments(prompt)) if calls else _words(text):
            delta = {"type": "input_json_delta", "partial_json": piece} if calls else {"type": "text_delta", "text": piece}
            yield event("content_block_delta", index=0, delta=delta)
        yield event("content_block_stop", index=0)
        delta = {"stop_reason": reason, "stop_sequence": None}
        yield event("message_delta", delta=delta, usage={"output_tokens": len(text)})
        yield event("message_stop")

    return events()


ANSWERS = {
    "/v1/chat/completions": chat,
    "/v1/completions": completions,
    "/v1/embeddings": embeddings,
    "/v1/responses": responses,
    "/v1/messages": messages,
}
