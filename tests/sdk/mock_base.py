"""What the answers of the stand-in LLM are made of, whatever the API."""

import dataclasses
import hashlib
import itertools
import json

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
BREAKS = ("error-stream", "error-cut", "error-unfinished")


class Done:
    """The `[DONE]` sentinel of OpenAI streams."""


class Cut:
    """The connection ends here, without the end of the body."""


class Error(Exception):
    """An answer with an error status."""

    def __init__(self, status):
        super().__init__(status)
        self.status = status

    def headers(self):
        return [("retry-after", "1")] if self.status == 429 else []


@dataclasses.dataclass
class Call:
    """What a request says outside of its body."""

    path: str
    query: dict
    headers: dict


@dataclasses.dataclass
class Body:
    """An answer that is not JSON."""

    content_type: str
    content: bytes


@dataclasses.dataclass
class Pieces:
    """A streamed answer that is not a stream of server-sent events: byte strings, sent one by one, or `Cut`."""

    content_type: str
    pieces: object


def refuse(model):
    """Raises what an `error-NNN` model asks for, or tells how its stream is to break."""
    if model in BREAKS:
        return model
    if model.startswith("error-"):
        raise Error(int(model.removeprefix("error-")))
    return None


def make_number():
    """A number that no other answer has."""
    return next(_ids)


def make_id(prefix):
    return f"{prefix}{make_number():08d}"


def text_of(value):
    """The text of a message's content: a string, or a list of parts."""
    if isinstance(value, list):
        return " ".join(part.get("text") or part.get("content") or "" for part in value)
    return value or ""


def say(prompt):
    return f"you said: {prompt} – “ça va” 你好 🙂"


def words(text):
    return [word + " " for word in text.split(" ")[:-1]] + [text.split(" ")[-1]]


def halves(text):
    return [text[: len(text) // 2], text[len(text) // 2 :]]


def arguments(prompt):
    return {"question": prompt, "unit": "°C"}


def arguments_text(prompt):
    return json.dumps(arguments(prompt), ensure_ascii=False)


def credential(headers):
    """A short digest of the credential, so that a test can see which one came through."""
    value = headers.get("authorization") or headers.get("x-api-key") or headers.get("api-key") or ""
    return "fp_" + hashlib.sha256(value.encode()).hexdigest()[:10]


def vector(text):
    """Sums of powers of two, so that float32 holds them exactly."""
    return [byte / 256 - 0.5 for byte in hashlib.sha256(text.encode()).digest()[:EMBEDDING_SIZE]]
