"""What the stand-in LLM says as OpenAI, second part: moderations, images, speech, transcriptions; and rerank."""

import base64
import itertools

from mock_base import CREATED_S, MESSAGES, Body, make_id, make_number, refuse, words
from mock_openai import AT

CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)


def moderations(request, _call):
    refuse(request["model"])
    inputs = request["input"] if isinstance(request["input"], list) else [request["input"]]

    def judged(text):
        return {
            "flagged": "kill" in text,
            "categories": {name: "kill" in text and name == "violence" for name in CATEGORIES},
            "category_scores": {name: 0.5 if "kill" in text and name == "violence" else 0.0 for name in CATEGORIES},
            "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
        }

    return {"id": make_id("modr-"), "model": request["model"], "results": [judged(text) for text in inputs]}


def images(request, _call):
    refuse(request["model"])

    def image():
        return {"b64_json": base64.b64encode(b"\x89PNG %d" % make_number()).decode()}

    usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
    usage["input_tokens_details"] = {"image_tokens": 0, "text_tokens": 5}
    return {"created": CREATED_S, "data": [image() for _ in range(request.get("n") or 1)], "usage": usage}


def speech(request, _call):
    refuse(request["model"])
    # Every byte value, so that anything that takes it for text would show.
    return Body("audio/mpeg", b"ID3 %d " % make_number() + bytes(range(256)) + request["input"].encode())


def transcriptions(request, _call):
    """`request` holds the fields of the form; the file is its bytes."""
    refuse(request["model"])
    text = f"you uploaded {len(request['file'])} bytes, {make_id('take ')}, in {request.get('language', 'any language')}"
    if request.get("response_format") in ("text", "srt"):
        return Body("text/plain; charset=utf-8", text.encode())
    usage = {"type": "duration", "seconds": 3}
    if request.get("stream") != "true":
        return {"text": text, "usage": usage}
    deltas = [{"type": "transcript.text.delta", "delta": word} for word in words(text)]
    return ((None, event) for event in [*deltas, {"type": "transcript.text.done", "text": text, "usage": usage}])


def rerank(request, call):
    """Cohere's (version 2) and Jina's (version 1) answers: the more letters are shared, the more relevant."""
    refuse(request["model"])

    def score(document):
        text = document if isinstance(document, str) else document["text"]
        return len(set(text) & set(request["query"])) / 64

    scores = sorted(((score(each), index) for index, each in enumerate(request["documents"])), reverse=True)
    results = [{"index": index, "relevance_score": number} for number, index in scores]
    results = list(itertools.islice(results, request.get("top_n") or len(results)))
    if request.get("return_documents"):
        for each in results:
            each["document"] = {"text": request["documents"][each["index"]]}
    if call.path.startswith("/v2"):
        meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
        return {"id": make_id("rerank-"), "results": results, "meta": meta}
    # No id here: the token count tells a replay.
    return {"model": request["model"], "usage": {"total_tokens": make_number()}, "results": results}


def rerank_error_body(status):
    return {"id": make_id("error-"), "message": MESSAGES[status]}


ROUTES = [
    (AT + r"/moderations", moderations),
    (AT + r"/images/generations", images),
    (AT + r"/audio/speech", speech),
    (AT + r"/audio/transcriptions", transcriptions),
]
RERANK_ROUTES = [(r"/v[12]/rerank", rerank)]
