"""Clients that point at the server, and what its headers must say. `../run.py` sets the SDK_ variables."""

import contextlib
import json
import os
import re
import urllib.request

import anthropic
import httpx2
import openai
import pytest

KEY = "sk-suite"
TOOL_PARAMETERS = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "unit": {"type": "string"}},
    "required": ["question"],
}


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


class Cache:
    """What the cache owes this run: 0 is without a server, 1 finds an empty store, 2 the one that 1 filled."""

    def __init__(self):
        self.run = int(os.environ["SDK_RUN"])

    def saw(self, headers, outcome):
        """Checks the response headers against the outcome: hit, miss, …"""
        if self.run == 0:
            assert "x-llm-cache" not in headers
            return
        assert headers["x-llm-cache"] == outcome
        assert re.fullmatch("[0-9a-f]{64}", headers["x-llm-cache-key"])
        if outcome == "hit":
            assert re.search(r";\s*hit\b", headers["cache-status"])
            assert int(headers["age"]) >= 0
        else:
            assert re.search(r";\s*fwd=", headers["cache-status"])

    def twice(self, ask):
        """Asks the same thing two times; `ask` gives response headers and answer. The answer, checked."""
        headers, first = ask()
        self.saw(headers, "miss" if self.run == 1 else "hit")
        if hasattr(ask, "drain"):
            ask.drain()
        headers, second = ask()
        self.saw(headers, "hit")
        if self.run != 0:
            # Every answer of the LLM has a fresh id: equal ones are one and the same.
            assert first == second
        return second

    def kept(self, first, second):
        """Checks that two answers are the same one (or, without a server, that there was none)."""
        assert (first == second) == (self.run != 0)


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

    def count(kind):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(os.environ["SDK_MOCK_URL"] + "/_count", timeout=10) as response:
            return sum(json.load(response)[kind].values())

    @contextlib.contextmanager
    def counting(kind, expected):
        before = count(kind)
        yield
        assert count(kind) - before == expected

    return counting
