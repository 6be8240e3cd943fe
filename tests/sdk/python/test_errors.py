"""Errors reach the SDKs as their own exceptions, word for word, and are never answered from the cache."""

import anthropic
import httpx2
import openai
import pytest

from conftest import drain

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


def breaks_off(calls_of_llm, method, raised, **request):
    """Asks twice for a stream that breaks; gives what came before the break, and the last exception."""
    for attempt in range(2):
        if attempt > 0:
            drain(method, **request)
        with calls_of_llm("errors", 1):
            raw = method.with_raw_response.create(**request)
            never_a_hit(raw.headers)
            events = []
            with pytest.raises(raised) as caught:
                for event in raw.parse():
                    events.append(event)
    return events, caught.value


def test_an_error_inside_an_openai_stream_is_raised_and_not_kept(openai_client, calls_of_llm):
    request = question("error-stream", True)
    chunks, error = breaks_off(calls_of_llm, openai_client.chat.completions, openai.APIError, **request)
    assert chunks[-1].choices[0].delta.content == "half an ans"
    assert error.message == "mock: the model fell over"


def test_an_error_inside_an_anthropic_stream_is_raised_and_not_kept(anthropic_client, calls_of_llm):
    request = question("error-stream", True) | {"max_tokens": 9}
    events, error = breaks_off(calls_of_llm, anthropic_client.messages, anthropic.APIStatusError, **request)
    assert events[0].type == "message_start"
    assert error.body["error"] == {"type": "overloaded_error", "message": "mock: overloaded"}


def test_a_broken_openai_stream_ends_as_broken_and_is_not_kept(openai_client, calls_of_llm):
    broken = (httpx2.RemoteProtocolError, openai.APIConnectionError)
    request = question("error-cut", True)
    chunks, _error = breaks_off(calls_of_llm, openai_client.chat.completions, broken, **request)
    assert chunks[-1].choices[0].delta.content == "half an ans"


def test_a_broken_anthropic_stream_ends_as_broken_and_is_not_kept(anthropic_client, calls_of_llm):
    broken = (httpx2.RemoteProtocolError, anthropic.APIConnectionError)
    request = question("error-cut", True) | {"max_tokens": 9}
    events, _error = breaks_off(calls_of_llm, anthropic_client.messages, broken, **request)
    assert events[0].type == "message_start"
