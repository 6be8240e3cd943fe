#!/usr/bin/env python3
"""Runs the SDK suites against a server before a stand-in LLM, each suite twice.

    run.py [--direct] [python] [node] [frameworks] [forms-python] [forms-node]

Starts `mock_llm.py` and the server (the binary named by LLM_CACHE_SERVER_BIN) on free loopback ports with
an empty store, and runs every suite (default: all) two times against them. The second time the LLM must
not be asked anything that was worth caching. `--direct` leaves the server out and runs every suite once,
straight against the stand-in, which tells a mistake in a suite from one in the server.

The suites `forms-python` and `forms-node` are run once: see forms/test_forms.py. They need the server.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
CORPUS = HERE.parent / "forms"
# Refusals and the like are in the corpus, and are kept so that their other form can be asked for.
KEEP = "length, filtered, refused, empty, bad-tool-call"
START_S_MAX = 60
STOP_S_MAX = 30
SUITE_S_MAX = 300
STARTS_MAX = 3

CONFIG = """\
server:
  listen: ["127.0.0.1:{port}"]
  admin: "127.0.0.1:{admin}"
upstreams:
  - name: openai
    url: {mock}/v1
    models: ["gpt-*", "text-*"]
  - name: anthropic
    url: {mock}/v1
    models: ["claude-*"]
  - name: google
    url: {mock}/v1beta
  - name: ollama
    url: {mock}
  - name: cohere
    url: {mock}/v2
  - name: azure
    url: {mock}
cache:
  ttl: 1h
  keep: [{keep}]
  error_linger: 0s  # every request for an error reaches the stand-in, so that calls can be counted
store:
  path: {data}
  memory_bytes_max: 64MiB
  disk_bytes_max: 1GiB
"""


def pytest(folder, venv):
    python = os.environ.get(venv, sys.executable)
    return [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", HERE / folder]


def node(files):
    return ["node", "--test", "--test-reporter=spec", *sorted((HERE / "node").glob(files))]


# The frameworks want older SDKs and have an environment of their own.
SUITES = {
    "python": lambda: pytest("python", "SDK_PYTHON"),
    "frameworks": lambda: pytest("frameworks", "SDK_PYTHON_FRAMEWORKS"),
    "node": lambda: node("*.test.mjs"),
}
FORMS_SUITES = {
    "forms-python": lambda: pytest("forms", "SDK_PYTHON"),
    "forms-node": lambda: node("forms.mjs"),
}


# What a developer's shell may hold and the suites must not see: keys, addresses, settings, proxies.
HIDDEN = (
    "OPENAI_",
    "ANTHROPIC_",
    "AZURE_",
    "GOOGLE_",
    "GEMINI_",
    "OLLAMA_",
    "COHERE_",
    "CO_API_",
    "LITELLM_",
    "LANGSMITH_",
    "LANGCHAIN_",
    "ADDITIONAL_BASE_URLS",
    "LLM_CACHE__",
    "SDK_",
)
PROXIES = ("http_proxy", "https_proxy", "all_proxy")
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(HIDDEN) and name.lower() not in PROXIES
} | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(HERE)}


class Failed(Exception):
    """A sentence for the person who reads the log."""


def free_ports(count):
    """Ports that were free a moment ago; `start_server` tries again should one be taken meanwhile."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def get(url):
    # Without the proxies of the environment: everything here is on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as response:
        return response.read()


@contextlib.contextmanager
def stopping(process):
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def mock(*folders_of_forms):
    command = [sys.executable, HERE / "mock_llm.py", "--forms", *folders_of_forms]
    with stopping(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)) as process:
        line = process.stdout.readline().strip()
        if not line.startswith("listening on "):
            raise Failed("the stand-in LLM did not start")
        yield line.removeprefix("listening on ")


def start_server(binary, mock_url, scratch, keep):
    """The running server, once it is ready, and its address."""
    for attempt in range(1, STARTS_MAX + 1):
        port, admin = free_ports(2)
        config = scratch / f"config-{attempt}.yaml"
        data = scratch / f"data-{attempt}"
        config.write_text(CONFIG.format(port=port, admin=admin, mock=mock_url, data=data, keep=keep))
        with open(scratch / "server.log", "ab") as log:
            command = [binary, "run", "--config", config]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=scratch, env=ENVIRONMENT)
        deadline = time.monotonic() + START_S_MAX
        while process.poll() is None:
            try:
                get(f"http://127.0.0.1:{admin}/readyz")
                return process, f"http://127.0.0.1:{port}"
            except (urllib.error.URLError, OSError):
                if time.monotonic() > deadline:
                    process.kill()
                    process.wait()
                    raise Failed(f"the server was not ready within {START_S_MAX} s") from None
                time.sleep(0.05)
    raise Failed(f"the server ended at once, {STARTS_MAX} times, last with exit code {process.returncode}")


