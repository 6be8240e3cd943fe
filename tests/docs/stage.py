"""Where blocks are run: a server before the stand-in LLM of the SDK suites, and a directory for each block."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import shim
from blocks import Problem
from static import ROOT

sys.path.insert(0, str(ROOT / "tests" / "sdk"))
import run as sdk  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
BLOCK_S_MAX = 30
OUTPUT_LINES_MAX = 25
# The metrics tell of a request when it is over, which is a moment after its answer.
COUNT_S_MAX = 5
ADDRESS = re.compile(r"\b(localhost|127\.0\.0\.1|0\.0\.0\.0):(9999|9901)\b")
BACKGROUND = re.compile(r"^(llm-cache-server(?: run)?\b[^&|;\n]*&)[ \t]*$", re.MULTILINE)
ASKS = re.compile(r"\b(curl|python3?|node)\b")
# Blocks that say so may ask the provider each time.
UNCACHED = re.compile(r"no-cache|no-store|bypass|/models|my_program")
# Line numbers of the script, for messages; `set -E` hands the trap on to functions and subshells. The processes in
# the background are noted as they come: bash forgets those that have ended, and with them that they failed.
PROLOGUE = """set -Eeuo pipefail; trap 'echo "@line $LINENO" >&2' ERR; trap 'seen[${!-0}]=1' DEBUG; seen=()"""
EPILOGUE = """touch "$DOCS_END"
trap - DEBUG ERR
for pid in "${!seen[@]}"; do [ "$pid" = 0 ] || wait "$pid"; done"""
# Until a server in the background has come so far that it can be told to stop, or has ended.
STARTED = 'until [ -e "$DOCS_END.started" ] || ! kill -0 $! 2>"$DOCS_END.none"; do sleep 0.02; done'
# A block that waits for its processes judges them itself.
WAITS = re.compile(r"^\s*wait\b", re.MULTILINE)

# The repository's own scripts have tests of their own; here they only have to be there.
SCRIPTS = [
    each for pattern in ("scripts/*.sh", "scripts/*.py", "tests/*/run.sh", ".ci/run") for each in ROOT.glob(pattern)
]

# What documentation calls "your program": it takes everything from its environment.
PROGRAM = """\
import anthropic, openai
question = [{"role": "user", "content": "What does my program ask?"}]
openai.OpenAI().chat.completions.create(model="gpt-4o-mini", messages=question)
anthropic.Anthropic().messages.create(model="claude-sonnet-5-5", max_tokens=100, messages=question)
"""


class Stage:
    """Runs blocks one after the other; counts what reaches the server meanwhile."""

    def __init__(self, scratch, url, config):
        self.scratch, self.config = scratch, config
        self.ports = {"9999": url.rsplit(":", 1)[1], "9901": re.search(r'admin: "127.0.0.1:(\d+)"', config)[1]}
        self.count = 0
        self.python, self.modules = sys.executable, ROOT / "tests" / "sdk" / "node" / "node_modules"
        self.block_s_max, self.count_s_max = BLOCK_S_MAX, COUNT_S_MAX
        shims = scratch / "shims"
        shims.mkdir()
        for name in shim.NAMES:
            (shims / name).symlink_to(HERE / "shim.py")
        for name in ("python", "python3"):
            launcher = shims / name
            launcher.write_text('#!/bin/sh\nexec "$DOCS_PYTHON" "$@"\n')
            launcher.chmod(0o755)
        self.path = os.pathsep.join([str(shims), os.environ["PATH"]])

    def directory(self):
        """An empty directory."""
        self.count += 1
        directory = self.scratch / f"block-{self.count}"
        directory.mkdir()
        return directory

    def furnished(self, block):
        """A directory with what documentation takes for granted."""
        directory = self.directory()
        (directory / "node_modules").symlink_to(self.modules)
        if block.language != "sh":
            return directory
        for name in ("conf", "deploy"):
            if (ROOT / name).exists():
                shutil.copytree(ROOT / name, directory / name)
        for script in SCRIPTS:
            stub = directory / script.relative_to(ROOT)
            stub.parent.mkdir(parents=True, exist_ok=True)
            stub.write_text(f'#!/bin/sh\nexec test -x "{script}"\n')
            stub.chmod(0o755)
        (directory / "my.yaml").write_text(self.config.replace(str(self.scratch), str(directory)))
        (directory / "my_program.py").write_text(PROGRAM)
        return directory

    def has_packages(self, block):
        """Whether the packages that a block names are installed here."""
        if block.language == "js":
            return all((self.modules / name / "package.json").exists() for name in block.packages)
        names = [re.split(r"[\[=<>~]", name.strip("'\""))[0] for name in block.packages]
        script = "import importlib.metadata as m, sys; [m.distribution(name) for name in sys.argv[1:]]"
        return not subprocess.run([self.python, "-c", script, *names], capture_output=True).returncode

    def run(self, block):
        """Runs a block. What asks the server must reach it, and find its answer there when it asks again."""
        asks = "localhost:9999" in block.text and (block.language != "sh" or ASKS.search(block.text))
        directory = self.furnished(block)
        requests, _ = self.counters()
        self.once(block, directory)
        if not asks or "/health" in block.text:
            return
        _, calls = self.counters(requests + 1)
        if calls is None:
            raise Problem(block.line, "names the server, but no request reached it")
        if UNCACHED.search(block.text):
            return
        requests, _ = self.counters()
        self.once(block, directory)
        _, after = self.counters(requests + 1)
        if after != calls:
            raise Problem(block.line, "run a second time, it was not answered from the cache")

    def counters(self, least=0):
        """Requests at the server and calls of the provider so far; (…, None) if `least` is not reached in time."""
        deadline = time.monotonic() + self.count_s_max
        while True:
            text = sdk.get(f"http://127.0.0.1:{self.ports['9901']}/metrics").decode()
            requests, calls = (
                sum(float(value) for value in re.findall(rf"^{name}\{{.*\}} (\S+)$", text, re.MULTILINE))
                for name in ("llm_cache_requests_total", "llm_cache_upstream_requests_total")
            )
            if requests >= least:
                return requests, calls
            if time.monotonic() > deadline:
                return requests, None
            time.sleep(0.02)

    def once(self, block, directory):
        text = ADDRESS.sub(lambda match: f"{match[1]}:{self.ports[match[2]]}", block.text)
        if block.language == "sh":
            text = BACKGROUND.sub(rf'DOCS_BACKGROUND="$DOCS_END" \1 {STARTED}', text)
            command, lines_before = ["bash", "-c", f"{PROLOGUE}\n{text}\n{'' if WAITS.search(text) else EPILOGUE}"], 1
        elif block.language == "python":
            (directory / "block.py").write_text(text)
            command, lines_before = [self.python, "block.py"], 0
        else:
            (directory / "block.mjs").write_text(text)
            command, lines_before = ["node", "block.mjs"], 0
        environment = sdk.ENVIRONMENT | {
            "PATH": self.path,
            "HOME": str(directory),
            "DOCS_HOME": os.environ["HOME"],
            "DOCS_REPOSITORY": str(ROOT),
            "DOCS_SERVER": str(pathlib.Path(os.environ["LLM_CACHE_SERVER_BIN"]).resolve()),
            "DOCS_PYTHON": self.python,
            "DOCS_END": str(directory / "end"),
            # A key, and with it a tenant, of its own: blocks do not answer each other's questions.
            "OPENAI_API_KEY": f"test-{self.count}",
            "ANTHROPIC_API_KEY": f"test-{self.count}",
            "GEMINI_API_KEY": f"test-{self.count}",
            "AZURE_OPENAI_API_KEY": f"test-{self.count}",
        }
        for name in ("end", "end.started"):
            (directory / name).unlink(missing_ok=True)
        with open(directory / "output", "wb") as output:
            process = subprocess.Popen(
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            code = process.wait(self.block_s_max)
        except subprocess.TimeoutExpired:
            code = None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what the block left behind, which is its own session
        process.wait()
        if code == 0:
            return
        said = (directory / "output").read_text(errors="replace")
        lines = re.findall(r"^@line (\d+)$|block\.(?:py\", line |mjs:)(\d+)", said, re.MULTILINE)
        at = max((int(first or second) - lines_before for first, second in lines[:1]), default=1)
        why = f"not done within {self.block_s_max} s" if code is None else f"ended with exit code {code}"
        shown = [line for line in said.splitlines() if not line.startswith("@line")][-OUTPUT_LINES_MAX:]
        raise Problem(block.line + max(at, 1) - 1, "\n    ".join([why, *shown]))


@contextlib.contextmanager
def stage():
    with tempfile.TemporaryDirectory(prefix="llm-cache-docs-") as name, sdk.mock() as mock_url:
        scratch = pathlib.Path(name)
        process, url = sdk.start_server(os.environ["LLM_CACHE_SERVER_BIN"], mock_url, scratch, keep="")
        with sdk.stopping(process):
            config = max(scratch.glob("config-*.yaml"), key=lambda path: path.stat().st_mtime).read_text()
            yield Stage(scratch, url, config)
        if process.returncode != 0:
            raise sdk.Failed(f"the server stopped with exit code {process.returncode}")
