"""What the stand-in LLM says as Gemini: the model and the method are in the path."""

import json

from mock_base import MESSAGES, Cut, Pieces, arguments, make_id, make_number, refuse, say, vector, words

STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}


def error_body(status):
    return {"error": {"code": status, "message": MESSAGES[status], "status": STATUSES.get(status, "UNAVAILABLE")}}


def _prompt(request):
    parts = request["contents"][-1]["parts"]
    return " ".join(part.get("text", "") for part in parts), any("functionResponse" in part for part in parts)


def _frames(request):
    """The answer as the frames of a stream, the last one with the end."""
    prompt, answered = _prompt(request)
    calls = bool(request.get("tools")) and not answered
    pieces = words(say(prompt))
    if calls:
        tool = request["tools"][0]
        # The API takes both spellings, and LiteLLM uses the other one.
        declared = tool.get("functionDeclarations") or tool["function_declarations"]
        name = declared[0]["name"]
        pieces = [{"functionCall": {"name": name, "args": arguments(prompt)}}]
    else:
        pieces = [{"text": word} for word in pieces]
    made = {"modelVersion": request["model"], "responseId": make_id("gemini-")}
    counts = {"promptTokenCount": len(prompt), "candidatesTokenCount": len(pieces)}
    counts["totalTokenCount"] = len(prompt) + len(pieces)
    for number, piece in enumerate(pieces, 1):
        candidate = {"content": {"parts": [piece], "role": "model"}, "index": 0}
        if number == len(pieces):
            candidate["finishReason"] = "STOP"
        yield {"candidates": [candidate], "usageMetadata": counts, **made}


def generate(request, _call):
    refuse(request["model"])
    frames = list(_frames(request))
    answer = frames[-1]
    parts = [frame["candidates"][0]["content"]["parts"][0] for frame in frames]
    if "text" in parts[0]:
        parts = [{"text": "".join(part["text"] for part in parts)}]
    answer["candidates"][0]["content"]["parts"] = parts
    return answer


def stream_generate(request, call):
    breaks = refuse(request["model"])

    def frames():
        for number, frame in enumerate(_frames(request)):
            if breaks and number == 2:
                if breaks == "error-cut":
                    yield Cut
                if breaks == "error-stream":
                    yield error_body(500)
                return
            yield frame

    if call.query.get("alt") == "sse":
        return ((None, frame) for frame in frames()) if not breaks else _broken(frames())

    def array():
        before = b"["
        for frame in frames():
            yield Cut if frame is Cut else before + json.dumps(frame, ensure_ascii=False, indent=2).encode()
            before = b"\n,\r\n"
        yield b"\n]"

    return Pieces("application/json; charset=UTF-8", array())


def _broken(frames):
    for frame in frames:
        yield frame if frame is Cut else (None, frame)


def _text(content):
    return " ".join(part["text"] for part in content["parts"])


def embed(request, _call):
    refuse(request["model"])
    # The API has no id: the count of tokens tells a replay.
    usage = {"promptTokenCount": make_number()}
    return {"embedding": {"values": vector(_text(request["content"]))}, "usageMetadata": usage}


def batch_embed(request, _call):
    refuse(request["model"])
    usage = {"promptTokenCount": make_number()}
    made = [{"values": vector(_text(each["content"]))} for each in request["requests"]]
    return {"embeddings": made, "usageMetadata": usage}


def count_tokens(request, _call):
    refuse(request["model"])
    return {"totalTokens": make_number()}


MODEL = r"/v1(?:beta)?/models/(?P<model>[^/:]+)"

ROUTES = [
    (MODEL + r":generateContent", generate),
    (MODEL + r":streamGenerateContent", stream_generate),
    (MODEL + r":embedContent", embed),
    (MODEL + r":batchEmbedContents", batch_embed),
    (MODEL + r":countTokens", count_tokens),
]
