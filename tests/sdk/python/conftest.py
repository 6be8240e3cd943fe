"""Clients that point at the server, and what its headers must say. `../run.py` sets the SDK_ variables."""

import contextlib
import os

import anthropic
import httpx2
import openai
import pytest

from suite import KEY, Cache, counting


def plain(method, **request):
    """What `Cache.twice` calls: the request, with the raw response's headers and the parsed answer."""

    def ask():
        raw = method.with_raw_response.create(**request)
        return raw.headers, raw.parse()

    return ask


def streamed(method, **request):
    """The same for a streamed answer, which is the list of its events."""

    def ask():
        raw = method.with_raw_response.create(stream=True, **request)
        return raw.headers, list(raw.parse())

    ask.drain = lambda: drain(method, **request)
    return ask


def drain(method, **request):
    """Asks and reads the whole body. The SDK leaves a stream at its last event, or at an error, and not at
    its end: the server may still be busy with it. After this it is not."""
    with method.with_streaming_response.create(**{**request, "stream": True}) as response:
        with contextlib.suppress(httpx2.RemoteProtocolError):
            for _ in response.iter_bytes():
                pass


@pytest.fixture(scope="session")
def cache():
    return Cache()


@pytest.fixture
def openai_client():
    with openai.OpenAI(api_key=KEY, base_url=os.environ["SDK_OPENAI_URL"], max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture
def anthropic_client():
    with anthropic.Anthropic(api_key=KEY, base_url=os.environ["SDK_ANTHROPIC_URL"], max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture
def calls_of_llm():
    """A block in which the calls of one kind (see `../mock_llm.py`) are counted; they are known after it."""
    return counting
