"""What the stand-in LLM says as Ollama: one JSON object to a line, streamed unless `stream` is false."""

import json

from mock_base import MESSAGES, Cut, Pieces, arguments, make_number, refuse, say, vector, words

CREATED = "2023-11-14T22:13:20.123456789Z"


def error_body(status):
    return {"error": MESSAGES[status]}


def _figures(prompt, count):
    # The API has no id: the duration tells a replay.
    counts = {"prompt_eval_count": len(prompt), "prompt_eval_duration": 7, "eval_count": count, "eval_duration": 8}
    return {"done_reason": "stop", "total_duration": make_number(), "load_duration": 5, **counts}


def _answer(request, prompt, pieces, whole):
    """`pieces` are the fields of the lines of a stream, `whole` those of the one object."""
    breaks = refuse(request["model"])
    base = {"model": request["model"], "created_at": CREATED}
    figures = _figures(prompt, len(pieces))
    if request.get("stream") is False:
        return {**base, **whole, "done": True, **figures}

    def lines():
        for number, piece in enumerate(pieces):
            if breaks and number == 2:
                if breaks == "error-cut":
                    yield Cut
                if breaks == "error-stream":
                    yield error_body(500)
                return
            yield {**base, **piece, "done": False}
        empty = {"message": {"role": "assistant", "content": ""}} if "message" in whole else {"response": ""}
        yield {**base, **empty, "done": True, **figures}

    encoded = (line if line is Cut else json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines())
    return Pieces("application/x-ndjson", encoded)


def chat(request, _call):
    last = request["messages"][-1]
    prompt = last.get("content") or ""
    if request.get("tools") and last["role"] != "tool":
        name = request["tools"][0]["function"]["name"]
        calls = [{"function": {"name": name, "arguments": arguments(prompt)}}]
        message = {"role": "assistant", "content": "", "tool_calls": calls}
        return _answer(request, prompt, [{"message": message}], {"message": message})
    pieces = [{"message": {"role": "assistant", "content": word}} for word in words(say(prompt))]
    return _answer(request, prompt, pieces, {"message": {"role": "assistant", "content": say(prompt)}})


def generate(request, _call):
    prompt = request["prompt"]
    pieces = [{"response": word} for word in words(say(prompt))]
    return _answer(request, prompt, pieces, {"response": say(prompt), "context": [1, 2, 3]})


def embed(request, _call):
    refuse(request["model"])
    inputs = request["input"] if isinstance(request["input"], list) else [request["input"]]
    figures = {"total_duration": make_number(), "load_duration": 5, "prompt_eval_count": len(inputs)}
    return {"model": request["model"], "embeddings": [vector(text) for text in inputs], **figures}


ROUTES = [
    (r"/api/chat", chat),
    (r"/api/generate", generate),
    (r"/api/embed", embed),
]
