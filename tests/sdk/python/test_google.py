"""Google's SDK before the server: what it asks twice is paid for once, and reads the same."""

import os

import pytest
from google import genai
from google.genai import errors, types

from suite import KEY, TOOL_PARAMETERS, listening, run_async, said

TOOLS = [types.Tool(function_declarations=[{"name": "look_up", "parameters": TOOL_PARAMETERS}])]


@pytest.fixture
def client():
    options = types.HttpOptions(base_url=os.environ["SDK_GOOGLE_URL"], timeout=30_000)
    return genai.Client(api_key=KEY, http_options=options, vertexai=False)


def wire(answer):
    """Without the response headers, which the SDK keeps inside of the answer."""
    answers = answer if isinstance(answer, list) else [answer]
    return [each.model_dump(exclude={"sdk_http_response"}) for each in answers]


def text_of(chunks):
    return "".join(chunk.text for chunk in chunks)


def asks(prompt, **config):
    return {"model": "gemini-mock", "contents": prompt, "config": types.GenerateContentConfig(**config)}


def test_a_plain_answer_is_paid_for_once(client, cache):
    request = asks("google plain", system_instruction="be brief")
    answer = cache.heard_twice(lambda: client.models.generate_content(**request), wire)
    assert answer.text == said("google plain")
    assert answer.candidates[0].finish_reason == types.FinishReason.STOP
    assert answer.usage_metadata.total_token_count > 0


def test_a_streamed_answer_is_paid_for_once(client, cache):
    request = asks("google streamed")
    chunks = cache.heard_twice(lambda: list(client.models.generate_content_stream(**request)), wire)
    assert text_of(chunks) == said("google streamed")
    assert len(chunks) == 9, "one chunk for each word, as the LLM sent them"
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP


def test_asynchronously_it_is_the_same_question(client, cache):
    async def plain():
        return await client.aio.models.generate_content(**asks("google async"))

    async def streamed():
        chunks = await client.aio.models.generate_content_stream(**asks("google async streamed"))
        return [chunk async for chunk in chunks]

    assert cache.heard_twice(lambda: run_async(plain()), wire).text == said("google async")
    chunks = cache.heard_twice(lambda: run_async(streamed()), wire)
    assert text_of(chunks) == said("google async streamed")
    with listening() as heard:
        client.models.generate_content(**asks("google async"))
    cache.saw(heard[0], "hit")


def test_a_function_call_is_paid_for_once(client, cache):
    request = asks("google tools", tools=TOOLS)
    answer = cache.heard_twice(lambda: client.models.generate_content(**request), wire)
    assert answer.function_calls[0].name == "look_up"
    assert answer.function_calls[0].args == {"question": "google tools", "unit": "°C"}

    request = asks("google tools streamed", tools=TOOLS)
    chunks = cache.heard_twice(lambda: list(client.models.generate_content_stream(**request)), wire)
    assert chunks[-1].function_calls[0].args["question"] == "google tools streamed"


def test_a_chat_goes_on_from_the_cache(client, cache):
    def talk():
        chat = client.chats.create(model="gemini-mock")
        return [chat.send_message(text) for text in ("google first", "google second")]

    first, second = talk(), talk()
    assert [answer.text for answer in second] == [said("google first"), said("google second")]
    cache.kept(wire(first), wire(second))


def test_embeddings_are_paid_for_once(client, cache):
    request = {"model": "text-embedding-mock", "contents": ["google one", "google two"]}
    answer = cache.heard_twice(lambda: client.models.embed_content(**request), wire)
    assert [len(each.values) for each in answer.embeddings] == [8, 8]
    assert answer.embeddings[0].values != answer.embeddings[1].values


def test_counted_tokens_are_paid_for_once(client, cache):
    request = {"model": "gemini-mock", "contents": "google count"}
    assert cache.heard_twice(lambda: client.models.count_tokens(**request), wire).total_tokens > 0


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_the_versions_of_the_api_are_reached(cache, version):
    options = types.HttpOptions(base_url=os.environ["SDK_GOOGLE_URL"], api_version=version, timeout=30_000)
    client = genai.Client(api_key=KEY, http_options=options, vertexai=False)
    request = asks(f"google {version}")
    assert cache.heard_twice(lambda: client.models.generate_content(**request), wire).text == said(f"google {version}")


@pytest.mark.parametrize(("status", "kind"), [(400, errors.ClientError), (429, errors.ClientError), (500, errors.ServerError)])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_an_error_is_raised_as_it_came_and_not_kept(client, cache, calls_of_llm, status, kind, stream):
    request = {"model": f"error-{status}", "contents": "google error"}
    method = client.models.generate_content_stream if stream else client.models.generate_content
    with calls_of_llm("errors", 2):
        error = cache.never(lambda: list(method(**request)), kind)
    assert error.code == status
    assert error.message.startswith("mock: ")


def test_a_stream_without_its_end_is_not_kept(client, calls_of_llm):
    # The SDK takes it for an answer: that there is no finish_reason is all that tells.
    with calls_of_llm("errors", 2):
        for _ in range(2):
            request = {"model": "error-unfinished", "contents": "google unfinished"}
            chunks = list(client.models.generate_content_stream(**request))
            assert chunks[-1].candidates[0].finish_reason is None
