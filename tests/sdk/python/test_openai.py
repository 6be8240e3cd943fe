"""The OpenAI SDK before the server: what it asks twice is paid for once, and reads the same."""

import asyncio
import json
import os

import openai
import pytest

from conftest import plain, streamed
from suite import KEY, TOOL_PARAMETERS, said

TOOL = {"type": "function", "function": {"name": "look_up", "description": "Looks it up", "parameters": TOOL_PARAMETERS}}
RESPONSES_TOOL = {"type": "function", "name": "look_up", "parameters": TOOL_PARAMETERS, "strict": False}


def asks(prompt, **fields):
    return {"model": "gpt-mock", "messages": [{"role": "user", "content": prompt}], **fields}


def test_a_plain_chat_is_paid_for_once(openai_client, cache):
    answer = cache.twice(plain(openai_client.chat.completions, **asks("python plain")))
    assert answer.choices[0].message.content == said("python plain")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_a_streamed_chat_is_paid_for_once(openai_client, cache):
    request = asks("python streamed", stream_options={"include_usage": True})
    chunks = cache.twice(streamed(openai_client.chat.completions, **request))
    deltas = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert "".join(delta or "" for delta in deltas) == said("python streamed")
    assert len([delta for delta in deltas if delta]) == 9, "one chunk for each word, as the LLM sent them"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0


def test_a_tool_call_is_paid_for_once(openai_client, cache):
    request = asks("python tools", tools=[TOOL], tool_choice="auto")
    answer = cache.twice(plain(openai_client.chat.completions, **request))
    assert answer.choices[0].finish_reason == "tool_calls"
    call = answer.choices[0].message.tool_calls[0]
    assert call.function.name == "look_up"
    assert json.loads(call.function.arguments) == {"question": "python tools", "unit": "°C"}

    result = {"role": "tool", "tool_call_id": "call_1", "content": "python result"}
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    request["messages"] += [{"role": "assistant", "tool_calls": [call]}, result]
    answer = cache.twice(plain(openai_client.chat.completions, **request))
    assert answer.choices[0].message.content == said("python result")


def test_a_streamed_tool_call_is_paid_for_once(openai_client, cache):
    chunks = cache.twice(streamed(openai_client.chat.completions, **asks("python streamed tools", tools=[TOOL])))
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or []]
    assert calls[0].function.name == "look_up" and calls[0].id.startswith("call_")
    arguments = "".join(call.function.arguments for call in calls)
    assert json.loads(arguments) == {"question": "python streamed tools", "unit": "°C"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_the_stream_helper_of_the_sdk_reads_a_replay(openai_client, cache):
    def ask():
        with openai_client.chat.completions.stream(**asks("python helper")) as stream:
            return stream.get_final_completion()

    first, second = ask(), ask()
    assert first.choices[0].message.content == second.choices[0].message.content == said("python helper")
    cache.kept(first.id, second.id)


def test_a_completion_is_paid_for_once(openai_client, cache):
    answer = cache.twice(plain(openai_client.completions, model="gpt-mock", prompt="python completion"))
    assert answer.choices[0].text == said("python completion")

    chunks = cache.twice(streamed(openai_client.completions, model="gpt-mock", prompt="python completion streamed"))
    assert "".join(chunk.choices[0].text for chunk in chunks) == said("python completion streamed")


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}], ids=["as the SDK asks", "float"])
def test_embeddings_are_paid_for_once(openai_client, cache, encoding):
    request = {"model": "text-mock", "input": ["python one", "python two", "python three"], **encoding}
    answer = cache.twice(plain(openai_client.embeddings, **request))
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert all(len(item.embedding) == 8 for item in answer.data)
    assert all(-0.5 <= number < 0.5 and (number * 256).is_integer() for item in answer.data for number in item.embedding)
    assert answer.data[0].embedding != answer.data[1].embedding


def test_a_response_is_paid_for_once(openai_client, cache):
    request = {"model": "gpt-mock", "input": "python response", "store": False}
    answer = cache.twice(plain(openai_client.responses, **request))
    assert answer.output_text == said("python response")
    assert answer.usage.output_tokens > 0