@contextlib.contextmanager
def server(mock_url, keep=""):
    binary = os.environ.get("LLM_CACHE_SERVER_BIN")
    if not binary or not shutil.which(binary):
        raise Failed("LLM_CACHE_SERVER_BIN must name the built server")
    with tempfile.TemporaryDirectory(prefix="llm-cache-sdk-") as name:
        scratch = pathlib.Path(name)
        try:
            process, url = start_server(pathlib.Path(binary).resolve(), mock_url, scratch, keep)
            with stopping(process):
                yield url
            if process.returncode != 0:
                raise Failed(f"the server stopped with exit code {process.returncode}")
        except BaseException:
            lines = (scratch / "server.log").read_text(errors="replace").splitlines()
            print("last lines of the server's log:", *lines[-40:], sep="\n  ", file=sys.stderr)
            raise


def run_suites(suites, environment):
    for suite in suites:
        label = {"0": ", direct", "1": ", run 1 of 2", "2": ", run 2 of 2"}.get(environment.get("SDK_RUN"), "")
        print(f"--- {suite} suite{label}", flush=True)
        try:
            code = subprocess.run((SUITES | FORMS_SUITES)[suite](), env=ENVIRONMENT | environment, timeout=SUITE_S_MAX).returncode
        except subprocess.TimeoutExpired:
            raise Failed(f"the {suite} suite took more than {SUITE_S_MAX} s") from None
        if code != 0:
            raise Failed(f"the {suite} suite failed")


def addresses(url, names):
    """What the suites are given: with the upstreams' names in the paths, or straight at the stand-in."""

    def at(upstream, path=""):
        return f"{url}/{upstream}{path}" if names else f"{url}{path}"

    return {
        "SDK_PLAIN_URL": url,
        "SDK_OPENAI_URL": f"{url}/v1",
        "SDK_ANTHROPIC_URL": at("anthropic"),
        "SDK_GOOGLE_URL": at("google"),
        "SDK_OLLAMA_URL": at("ollama"),
        "SDK_COHERE_URL": at("cohere", "/v2"),
        "SDK_AZURE_URL": at("azure"),
    }


def answers(mock_url):
    return json.loads(get(f"{mock_url}/_count"))["answers"]


def run_twice(suites):
    with mock() as mock_url, server(mock_url) as url:
        environment = {"SDK_MOCK_URL": mock_url, "SDK_SUITES": " ".join(suites), **addresses(url, names=True)}
        run_suites(suites, {**environment, "SDK_RUN": "1"})
        before = answers(mock_url)
        if not before:
            raise Failed("the first run asked the LLM nothing: the suites do not reach it")
        run_suites(suites, {**environment, "SDK_RUN": "2"})
        after = answers(mock_url)
        if before != after:
            raise Failed(f"the second run asked the LLM again: {before} before it, {after} after it")
        print(f"--- calls of the LLM: {sum(before.values())} in the first run, 0 in the second")


def run_direct(suites):
    with mock() as mock_url:
        environment = {"SDK_MOCK_URL": mock_url, "SDK_SUITES": " ".join(suites), **addresses(mock_url, names=False)}
        run_suites(suites, {**environment, "SDK_RUN": "0"})


def run_forms(suites):
    """The corpus, and a folder for what the server made of it, to which it is asked again."""
    with tempfile.TemporaryDirectory(prefix="llm-cache-forms-") as back:
        folders = (CORPUS, CORPUS / "refused", pathlib.Path(back))
        for family in ("chat", "responses", "messages"):
            (folders[-1] / family).mkdir()
        with mock(*folders) as mock_url, server(mock_url, KEEP) as url:
            environment = {"SDK_FORMS": str(CORPUS), "SDK_FORMS_BACK": back, **addresses(url, names=True)}
            run_suites(suites, {**environment, "SDK_MOCK_URL": mock_url})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--direct", action="store_true")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=", ".join(SUITES | FORMS_SUITES))
    options = parser.parse_args()
    if unknown := set(options.suites) - set(SUITES | FORMS_SUITES):
        parser.error(f"no such suite: {', '.join(unknown)}")
    suites = [suite for suite in SUITES if suite in options.suites or not options.suites]
    forms = [suite for suite in FORMS_SUITES if suite in options.suites or not options.suites]
    if options.direct:
        run_direct(suites)
        return
    if suites:
        run_twice(suites)
    if forms:
        run_forms(forms)


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(f"run.py: {failed}")
