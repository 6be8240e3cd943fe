#!/usr/bin/env python3
"""Stands in for the commands of documentation that a test must not run as they are.

Linked into a directory at the head of PATH under the name of each command it stands in for:

llm-cache-server  real, but for `run`: started on free ports, awaited, stopped (in the background when the
                  block says so, or ends), and it must end well
make              the target must exist, nothing is made; `make run` also starts the server
cargo             the sub-command and its flags must exist, nothing is built
curl              real, with a time limit, and an error status fails
kubectl, docker … refused: their blocks need a marker
"""

import os
import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import time

NEEDS = {
    "a cluster": ["kubectl", "helm", "kustomize", "kind", "minikube"],
    "Docker": ["docker", "podman", "buildah", "skopeo"],
    "GitHub": ["git", "gh", "cosign"],
    "root": ["sudo", "apt", "apt-get", "systemctl", "chown"],
}
REFUSED = {name: need for need, names in NEEDS.items() for name in names}
NAMES = ["llm-cache-server", "make", "cargo", "curl", "pip", "npm", *REFUSED]
START_S_MAX = 20
STOP_S_MAX = 20


def fail(message):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {message}")


def real(name):
    directories = os.environ["PATH"].split(os.pathsep)[1:]
    for directory in directories:
        path = os.path.join(directory, name)
        if os.access(path, os.X_OK):
            return path
    fail("is not installed here")


def free_port():
    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        return each.getsockname()[1]


def server(arguments):
    binary = os.environ["DOCS_SERVER"]
    runs = [each for each in arguments if not each.startswith("-")][:1] in ([], ["run"])
    if "--help" in arguments or "--version" in arguments or (arguments and not runs and arguments[0] != "--config"):
        os.execv(binary, [binary, *arguments])
    addresses = {
        "LLM_CACHE__SERVER__LISTEN": f'["127.0.0.1:{free_port()}"]',
        "LLM_CACHE__SERVER__ADMIN": f"127.0.0.1:{free_port()}",
    }
    environment = os.environ | addresses
    told = []
    if "DOCS_BACKGROUND" in os.environ:
        signal.signal(signal.SIGTERM, lambda *_: told.append(True))
        pathlib.Path(os.environ["DOCS_BACKGROUND"] + ".started").touch()
    process = subprocess.Popen([binary, *arguments], env=environment)
    health = [binary, "healthcheck", *(each for each in arguments if each != "run")]
    deadline = time.monotonic() + START_S_MAX
    while process.poll() is None:
        asked = subprocess.run(health, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if asked.returncode == 0:
            if "DOCS_BACKGROUND" in os.environ:
                until_told(told)
            process.send_signal(signal.SIGTERM)
            code = process.wait(STOP_S_MAX)
            print("started, was ready, and stopped", file=sys.stderr)
            sys.exit(code)
        if time.monotonic() > deadline:
            process.kill()
            fail(f"not ready within {START_S_MAX} s")
        time.sleep(0.05)
    sys.exit(process.returncode or 1)


def until_told(told):
    """Returns on SIGTERM, or when the block is at its end and has left this file."""
    while not told and not os.path.exists(os.environ["DOCS_BACKGROUND"]):
        time.sleep(0.05)


def make(arguments):
    repository = pathlib.Path(os.environ["DOCS_REPOSITORY"])
    command = [real("make"), "-n", "-C", repository, *arguments]
    dry = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"HOME": os.environ["DOCS_HOME"]})
    if dry.returncode:
        fail(dry.stderr.strip())
    if "run" in arguments:
        given = [each.removeprefix("ARGS=") for each in arguments if each.startswith("ARGS=")]
        server(["run", *shlex.split(" ".join(given))])


def cargo(arguments):
    environment = os.environ | {"HOME": os.environ["DOCS_HOME"]}
    command = arguments[0] if arguments else ""
    asked = subprocess.run([real("cargo"), command, "--help"], capture_output=True, text=True, env=environment)
    if asked.returncode:
        fail(asked.stderr.strip())
    for each in arguments[1:]:
        if each == "--":
            break
        if each.startswith("-") and each.split("=")[0] not in asked.stdout:
            fail(f"{command} has no flag {each}")


def curl(arguments):
    path = real("curl")
    fails = any(re.fullmatch(r"-[a-zA-Z]*f[a-zA-Z]*|--fail(-with-body)?", each) for each in arguments)
    ours = ["--max-time", "20"] if fails else ["--max-time", "20", "--fail-with-body"]
    os.execv(path, [path, *ours, *arguments])


def main():
    name, arguments = os.path.basename(sys.argv[0]), sys.argv[1:]
    if name in REFUSED:
        fail(f"a block with this command must begin with `# needs {REFUSED[name]}`")
    if name in ("pip", "npm"):
        fail("say `# pip install …` or `// npm install …` in the first line of the block that needs it")
    {"llm-cache-server": server, "make": make, "cargo": cargo, "curl": curl}[name](arguments)


if __name__ == "__main__":
    main()