def test_a_streamed_response_is_paid_for_once(openai_client, cache):
    request = {"model": "gpt-mock", "input": "python response streamed", "store": False}
    events = cache.twice(streamed(openai_client.responses, **request))
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == said("python response streamed")
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == said("python response streamed")


def test_a_response_with_a_tool_call_is_paid_for_once(openai_client, cache):
    request = {"model": "gpt-mock", "input": "python response tools", "store": False, "tools": [RESPONSES_TOOL]}
    answer = cache.twice(plain(openai_client.responses, **request))
    assert json.loads(answer.output[0].arguments)["question"] == "python response tools"

    request["input"] = "python response tools streamed"
    events = cache.twice(streamed(openai_client.responses, **request))
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert json.loads("".join(deltas)) == {"question": "python response tools streamed", "unit": "°C"}
    assert events[-1].response.output[0].name == "look_up"


def test_many_at_once_get_one_answer(cache):
    async def ask_all(count):
        url = os.environ["SDK_OPENAI_URL"]
        async with openai.AsyncOpenAI(api_key=KEY, base_url=url, max_retries=0, timeout=30) as client:

            async def ask():
                raw = await client.chat.completions.with_raw_response.create(stream=True, **asks("python crowd"))
                return raw.headers.get("x-llm-cache"), [chunk async for chunk in raw.parse()]

            return await asyncio.gather(*(ask() for _ in range(count)))

    answers = asyncio.run(ask_all(20))
    outcomes = [outcome for outcome, _chunks in answers]
    if cache.run == 0:
        assert set(outcomes) == {None}
        return
    assert all(chunks == answers[0][1] for _outcome, chunks in answers)
    assert outcomes.count("miss") == (1 if cache.run == 1 else 0)
    assert set(outcomes) <= ({"miss", "coalesced", "hit"} if cache.run == 1 else {"hit"})


def test_two_credentials_share_nothing(openai_client, cache):
    request = asks("python isolation")
    mine = cache.twice(plain(openai_client.chat.completions, **request))
    with openai_client.with_options(api_key="sk-another") as other:
        theirs = cache.twice(plain(other.chat.completions, **request))
    assert mine.id != theirs.id
    # The stand-in's fingerprint tells which credential reached it.
    assert mine.system_fingerprint != theirs.system_fingerprint


def test_no_store_goes_past_the_cache(openai_client, cache, calls_of_llm):
    request = asks("python no-store") | {"model": "uncached-mock", "extra_headers": {"Cache-Control": "no-store"}}
    with calls_of_llm("uncached", 2):
        raw = openai_client.chat.completions.with_raw_response.create(**request)
        again = openai_client.chat.completions.with_raw_response.create(**request)
    assert raw.parse().id != again.parse().id
    if cache.run != 0:
        assert raw.headers["x-llm-cache"] == again.headers["x-llm-cache"] == "bypass"


def test_no_cache_replaces_the_answer(openai_client, cache, calls_of_llm):
    request = asks("python no-cache") | {"model": "uncached-mock"}
    create = openai_client.chat.completions.with_raw_response.create
    old = create(**request).parse()
    with calls_of_llm("uncached", 1):
        raw = create(**request, extra_headers={"Cache-Control": "no-cache"})
    cache.saw(raw.headers, "refresh")
    new = raw.parse()
    assert new.id != old.id
    raw = create(**request)
    cache.saw(raw.headers, "hit")
    cache.kept(new.id, raw.parse().id)


def test_only_if_cached_never_asks_the_llm(openai_client, cache, calls_of_llm):
    if cache.run == 0:
        pytest.skip("without a server there is nobody to refuse")
    request = asks("python only-if-cached") | {"model": "uncached-mock"}
    with calls_of_llm("uncached", 0), pytest.raises(openai.InternalServerError) as caught:
        openai_client.chat.completions.create(**request, extra_headers={"Cache-Control": "only-if-cached"})
    assert caught.value.status_code == 504


def test_models_are_passed_through(openai_client):
    assert [model.id for model in openai_client.models.list()] == ["mock-1"]
