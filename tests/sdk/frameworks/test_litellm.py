"""LiteLLM as a client of the server: what it asks twice is paid for once, and reads the same."""

import json
import os

import litellm
import pytest

from suite import KEY, TOOL_PARAMETERS, run_async, said

TOOL = {"type": "function", "function": {"name": "look_up", "description": "Looks it up", "parameters": TOOL_PARAMETERS}}
# LiteLLM's name of a provider, a model, and where the server has it.
PROVIDERS = {
    "openai": ("gpt-mock", "SDK_OPENAI_URL", ""),
    "anthropic": ("claude-mock", "SDK_ANTHROPIC_URL", ""),
    "gemini": ("gemini-mock", "SDK_GOOGLE_URL", "/v1beta"),
    "ollama_chat": ("llama-mock", "SDK_OLLAMA_URL", ""),
    "azure": ("my-deployment", "SDK_AZURE_URL", ""),
}
ERRORS = {"ollama_chat": litellm.APIConnectionError}  # whatever the status is
EACH = pytest.mark.parametrize("provider", PROVIDERS)


def target(provider, model=None):
    usual, variable, path = PROVIDERS[provider]
    address = os.environ[variable] + path
    extra = {"api_version": "2024-10-21"} if provider == "azure" else {}
    return {"model": f"{provider}/{model or usual}", "api_base": address, "api_key": KEY, "num_retries": 0, **extra}


def asks(provider, prompt, **fields):
    content = f"litellm {provider} {prompt}"
    return {**target(provider), "max_tokens": 500, "messages": [{"role": "user", "content": content}], **fields}


def wire(answer):
    """Without what LiteLLM makes up for every answer of a provider that has no such field."""
    answers = answer if isinstance(answer, list) else [answer]
    dumps = [each.model_dump(exclude={"id", "created"}) for each in answers]
    for dump in dumps:
        for choice in dump.get("choices", []):
            for call in (choice.get("message") or choice.get("delta") or {}).get("tool_calls") or []:
                call.pop("id", None)
    return dumps


@EACH
def test_a_plain_answer_is_paid_for_once(cache, provider):
    answer = cache.heard_twice(lambda: litellm.completion(**asks(provider, "plain")), wire)
    assert answer.choices[0].message.content == said(f"litellm {provider} plain")
    assert answer.choices[0].finish_reason == "stop"


@EACH
def test_a_streamed_answer_is_paid_for_once(cache, provider):
    request = asks(provider, "streamed", stream=True)
    chunks = cache.heard_twice(lambda: list(litellm.completion(**request)), wire, streamed=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == said(f"litellm {provider} streamed")


@EACH
def test_asynchronously_too(cache, provider):
    async def plain():
        return await litellm.acompletion(**asks(provider, "async"))

    async def streamed():
        return [chunk async for chunk in await litellm.acompletion(**asks(provider, "async streamed", stream=True))]

    answer = cache.heard_twice(lambda: run_async(plain()), wire)
    assert answer.choices[0].message.content == said(f"litellm {provider} async")
    chunks = cache.heard_twice(lambda: run_async(streamed()), wire, streamed=True)
    assert chunks[-1].choices[0].finish_reason == "stop"


@EACH
def test_a_tool_call_is_paid_for_once(cache, provider):
    answer = cache.heard_twice(lambda: litellm.completion(**asks(provider, "tools", tools=[TOOL])), wire)
    function = answer.choices[0].message.tool_calls[0].function
    assert function.name == "look_up"
    assert json.loads(function.arguments) == {"question": f"litellm {provider} tools", "unit": "°C"}


@EACH
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_an_error_is_raised_and_not_kept(cache, calls_of_llm, provider, stream):
    request = asks(provider, "error", stream=stream) | target(provider, "error-400")
    with calls_of_llm("errors", 2):
        error = cache.never(lambda: list(litellm.completion(**request)), ERRORS.get(provider, litellm.BadRequestError))
    assert "mock: the request is malformed" in str(error)


@pytest.mark.parametrize("provider", ["openai", "ollama_chat", "azure"])
def test_embeddings_are_paid_for_once(cache, provider):
    where = target(provider, "text-mock")
    if provider == "ollama_chat":
        where["model"] = "ollama/text-mock"
    answer = cache.heard_twice(lambda: litellm.embedding(**where, input=["litellm one", "litellm two"]), wire)
    assert [len(each["embedding"]) for each in answer.data] == [8, 8]


def of_rerank(answer):
    """LiteLLM makes an id of its own for every answer."""
    return answer.results, answer.meta


def test_a_rerank_is_paid_for_once(cache):
    where = {"model": "cohere/rerank-mock", "api_base": os.environ["SDK_COHERE_URL"] + "/rerank", "api_key": KEY}
    documents = ["litellm: aardvark", "litellm: zebra"]
    answer = cache.heard_twice(lambda: litellm.rerank(**where, query="zebra", documents=documents, top_n=1), of_rerank)
    assert answer.results[0]["index"] == 1
