"""One entry, both forms: the official SDKs read a recorded answer and the server's other form of it alike.

The stand-in LLM answers with a file of `tests/forms`, byte for byte. Each is asked for in the form it is recorded
in, and then in the other one, which must be a hit: the server made it. What the server made goes back to the
stand-in and is asked for the same way, so that it makes the round trip. In each pair the object that the SDK adds
up from the stream must be the one that it parses from the JSON.

An SDK's own helper is not without loss, and `MISREAD` names where. That is only ever the recorded stream: what the
server makes is read without an exception.
"""

import os
import pathlib

import pytest

from suite import listening

# The SDK says itself that it has not heard of some member, which is what those answers are for.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer")

CORPUS = pathlib.Path(os.environ["SDK_FORMS"])
BACK = pathlib.Path(os.environ["SDK_FORMS_BACK"])
FAMILIES = ("chat", "responses", "messages")
PAIRS = [(family, file.stem) for family in FAMILIES for file in sorted((CORPUS / family).glob("*.sse"))]
REFUSED = [
    (family, file.name)
    for family in FAMILIES
    for file in sorted((CORPUS / "refused" / family).iterdir())
    if file.suffix in (".sse", ".json")
]

# What the helpers of the Python SDKs make of a recorded stream: members they get wrong, or None where they raise.
MISREAD = {
    # Lists are joined only if their entries have an `index`.
    ("chat", "annotations-in-pieces"): None,
    # A repeated `role` (and `format`) is joined into one long string; what a choice holds beside the delta
    # (`native_finish_reason`, `x_end`) is taken from its first chunk only.
    ("chat", "reasoning-openrouter"): {"role", "format", "native_finish_reason"},
    ("chat", "usage-in-each-chunk"): {"role"},
    ("chat", "unknown-fields"): {"x_end"},
    # Members of the last event that the helper has not heard of.
    ("messages", "context-management"): {"context_management"},
    ("messages", "unknown-fields"): {"x_open"},
}


def plain(value, without=frozenset()):
    """The object without the members that are null: for the SDKs absent and null are one."""
    if isinstance(value, dict):
        return {
            name: plain(member, without)
            for name, member in value.items()
            if member is not None and name not in without
        }
    return [plain(each, without) for each in value] if isinstance(value, list) else value


def request(family, model, prompt):
    if family == "responses":
        return {"model": model, "input": prompt, "store": False}
    asked = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    return asked | ({"max_tokens": 100} if family == "messages" else {})


def api_of(client, family):
    return client.chat.completions if family == "chat" else getattr(client, family)


def ask(client, family, model, prompt, stream):
    """The object that the SDK makes of the answer, and the outcome that the server tells."""
    asked = request(family, model, prompt)
    api = api_of(client, family)
    with listening() as heard:
        if not stream:
            answer = api.create(**asked)
        elif family == "chat":
            with api.stream(**asked, stream_options={"include_usage": True}) as events:
                answer = events.get_final_completion()
        elif family == "responses":
            with api.stream(**asked) as events:
                answer = events.get_final_response()
        else:
            with api.stream(**asked) as events:
                answer = events.get_final_message()
    (headers,) = heard
    value = answer.model_dump(warnings=False)
    if family == "chat" and stream:
        for choice in value["choices"]:
            for call in choice["message"].get("tool_calls") or []:
                # The helper leaves the position of the call in it.
                call.pop("index", None)
    return value, headers["x-llm-cache"]


def bytes_of(client, family, model, prompt, stream):
    """The answer as it goes over the wire."""
    asked = request(family, model, prompt) | ({"stream": True} if stream else {})
    if family == "chat" and stream:
        asked["stream_options"] = {"include_usage": True}
    with listening() as heard:
        with api_of(client, family).with_streaming_response.create(**asked) as response:
            content = response.read()
    return content, heard[0]["x-llm-cache"]


def there_and_back(client, family, name, stream_first):
    """Both forms of a recorded answer as the SDK reads them, and the bytes of the one that the server made."""
    model, prompt = f"form-{name}", f"forms of {name}, stream first: {stream_first}"
    if stream_first and MISREAD.get((family, name), ()) is None:
        recorded = None
        with pytest.raises(RuntimeError, match="to have an `index` key"):
            ask(client, family, model, prompt, stream_first)
    else:
        recorded, outcome = ask(client, family, model, prompt, stream_first)
        assert outcome == "miss"
    # The SDK leaves a stream before its end, while it is still being kept: this one is read to it.
    bytes_of(client, family, model, prompt, stream_first)
    made, outcome = ask(client, family, model, prompt, not stream_first)
    assert outcome == "hit", "the server made the other form"
    content, outcome = bytes_of(client, family, model, prompt, not stream_first)
    assert outcome == "hit"
    return recorded, made, content


@pytest.mark.parametrize(("family", "name"), PAIRS, ids=str)
@pytest.mark.parametrize("stream_first", [True, False], ids=["from the stream", "from the JSON"])
def test_both_forms_are_read_alike_there_and_back(clients, family, name, stream_first):
    client = clients[family]
    recorded, made, content = there_and_back(client, family, name, stream_first)
    misread = MISREAD.get((family, name), frozenset()) if stream_first else frozenset()
    if misread is not None:
        assert plain(recorded, misread) == plain(made, misread)
        if misread:
            assert plain(recorded) != plain(made), "the SDK reads this stream now: the exception can go"

    back = f"python-{name}"
    (BACK / family / f"{back}.{'json' if stream_first else 'sse'}").write_bytes(content)
    first, again, _content = there_and_back(client, family, back, not stream_first)
    assert plain(first) == plain(made)
    assert plain(again) == plain(made)


@pytest.mark.parametrize(("family", "file"), REFUSED, ids=str)
def test_what_has_but_one_form_is_asked_for_again(clients, family, file):
    client = clients[family]
    name, _, suffix = file.rpartition(".")
    model, prompt = f"form-{name}", f"the one form of {file}"
    _content, outcome = bytes_of(client, family, model, prompt, suffix == "sse")
    assert outcome in ("miss", "bypass")
    # The stand-in has no other form either, and refuses: that it was asked is what counts.
    with listening() as heard:
        try:
            bytes_of(client, family, model, prompt, suffix != "sse")
        except Exception as error:
            assert getattr(error, "status_code", None) == 400
    assert heard[0]["x-llm-cache"] in ("miss", "bypass")
