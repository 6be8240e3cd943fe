"""What can be said about a block without running it."""

import functools
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile

import shell
from blocks import Problem

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Paths into the repository, not ones of a container (/app/conf/…) or of another tree (my/conf/…).
PATH = re.compile(
    r"(?:(?<![\w/.${}()\\-])(?:\./)?|(?:\$\(pwd\)|\$PWD|\$\{PWD\})/)"
    r"((?:conf|deploy|scripts|docs|tests|src|\.github|\.ci)/[\w./-]*\w)"
)
VARIABLE = re.compile(r"\bLLM_CACHE__([A-Z0-9_]*[A-Z0-9])")
SETTING = re.compile(r"(server|limits|upstreams(?:\[\])?|cache|store|shared|objects|log|tracing)(\.[a-z_]+)+")
NOT_SETTINGS = (".rs", ".md", ".yaml")
ASSIGNED = re.compile(r"^\s*(?:export )?(LLM_CACHE__\w+=.*)$", re.MULTILINE)


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def server(*arguments, **options):
    return run([os.environ["LLM_CACHE_SERVER_BIN"], *arguments], **options)


@functools.cache
def sub_commands():
    listed = server("--help").stdout.split("Commands:\n")[1].split("\n\n")[0]
    return {line.split()[0] for line in listed.splitlines()}


@functools.cache
def flags(sub_command):
    """The flags of a sub-command ("" for those that may stand alone), and whether each wants a value."""
    asked = server(*([sub_command] if sub_command else []), "--help")
    found = re.findall(r"^\s+(?:(-\w), )?\s*(--[\w-]+)( <\w+>)?", asked.stdout, re.MULTILINE)
    return {name: bool(value) for short, long, value in found for name in (short, long) if name}


@functools.cache
def operands(sub_command):
    """How many words a sub-command takes beside its flags."""
    usage = re.search(r"^Usage: (.*)$", server(sub_command, "--help").stdout, re.MULTILINE)[1]
    return len(re.findall(r"(?<!\S)<[A-Z_]+>(?!\S)", usage))


def check_server_call(line, arguments):
    words, sub_command, taken = list(arguments), "", 0
    while words:
        word = words.pop(0)
        name, _, value = word.partition("=")
        if name.startswith("-"):
            if name not in flags(sub_command):
                raise Problem(line, f"`llm-cache-server {sub_command}` has no flag {name}")
            if flags(sub_command)[name] and not value and not words:
                raise Problem(line, f"{name} wants a value")
            if flags(sub_command)[name] and not value:
                words.pop(0)
        elif sub_command and taken < operands(sub_command):
            taken += 1
        elif sub_command:
            raise Problem(line, f"`llm-cache-server {sub_command}` takes no {word!r}")
        elif word not in sub_commands():
            raise Problem(line, f"llm-cache-server has no sub-command {word!r}")
        else:
            sub_command = word


@functools.cache
def make_knows(target):
    return run(["make", "-n", target], cwd=ROOT).returncode == 0


def check_shell(text, line):
    """Syntax, what the server and make are told to do, paths and variables of a script. `line`: its first."""
    parsed = run(["bash", "-n"], input=text)
    if parsed.returncode:
        at = re.search(r"line (\d+)", parsed.stderr)
        raise Problem(line + (int(at[1]) - 1 if at else 0), parsed.stderr.strip())
    for offset, arguments in shell.server_calls(text):
        check_server_call(line + offset, arguments)
    for offset, words in shell.commands(text):
        if words[0] == "make":
            for target in words[1:]:
                if "=" not in target and not target.startswith("-") and not make_knows(target):
                    raise Problem(line + offset, f"the Makefile has no target {target!r}")
    check_names(text, line)


def check_names(text, line):
    """Paths into the repository exist, and variables of the server name settings."""
    for offset, each in enumerate(text.split("\n")):
        for path in PATH.findall(each):
            if not (ROOT / path).exists():
                raise Problem(line + offset, f"the repository has no {path}")
        for name in VARIABLE.findall(each):
            if not setting_exists(name.lower().split("__")):
                raise Problem(line + offset, f"LLM_CACHE__{name} names no setting")


def check_inline(code, line):
    """Code in the running text: commands that people copy from there, settings, paths."""
    if SETTING.fullmatch(code) and not code.endswith(NOT_SETTINGS):
        keys = [key for part in code.split(".") for key in ([part[:-2], "0"] if part.endswith("[]") else [part])]
        if not setting_exists(keys):
            raise Problem(line, f"there is no setting {code}")
    if "…" in code or "<" in code or "*" in code:
        return
    if code.startswith(("make ", "llm-cache-server ")):
        try:
            shlex.split(code)
        except ValueError as error:
            raise Problem(line, f"not a command: {error}") from None
        check_shell(code, line)
    else:
        check_names(code, line)


@functools.cache
def schema():
    return json.loads(server("schema").stdout)


def setting_exists(keys):
    node = schema()
    for key in keys:
        node = resolved(node)
        if key.isdigit() and "items" in node:
            node = node["items"]
        elif key in node.get("properties", {}):
            node = node["properties"][key]
        else:
            return False
    return True


def resolved(node):
    if "$ref" in node:
        return resolved(schema()["$defs"][node["$ref"].rsplit("/", 1)[1]])
    for each in node.get("anyOf", []) + node.get("oneOf", []) + node.get("allOf", []):
        inner = resolved(each)
        if "properties" in inner or "items" in inner:
            return inner
    return node


def check_assignments(text, line):
    """The server takes each variable that a script sets for it, with that value."""
    for match in ASSIGNED.finditer(text):
        script = f'set -a\n{match[1]}\nexec "$LLM_CACHE_SERVER_BIN" check'
        done = run(["bash", "-c", script], cwd=tempfile.gettempdir())
        if done.returncode:
            raise Problem(line + text[: match.start(1)].count("\n"), done.stderr.strip())


def check_promql(text, line):
    """A block holds one query, or several with an empty line between two of them."""
    promtool = shutil.which("promtool")
    queries = [
        (text[: match.start()].count("\n"), match[0]) for match in re.finditer(r"\S.*?(?=\n\s*\n|\Z)", text, re.DOTALL)
    ]
    if not queries:
        raise Problem(line, "no query")
    for offset, query in queries if promtool else []:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump({"groups": [{"name": "docs", "rules": [{"record": "docs:query", "expr": query}]}]}, file)
            file.flush()
            done = run([promtool, "check", "rules", file.name])
        if done.returncode:
            raise Problem(line + offset, (done.stdout + done.stderr).strip().rsplit("\n", 1)[-1])
