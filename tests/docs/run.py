#!/usr/bin/env python3
"""Runs what the documentation tells people to run.

    run.py [--python PYTHON] [--node-modules DIRECTORY] [--only-selftest] [FILE…]

Collects the fenced blocks of README.md, CONTRIBUTING.md, SECURITY.md, docs/*.md and the READMEs in deploy/
(or of the files given), and checks each by its language:

sh       run by bash in a scratch directory, against a server before the stand-in LLM of tests/sdk; shim.py
         says which commands are stood in for. If its first line is `# needs a cluster`, `# needs Docker`,
         `# needs GitHub`, `# needs a provider key` or `# needs root`, it is not run. Its syntax, the server's
         sub-commands, flags and variables, targets of make and paths into the repository are checked then, too.
python, js
         run in the same way, twice: the second time the answers must come from the cache. Only compiled with one
         of the markers above, or if its first line is `# pip install …` (`// npm install …`) and these packages
         are not there; --python and --node-modules say where to look for them.
yaml     the server's `check`, if the keys are those of its configuration; else it must be YAML
promql   by promtool, if that is there; an empty line parts two queries
json, toml, ini
         must be such
text     nothing

Every block has a language. In the running text, code that is a command, a setting (`cache.ttl`) or a path into
the repository must be one. selftest.py shows each time that each of these
checks can fail.
"""

import argparse
import ast
import concurrent.futures
import configparser
import json
import pathlib
import sys
import time
import tomllib

import blocks
import configs
import selftest
import static
from blocks import Problem
from stage import sdk, stage

ROOT = static.ROOT
FILES = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/*.md",
    "deploy/README.md",
    "deploy/*/README.md",
    "deploy/*/*/README.md",
)
PARSERS = {
    "json": json.loads,
    "toml": tomllib.loads,
    "ini": configparser.ConfigParser(strict=False, interpolation=None).read_string,
}


def check_block(block, on):
    """Says what was done with it; raises a Problem."""
    match block.language:
        case "sh":
            static.check_shell(block.text, block.line)
            if block.marker:
                return "checked"
            static.check_assignments(block.text, block.line)
            on.run(block)
            return "run"
        case "python" | "js":
            compile_code(block, on)
            if block.marker or not on.has_packages(block):
                return "compiled"
            on.run(block)
            return "run"
        case "yaml":
            configs.check(block, on.directory())
        case "promql":
            static.check_promql(block.text, block.line)
        case "json" | "toml" | "ini":
            static.check_names(block.text, block.line)
            try:
                PARSERS[block.language](block.text)
            except (ValueError, configparser.Error) as error:
                raise Problem(block.line, str(error)) from None
        case _:
            return "text"
    return "checked"


def compile_code(block, on):
    if block.language == "python":
        try:
            ast.parse(block.text)
        except SyntaxError as error:
            raise Problem(block.line + (error.lineno or 1) - 1, f"{error.msg}") from None
    else:
        file = on.directory() / "block.mjs"
        file.write_text(block.text)
        done = static.run(["node", "--check", file])
        if done.returncode:
            at = int(done.stderr.split("block.mjs:")[1].split("\n")[0])
            raise Problem(block.line + at - 1, done.stderr.strip())


def check_text(text, on, done=None):
    """Every problem of a Markdown text. Counts in `done` what was done with its blocks."""
    found, inline, problems = blocks.read(text)
    for line, code in inline:
        try:
            static.check_inline(code, line)
        except Problem as problem:
            problems.append(problem)
    for block in found:
        if block.language not in blocks.LANGUAGES:
            continue
        try:
            what = block.language, check_block(block, on)
            if done is not None:
                done[what] = done.get(what, 0) + 1
        except Problem as problem:
            problems.append(problem)
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="an interpreter with the packages that the blocks name")
    parser.add_argument(
        "--node-modules", type=pathlib.Path, help="a node_modules with the packages that the blocks name"
    )
    parser.add_argument("--only-selftest", action="store_true")
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    files = options.files or [file for pattern in FILES for file in sorted(ROOT.glob(pattern))]
    started, done, count = time.monotonic(), {}, 0
    if options.only_selftest:
        files = []
    # On a stage of its own, at the same time: it waits much.
    with stage() as on, stage() as other, concurrent.futures.ThreadPoolExecutor(1) as beside:
        mistakes = beside.submit(selftest.run, other, check_text)
        on.python = options.python or on.python
        on.modules = options.node_modules.resolve() if options.node_modules else on.modules
        for file in files:
            problems = check_text(file.read_text(encoding="utf-8"), on, done)
            name = file.resolve().relative_to(ROOT) if file.resolve().is_relative_to(ROOT) else file
            for problem in sorted(problems, key=lambda each: each.line):
                print(f"{name}:{problem.line}: {problem}", file=sys.stderr, flush=True)
            count += len(problems)
        print(f"selftest: each of {mistakes.result()} mistakes is found")
    for (language, what), times in sorted(done.items()):
        print(f"{language:8} {what:10} {times}")
    if not static.shutil.which("promtool"):
        print("promql was not checked: there is no promtool")
    print(f"{len(files)} files, {time.monotonic() - started:.0f} s")
    if count:
        sys.exit(f"{count} problems")


if __name__ == "__main__":
    try:
        main()
    except sdk.Failed as failed:
        sys.exit(f"run.py: {failed}")
