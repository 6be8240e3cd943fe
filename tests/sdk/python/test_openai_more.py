"""The OpenAI SDK and the APIs beside the text: moderations, images, audio, Azure's paths; rerank; counted tokens."""

import io
import os

import httpx2
import openai
import pytest

from conftest import plain
from suite import KEY, listening, run_async, said

AUDIO = b"RIFF" + bytes(range(256))


@pytest.fixture
def azure_client():
    address = os.environ["SDK_AZURE_URL"]
    options = {"api_version": "2024-10-21", "azure_endpoint": address, "max_retries": 0, "timeout": 30}
    with openai.AzureOpenAI(api_key=KEY, **options) as client:
        yield client


def test_a_moderation_is_paid_for_once(openai_client, cache):
    request = {"model": "omni-moderation-mock", "input": ["more: kill it", "more: let it live"]}
    answer = cache.twice(plain(openai_client.moderations, **request))
    assert [result.flagged for result in answer.results] == [True, False]
    assert answer.results[0].categories.violence


def test_an_image_is_paid_for_once(openai_client, cache):
    request = {"model": "gpt-image-mock", "prompt": "more: a cat", "n": 2}
    ask = lambda: openai_client.images.generate(**request)  # noqa: E731
    answer = cache.heard_twice(ask)
    assert len(answer.data) == 2 and answer.data[0].b64_json != answer.data[1].b64_json


def test_speech_is_paid_for_once_byte_for_byte(openai_client, cache):
    request = {"model": "gpt-tts-mock", "voice": "alloy", "input": "more: speak"}
    sound = cache.heard_twice(lambda: openai_client.audio.speech.create(**request).content)
    assert sound.startswith(b"ID3 ") and bytes(range(256)) in sound

    def streamed():
        with openai_client.audio.speech.with_streaming_response.create(**request) as response:
            return b"".join(response.iter_bytes())

    with listening() as heard:
        again = streamed()
    cache.saw(heard[0], "hit")
    cache.kept(sound, again)


def uploads(**fields):
    # A fresh file each time: it is read to its end.
    return {"model": "gpt-transcribe-mock", "file": ("speech.wav", io.BytesIO(AUDIO)), **fields}


@pytest.mark.parametrize("fields", [{}, {"language": "de", "temperature": 0}, {"response_format": "text"}], ids=str)
def test_a_transcription_is_paid_for_once(openai_client, cache, fields):
    # The boundary between the parts is another one for every request.
    answer = cache.heard_twice(lambda: openai_client.audio.transcriptions.create(**uploads(**fields)))
    text = answer if isinstance(answer, str) else answer.text
    assert text.startswith("you uploaded 260 bytes")


def test_another_file_is_another_transcription(openai_client, cache):
    first = openai_client.audio.transcriptions.create(**uploads())
    other = uploads(file=("speech.wav", io.BytesIO(AUDIO[:-1] + b"\x00")))
    second = cache.heard_twice(lambda: (other["file"][1].seek(0), openai_client.audio.transcriptions.create(**other))[1])
    assert first.text != second.text


def test_azure_is_paid_for_once(azure_client, cache):
    request = {"model": "my-deployment", "messages": [{"role": "user", "content": "more azure"}]}
    answer = cache.twice(plain(azure_client.chat.completions, **request))
    assert answer.choices[0].message.content == said("more azure")

    request["messages"][0]["content"] = "more azure streamed"

    def ask():
        return list(azure_client.chat.completions.create(**request, stream=True))

    chunks = cache.heard_twice(ask, streamed=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == said("more azure streamed")
    request = {"model": "my-embedding", "input": ["more azure one", "more azure two"]}
    assert len(cache.twice(plain(azure_client.embeddings, **request)).data) == 2


def test_another_deployment_or_version_of_azure_is_another_question(azure_client, cache):
    request = {"model": "deployment-a", "messages": [{"role": "user", "content": "more azure apart"}]}
    first = cache.twice(plain(azure_client.chat.completions, **request))
    second = cache.twice(plain(azure_client.chat.completions, **request, extra_query={"api-version": "2030-01-01"}))
    third = cache.twice(plain(azure_client.chat.completions, **{**request, "model": "deployment-b"}))
    assert len({first.id, second.id, third.id}) == 3


def test_an_error_of_azure_is_raised_and_not_kept(azure_client, cache, calls_of_llm):
    request = {"model": "error-429", "messages": [{"role": "user", "content": "more azure error"}]}
    with calls_of_llm("errors", 2):
        cache.never(lambda: azure_client.chat.completions.create(**request), openai.RateLimitError)


@pytest.mark.parametrize("path", ["moderations", "images", "speech", "transcriptions"])
def test_an_error_is_raised_and_not_kept(openai_client, cache, calls_of_llm, path):
    asks = {
        "moderations": lambda: openai_client.moderations.create(model="error-400", input="more error"),
        "images": lambda: openai_client.images.generate(model="error-400", prompt="more error"),
        "speech": lambda: openai_client.audio.speech.create(model="error-400", voice="alloy", input="more error"),
        "transcriptions": lambda: openai_client.audio.transcriptions.create(**uploads(model="error-400")),
    }
    with calls_of_llm("errors", 2):
        cache.never(asks[path], openai.BadRequestError)


def test_asynchronously_it_is_the_same_question(cache):
    async def ask():
        async with openai.AsyncOpenAI(api_key=KEY, base_url=os.environ["SDK_OPENAI_URL"], max_retries=0) as client:
            moderated = await client.moderations.create(model="omni-moderation-mock", input="more async")
            heard_text = await client.audio.transcriptions.create(**uploads(language="fr"))
            return moderated, heard_text

    first, second = run_async(ask()), run_async(ask())
    cache.kept(first, second)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_rerank_is_paid_for_once(cache, calls_of_llm, version):
    documents = ["more: aardvark", "more: zebra", "more: rhubarb"]
    request = {"model": "rerank-mock", "query": "zebra", "documents": documents, "top_n": 2}
    address = os.environ["SDK_COHERE_URL" if version == "v2" else "SDK_OPENAI_URL"] + "/rerank"

    def ask(**fields):
        answer = httpx2.post(address, json=request | fields, headers={"authorization": f"Bearer {KEY}"})
        return answer.status_code, answer.json()

    status, answer = cache.heard_twice(ask)
    assert status == 200 and answer["results"][0]["index"] == 1 and len(answer["results"]) == 2
    with calls_of_llm("errors", 2):
        assert {ask(model="error-400")[0] for _ in range(2)} == {400}


def test_counted_tokens_of_anthropic_are_paid_for_once(anthropic_client, cache):
    request = {"model": "claude-mock", "messages": [{"role": "user", "content": "more count"}]}
    answer = cache.heard_twice(lambda: anthropic_client.messages.count_tokens(**request))
    assert answer.input_tokens > 0
