"""Ollama's SDK before the server: what it asks twice is paid for once, and reads the same."""

import os

import httpx
import ollama
import pytest

from suite import TOOL_PARAMETERS, listening, run_async, said

TOOL = {"type": "function", "function": {"name": "look_up", "description": "Looks it up", "parameters": TOOL_PARAMETERS}}


@pytest.fixture
def client():
    return ollama.Client(host=os.environ["SDK_OLLAMA_URL"], timeout=30)


def asks(prompt, **fields):
    return {"model": "llama-mock", "messages": [{"role": "user", "content": prompt}], **fields}


def test_a_plain_chat_is_paid_for_once(client, cache):
    answer = cache.heard_twice(lambda: client.chat(**asks("ollama plain", options={"seed": 1})))
    assert answer.message.content == said("ollama plain")
    assert answer.done and answer.done_reason == "stop"
    assert answer.eval_count > 0


def test_a_streamed_chat_is_paid_for_once(client, cache):
    lines = cache.heard_twice(lambda: list(client.chat(**asks("ollama streamed"), stream=True)))
    assert "".join(line.message.content for line in lines) == said("ollama streamed")
    assert len(lines) == 10, "one line for each word and the last one, as the LLM sent them"
    assert [line.done for line in lines] == [False] * 9 + [True]


def test_asynchronously_it_is_the_same_question(cache):
    async def ask(stream):
        client = ollama.AsyncClient(host=os.environ["SDK_OLLAMA_URL"], timeout=30)
        if not stream:
            return await client.chat(**asks("ollama async"))
        return [line async for line in await client.chat(**asks("ollama async streamed"), stream=True)]

    assert cache.heard_twice(lambda: run_async(ask(False))).message.content == said("ollama async")
    lines = cache.heard_twice(lambda: run_async(ask(True)))
    assert "".join(line.message.content for line in lines) == said("ollama async streamed")


def test_a_tool_call_is_paid_for_once(client, cache):
    answer = cache.heard_twice(lambda: client.chat(**asks("ollama tools", tools=[TOOL])))
    assert answer.message.tool_calls[0].function.name == "look_up"
    assert answer.message.tool_calls[0].function.arguments == {"question": "ollama tools", "unit": "°C"}

    lines = cache.heard_twice(lambda: list(client.chat(**asks("ollama streamed tools", tools=[TOOL]), stream=True)))
    calls = [call for line in lines for call in line.message.tool_calls or []]
    assert calls[0].function.arguments["question"] == "ollama streamed tools"


def test_a_generation_is_paid_for_once(client, cache):
    request = {"model": "llama-mock", "prompt": "ollama generation"}
    assert cache.heard_twice(lambda: client.generate(**request)).response == said("ollama generation")
    request["prompt"] += " streamed"
    lines = cache.heard_twice(lambda: list(client.generate(**request, stream=True)))
    assert "".join(line.response for line in lines) == said("ollama generation streamed")


def test_how_long_the_model_stays_loaded_is_not_part_of_the_question(client, cache):
    first = client.chat(**asks("ollama keep", keep_alive="1m"))
    with listening() as heard:
        second = client.chat(**asks("ollama keep", keep_alive="2m"))
    cache.saw(heard[0], "hit")
    cache.kept(first, second)


def test_embeddings_are_paid_for_once(client, cache):
    request = {"model": "nomic-mock", "input": ["ollama one", "ollama two"]}
    answer = cache.heard_twice(lambda: client.embed(**request))
    assert [len(vector) for vector in answer.embeddings] == [8, 8]
    assert answer.embeddings[0] != answer.embeddings[1]


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_an_error_is_raised_as_it_came_and_not_kept(client, cache, calls_of_llm, status, stream):
    request = asks("ollama error") | {"model": f"error-{status}"}
    with calls_of_llm("errors", 2):
        error = cache.never(lambda: list(client.chat(**request, stream=stream)), ollama.ResponseError)
    assert error.status_code == status
    assert error.error.startswith("mock: ")


def test_an_error_inside_a_stream_is_raised_and_not_kept(client, cache, calls_of_llm):
    request = asks("ollama broken") | {"model": "error-stream", "stream": True}
    error = cache.never(lambda: list(client.chat(**request)), ollama.ResponseError)
    assert error.error == "mock: the model fell over"
    # The SDK leaves at the error, so the second request may have joined the first one's. Now to the end:
    address = os.environ["SDK_OLLAMA_URL"] + "/api/chat"
    httpx.post(address, json=request)
    with calls_of_llm("errors", 1):
        httpx.post(address, json=request)


def test_a_stream_without_its_end_is_not_kept(client, calls_of_llm):
    # The SDK takes it for an answer: that no line says `done` is all that tells.
    with calls_of_llm("errors", 2):
        for _ in range(2):
            lines = list(client.chat(**(asks("ollama unfinished") | {"model": "error-unfinished"}), stream=True))
            assert not any(line.done for line in lines)
