"""LangChain before the server: what it asks twice is paid for once, and reads the same."""

import os

import anthropic
import ollama
import openai
import pytest
from google.genai import errors
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_google_genai.chat_models import ChatGoogleGenerativeAIError
from langchain_ollama import ChatOllama, OllamaEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from suite import KEY, run_async, said


@tool
def look_up(question: str, unit: str) -> str:
    """Looks it up"""
    return question + unit


def of_openai(model="gpt-mock", **fields):
    address = os.environ["SDK_OPENAI_URL"]
    return ChatOpenAI(model=model, api_key=KEY, base_url=address, max_retries=0, **fields)


def of_responses(model="gpt-mock"):
    return of_openai(model, use_responses_api=True, store=False)


def of_anthropic(model="claude-mock"):
    return ChatAnthropic(model=model, api_key=KEY, base_url=os.environ["SDK_ANTHROPIC_URL"], max_retries=0)


def of_google(model="gemini-mock"):
    address = os.environ["SDK_GOOGLE_URL"]
    return ChatGoogleGenerativeAI(model=model, api_key=KEY, base_url=address, max_retries=1, vertexai=False)


def of_ollama(model="llama-mock"):
    return ChatOllama(model=model, base_url=os.environ["SDK_OLLAMA_URL"])


ALL = [of_openai, of_responses, of_anthropic, of_google, of_ollama]
ERRORS = {
    of_openai: openai.APIError,
    of_responses: openai.APIError,
    of_anthropic: anthropic.APIError,
    of_google: (errors.APIError, ChatGoogleGenerativeAIError),
    of_ollama: ollama.ResponseError,
}
EACH = pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)


def wire(message):
    """Without the ids that LangChain makes up for a run."""
    calls = [{**call, "id": None} for call in getattr(message, "tool_calls", [])]
    return message.content, calls, message.response_metadata, message.usage_metadata


def whole(chunks):
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    assert isinstance(total, AIMessageChunk)
    return total


def asks(make, prompt):
    return [SystemMessage("be brief"), HumanMessage(f"langchain {make.__name__} {prompt}")]


@EACH
def test_a_plain_answer_is_paid_for_once(cache, make):
    # A new model each time: nothing of the first one is left in it.
    streamed = make is of_ollama  # LangChain streams from Ollama in any case
    answer = cache.heard_twice(lambda: make().invoke(asks(make, "plain")), wire, streamed)
    assert answer.text == said(f"langchain {make.__name__} plain")
    assert answer.usage_metadata["total_tokens"] > 0


@EACH
def test_a_streamed_answer_is_paid_for_once(cache, make):
    answer = cache.heard_twice(lambda: whole(list(make().stream(asks(make, "streamed")))), wire, streamed=True)
    assert answer.text == said(f"langchain {make.__name__} streamed")


@EACH
def test_asynchronously_too(cache, make):
    async def plain():
        return await make().ainvoke(asks(make, "async"))

    async def streamed():
        return whole([chunk async for chunk in make().astream(asks(make, "async streamed"))])

    answer = cache.heard_twice(lambda: run_async(plain()), wire, streamed=make is of_ollama)
    assert answer.text == said(f"langchain {make.__name__} async")
    answer = cache.heard_twice(lambda: run_async(streamed()), wire, streamed=True)
    assert answer.text == said(f"langchain {make.__name__} async streamed")


@EACH
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_tool_call_is_paid_for_once(cache, make, stream):
    def ask():
        model = make().bind_tools([look_up])
        messages = asks(make, f"tools {stream}")
        return whole(list(model.stream(messages))) if stream else model.invoke(messages)

    answer = cache.heard_twice(ask, wire, streamed=stream or make is of_ollama)
    call = answer.tool_calls[0]
    assert (call["name"], call["args"]["unit"]) == ("look_up", "°C")


@EACH
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_an_error_is_raised_and_not_kept(cache, calls_of_llm, make, stream):
    def ask():
        model = make("error-400")
        return list(model.stream(asks(make, "error"))) if stream else model.invoke(asks(make, "error"))

    with calls_of_llm("errors", 2):
        error = cache.never(ask, ERRORS[make])
    assert "mock: the request is malformed" in str(error)


def test_embeddings_are_paid_for_once(cache):
    texts = ["langchain one", "langchain two"]
    # Without the check the texts go out as they are, and not as tokens.
    options = {"api_key": KEY, "base_url": os.environ["SDK_OPENAI_URL"], "check_embedding_ctx_length": False}
    model = OpenAIEmbeddings(model="text-mock", max_retries=0, **options)
    vectors = cache.heard_twice(lambda: model.embed_documents(texts))
    assert [len(vector) for vector in vectors] == [8, 8]
    local = OllamaEmbeddings(model="nomic-mock", base_url=os.environ["SDK_OLLAMA_URL"])
    assert cache.heard_twice(lambda: local.embed_documents(texts)) == vectors
