"""What the Python suites share: what the cache owes a run, and what went over the wire."""

import asyncio
import contextlib
import contextvars
import importlib
import json
import os
import re
import urllib.request

KEY = "sk-suite"
TOOL_PARAMETERS = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "unit": {"type": "string"}},
    "required": ["question"],
}
# The libraries that SDKs make their requests with, and the method that every request of theirs goes through.
LIBRARIES = [
    ("httpx", "Client", "send"),
    ("httpx", "AsyncClient", "send"),
    ("httpx2", "Client", "send"),
    ("httpx2", "AsyncClient", "send"),
    ("aiohttp", "ClientSession", "_request"),
]


def said(prompt):
    return f"you said: {prompt} – “ça va” 你好 🙂"


# One loop for all of a suite: SDKs keep connections, which belong to the loop that made them.
run_async = asyncio.Runner().run
_inside = contextvars.ContextVar("a request of one library that is sent by another", default=False)


def listened(method, heard):
    def note(response):
        # LiteLLM asks Ollama about the model first.
        if not str(response.url).endswith("/api/show"):
            heard.append(response.headers)
        return response

    async def later(response):
        token = _inside.set(True)
        try:
            return note(await response)
        finally:
            _inside.reset(token)

    def call(*args, **kwargs):
        response = method(*args, **kwargs)
        if _inside.get():
            return response
        return later(response) if hasattr(response, "__await__") else note(response)

    return call


@contextlib.contextmanager
def listening():
    """The headers of all responses that arrive in this process meanwhile, whatever SDK asked."""
    heard = []
    with contextlib.ExitStack() as stack:
        for module, owner, name in LIBRARIES:
            try:
                owner = getattr(importlib.import_module(module), owner)
            except ImportError:
                continue
            method = getattr(owner, name)
            stack.callback(setattr, owner, name, method)
            setattr(owner, name, listened(method, heard))
        yield heard


class Cache:
    """What the cache owes this run: 0 is without a server, 1 finds an empty store, 2 the one that 1 filled."""

    def __init__(self):
        self.run = int(os.environ["SDK_RUN"])

    def saw(self, headers, *outcomes):
        """Checks the response headers against the outcome, or one of several: hit, miss, …"""
        if self.run == 0:
            assert "x-llm-cache" not in headers
            return
        outcome = headers["x-llm-cache"]
        assert outcome in outcomes
        assert re.fullmatch("[0-9a-f]{64}", headers["x-llm-cache-key"])
        if outcome == "hit":
            assert re.search(r";\s*hit\b", headers["cache-status"])
            assert int(headers["age"]) >= 0
        else:
            assert re.search(r";\s*fwd=", headers["cache-status"])

    def first_outcome(self):
        return "miss" if self.run == 1 else "hit"

    def twice(self, ask):
        """Asks the same thing two times; `ask` gives response headers and answer. The answer, checked."""
        headers, first = ask()
        self.saw(headers, self.first_outcome())
        if hasattr(ask, "drain"):
            ask.drain()
        headers, second = ask()
        self.saw(headers, "hit")
        if self.run != 0:
            # Every answer of the LLM has a fresh id: equal ones are one and the same.
            assert first == second
        return second

    def heard_twice(self, ask, same=lambda answer: answer, streamed=False):
        """The same for an SDK that does not give its headers away: `ask` gives the answer alone.

        `same` takes away what the SDK itself makes up for every answer. An SDK leaves a stream at its last
        event and not at its end, so the second request may still join the first one's.
        """
        with listening() as heard:
            first = ask()
            assert len(heard) == 1, "one request for one question"
            self.saw(heard[0], self.first_outcome())
            second = ask()
            assert len(heard) == 2, "one request for one question"
            self.saw(heard[1], "hit", *(["coalesced"] if streamed and self.run == 1 else []))
        if self.run != 0:
            assert same(first) == same(second)
        return second

    def never(self, ask, kind):
        """Asks two times for what must not be kept: an exception of that kind, each time from the LLM."""
        with listening() as heard:
            for _ in range(2):
                try:
                    ask()
                except kind as caught:
                    error = caught
                else:
                    raise AssertionError(f"no {kind.__name__} was raised")
        assert len(heard) == 2, "one request for one question"
        for headers in heard:
            assert headers.get("x-llm-cache") not in ("hit", "stale")
        return error

    def kept(self, first, second):
        """Checks that two answers are the same one (or, without a server, that there was none)."""
        assert (first == second) == (self.run != 0)


def count(kind):
    """How many requests of a kind (see `mock_llm.py`) the LLM had."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(os.environ["SDK_MOCK_URL"] + "/_count", timeout=10) as response:
        return sum(json.load(response)[kind].values())


@contextlib.contextmanager
def counting(kind, expected):
    """A block that must cost the LLM that many requests of a kind."""
    before = count(kind)
    yield
    assert count(kind) - before == expected
