"""What the tests of the frameworks start from. `../run.py` sets the SDK_ variables."""

import os

import pytest

# Before LiteLLM is imported: it would fetch its price list from the internet.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LANGSMITH_TRACING"] = "false"

from suite import Cache, counting  # noqa: E402


@pytest.fixture(scope="session")
def cache():
    return Cache()


@pytest.fixture
def calls_of_llm():
    return counting
