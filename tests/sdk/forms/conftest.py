"""The corpus of answers in both forms, and clients that ask for them. `../run.py` sets the SDK_ variables."""

import os

import anthropic
import openai
import pytest

from suite import KEY


@pytest.fixture(scope="session")
def clients():
    options = {"api_key": KEY, "max_retries": 0, "timeout": 30}
    with openai.OpenAI(base_url=os.environ["SDK_OPENAI_URL"], **options) as of_openai:
        with anthropic.Anthropic(base_url=os.environ["SDK_ANTHROPIC_URL"], **options) as of_anthropic:
            yield {"chat": of_openai, "responses": of_openai, "messages": of_anthropic}
