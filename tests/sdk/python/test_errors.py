"""Errors reach the SDKs as their own exceptions, word for word, and are never answered from the cache."""

import anthropic
import httpx2
import openai
import pytest

MALFORMED = "mock: the request is malformed – “naïve”"
OPENAI_ERRORS = [
    (400, openai.BadRequestError, "invalid_request_error", MALFORMED),
    (401, openai.AuthenticationError, "authentication_error", "mock: the credential is not valid"),
    (429, openai.RateLimitError, "rate_limit_error", "mock: too many requests, try again"),
    (500, openai.InternalServerError, "server_error", "mock: the model fell over"),
]
ANTHROPIC_ERRORS = [
    (400, anthropic.BadRequestError, "invalid_request_error", MALFORMED),
    (401, anthropic.AuthenticationError, "authentication_error", "mock: the credential is not valid"),
    (429, anthropic.RateLimitError, "rate_limit_error", "mock: too many requests, try again"),
    (500, anthropic.InternalServerError, "api_error", "mock: the model fell over"),
    (529, anthropic.InternalServerError, "overloaded_error", "mock: overloaded"),
]
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


def question(model, stream):
    return {"model": model, "messages": [{"role": "user", "content": f"python {model}"}], "stream": stream}


def never_a_hit(headers):
    assert headers.get("x-llm-cache") not in ("hit", "stale")


@BOTH
@pytest.mark.parametrize(("status", "kind", "type_", "message"), OPENAI_ERRORS, ids=lambda value: str(value)[:3])
def test_an_openai_error_is_raised_as_it_came(openai_client, calls_of_llm, status, kind, type_, message, stream):
    with calls_of_llm("errors", 2):
        for _ in range(2):
            with pytest.raises(kind) as caught:
                openai_client.chat.completions.create(**question(f"error-{status}", stream))
            error = caught.value
            assert error.status_code == status
            assert error.body == {"message": message, "type": type_, "param": None, "code": f"mock_{status}"}
            assert error.response.headers.get("retry-after") == ("1" if status == 429 else None)
            never_a_hit(error.response.headers)


def test_an_openai_error_of_the_other_apis_is_raised_as_it_came(openai_client, calls_of_llm):
    with calls_of_llm("errors", 4):
        for _ in range(2):
            with pytest.raises(openai.RateLimitError):
                openai_client.responses.create(model="error-429", input="python", store=False)
            with pytest.raises(openai.BadRequestError):
                openai_client.embeddings.create(model="error-400", input="python")


@BOTH
@pytest.mark.parametrize(("status", "kind", "type_", "message"), ANTHROPIC_ERRORS, ids=lambda value: str(value)[:3])
def test_an_anthropic_error_is_raised_as_it_came(anthropic_client, calls_of_llm, status, kind, type_, message, stream):
    with calls_of_llm("errors", 2):
        for _ in range(2):
            with pytest.raises(kind) as caught:
                anthropic_client.messages.create(max_tokens=9, **question(f"error-{status}", stream))
            error = caught.value
            assert error.status_code == status
            assert error.body == {"type": "error", "error": {"type": type_, "message": message}}
            never_a_hit(error.response.headers)


def read(stream, into):
    """Reads a stream to its end, keeping what came before it broke."""
    for event in stream:
        into.append(event)


def test_an_error_inside_an_openai_stream_is_raised_and_not_kept(openai_client, calls_of_llm):
    with calls_of_llm("errors", 2):
        for _ in range(2):
            raw = openai_client.chat.completions.with_raw_response.create(**question("error-stream", True))
            never_a_hit(raw.headers)
            chunks = []
            with pytest.raises(openai.APIError, match="the model fell over"):
                read(raw.parse(), chunks)
            assert chunks[-1].choices[0].delta.content == "half an ans"


def test_an_error_inside_an_anthropic_stream_is_raised_and_not_kept(anthropic_client, calls_of_llm):
    with calls_of_llm("errors", 2):
        for _ in range(2):
            request = question("error-stream", True)
            raw = anthropic_client.messages.with_raw_response.create(max_tokens=9, **request)
            never_a_hit(raw.headers)
            events = []
            with pytest.raises(anthropic.APIStatusError) as caught:
                read(raw.parse(), events)
            assert caught.value.body["error"] == {"type": "overloaded_error", "message": "mock: overloaded"}
            assert events[0].type == "message_start"


def test_a_broken_openai_stream_ends_as_broken_and_is_not_kept(openai_client, calls_of_llm):
    with calls_of_llm("errors", 2):
        for _ in range(2):
            raw = openai_client.chat.completions.with_raw_response.create(**question("error-cut", True))
            never_a_hit(raw.headers)
            chunks = []
            with pytest.raises((httpx2.RemoteProtocolError, openai.APIConnectionError)):
                read(raw.parse(), chunks)
            assert chunks[-1].choices[0].delta.content == "half an ans"


def test_a_broken_anthropic_stream_ends_as_broken_and_is_not_kept(anthropic_client, calls_of_llm):
    with calls_of_llm("errors", 2):
        for _ in range(2):
            request = question("error-cut", True)
            raw = anthropic_client.messages.with_raw_response.create(max_tokens=9, **request)
            never_a_hit(raw.headers)
            events = []
            with pytest.raises((httpx2.RemoteProtocolError, anthropic.APIConnectionError)):
                read(raw.parse(), events)
            assert events[0].type == "message_start"
