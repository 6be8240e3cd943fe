"""The Anthropic SDK before the server: what it asks twice is paid for once, and reads the same."""

import os

import anthropic

from conftest import plain, streamed
from suite import KEY, TOOL_PARAMETERS, said

TOOL = {"name": "look_up", "description": "Looks it up", "input_schema": TOOL_PARAMETERS}


def asks(prompt, **fields):
    return {"model": "claude-mock", "max_tokens": 500, "messages": [{"role": "user", "content": prompt}], **fields}


def test_a_plain_message_is_paid_for_once(anthropic_client, cache):
    answer = cache.twice(plain(anthropic_client.messages, **asks("python plain", system="be brief")))
    assert answer.content[0].text == said("python plain")
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens > 0


def test_a_streamed_message_is_paid_for_once(anthropic_client, cache):
    events = cache.twice(streamed(anthropic_client.messages, **asks("python streamed")))
    deltas = [event.delta.text for event in events if event.type == "content_block_delta"]
    assert "".join(deltas) == said("python streamed")
    assert len(deltas) == 9, "one event for each word, as the LLM sent them"
    assert [event.type for event in events][-2:] == ["message_delta", "message_stop"]
    assert events[-2].delta.stop_reason == "end_turn"


def test_a_tool_use_is_paid_for_once(anthropic_client, cache):
    request = asks("python tools", tools=[TOOL])
    answer = cache.twice(plain(anthropic_client.messages, **request))
    assert answer.stop_reason == "tool_use"
    assert answer.content[0].name == "look_up"
    assert answer.content[0].input == {"question": "python tools", "unit": "°C"}

    use = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "python result"}
    request["messages"] += [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    answer = cache.twice(plain(anthropic_client.messages, **request))
    assert answer.content[0].text == said("python result")


def test_a_streamed_tool_use_is_paid_for_once(anthropic_client, cache):
    def ask():
        with anthropic_client.messages.stream(**asks("python streamed tools", tools=[TOOL])) as stream:
            return stream.response.headers, stream.get_final_message()

    answer = cache.twice(ask)
    assert answer.stop_reason == "tool_use"
    assert answer.content[0].input == {"question": "python streamed tools", "unit": "°C"}


def test_the_model_name_alone_finds_the_upstream(cache):
    with anthropic.Anthropic(api_key=KEY, base_url=os.environ["SDK_PLAIN_URL"], max_retries=0) as client:
        answer = cache.twice(plain(client.messages, **asks("python by model")))
    assert answer.content[0].text == said("python by model")


def test_a_version_header_is_part_of_the_question(anthropic_client, cache):
    request = asks("python beta")
    plain_answer = cache.twice(plain(anthropic_client.messages, **request))
    request["extra_headers"] = {"anthropic-beta": "mock-2030-01-01"}
    beta_answer = cache.twice(plain(anthropic_client.messages, **request))
    assert plain_answer.id != beta_answer.id
