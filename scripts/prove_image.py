#!/usr/bin/env python3
"""Runs an image from its own root file system, as its own user, and shows that it does what it should.

    prove_image.py --root DIRECTORY --config FILE

DIRECTORY is the image's file system (mounted by buildah, or `docker export` unpacked), FILE what `buildah
inspect --type image` or `docker inspect` says of it. Runs as root and in a mount namespace of its own (`unshare
--mount --propagation private`): like a container engine it mounts a volume and a configuration into the file
system, which itself becomes read-only, changes the root, drops to the image's user and starts what the image
says. The LLM is the stand-in of the SDK suites, on loopback. Standard library only.
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "sdk"))
from run import STARTS_MAX, Failed, answers, free_ports, get, mock, stopping  # noqa: E402

USER = 65532
SERVER = "/usr/local/bin/llm-cache-server"
# The only things in the image that may be executable: the server, and the libraries it is linked with.
LIBRARIES = ("ld-linux-", "libc.so", "libm.so", "libgcc_s.so", "libstdc++.so")
DATA = "app/data"
CONFIGURATION = "app/conf/llm-cache-server.yaml"
START_S_MAX = 60
# What the server promises: 25 s for answers in flight, then the store closes.
GRACE_S = 25 + 10
EXIT_CONFIG = 64

# By name, so that the image's own resolver is needed to reach the stand-in.
CONFIG = """\
server:
  listen: ["127.0.0.1:{port}"]
  admin: "127.0.0.1:{admin}"
upstreams:
  - name: openai
    url: http://localhost:{mock}/v1
store:
  memory_bytes_max: 64MiB
  disk_bytes_max: 1GiB
"""


def check(what, good):
    if not good:
        raise Failed(f"this does not hold: {what}")
    print(f"ok: {what}", flush=True)


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True, timeout=START_S_MAX)


class Image:
    """The file system of an image, and how its programs are started."""

    def __init__(self, root, config):
        self.root = root
        self.config = config
        self.environment = dict(each.split("=", 1) for each in config.get("Env") or ())

    def mount(self, data, configuration):
        """Like a container engine, which also makes what is missing to mount on."""
        sources = {"proc": "/proc", "dev": "/dev", "etc/hosts": "/etc/hosts", "etc/resolv.conf": "/etc/resolv.conf"}
        sources |= {DATA: data, CONFIGURATION: configuration}
        mount("--bind", self.root, self.root)
        for path, source in sources.items():
            target = self.root / path
            if pathlib.Path(source).is_dir():
                target.mkdir(exist_ok=True)
            else:
                target.touch()
            mount("--bind", source, target)
        mount("-o", "remount,bind,ro", self.root)

    def start(self, arguments, **options):
        def enter():
            os.chroot(self.root)
            os.chdir(self.config["WorkingDir"])
            os.setgroups([])
            os.setgid(USER)
            os.setuid(USER)

        return subprocess.Popen(arguments, env=self.environment, preexec_fn=enter, **options)

    def run(self, arguments):
        """The exit code, and what was said."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        with self.start(arguments, **pipes) as process:
            try:
                text, _ = process.communicate(timeout=START_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                raise Failed(f"{arguments} took more than {START_S_MAX} s") from None
        return process.returncode, text


def check_description(config):
    def says(name, value):
        found = config.get(name)
        check(f"{name} is {json.dumps(value)}", (sorted(found or ()) if isinstance(found, dict) else found) == value)

    says("User", f"{USER}:{USER}")
    says("WorkingDir", "/app")
    says("Entrypoint", [SERVER])
    says("Cmd", ["run"])
    says("ExposedPorts", ["9901/tcp", "9999/tcp"])
    says("Volumes", [f"/{DATA}"])
    says("StopSignal", "SIGTERM")
    test = (config.get("Healthcheck") or {}).get("Test")
    check("its health check is the server's own", test == ["CMD", SERVER, "healthcheck"])
    labels = {name.removeprefix("org.opencontainers.image.") for name in config.get("Labels") or ()}
    check("its labels say what it is", {"title", "source", "licenses", "version", "revision", "created"} <= labels)


def check_files(root):
    executable, special, writable = [], [], []
    for directory, names, files in os.walk(root):
        for name in names + files:
            path = pathlib.Path(directory, name)
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                continue
            shown = f"/{path.relative_to(root)}"
            if stat.S_ISREG(status.st_mode) and (status.st_mode & 0o111 or ".so" in name):
                executable.append(shown)
            if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
                special.append(shown)
            if status.st_uid != 0 or status.st_gid != 0 or status.st_mode & 0o002:
                writable.append(shown)
    print("programs and libraries:", *sorted(executable), sep="\n    ")
    foreign = [each for each in executable if each != SERVER and not os.path.basename(each).startswith(LIBRARIES)]
    check("there is nothing to execute but the server and its libraries", SERVER in executable and not foreign)
    check("nothing runs with another user's rights", not special)
    check("its user can write to /app/data and /tmp only", sorted(writable) == [f"/{DATA}", "/tmp"])
    authorities = (root / "etc/ssl/certs/ca-certificates.crt").read_text().count("BEGIN CERTIFICATE")
    check(f"it knows {authorities} certificate authorities", authorities > 100)


@contextlib.contextmanager
def server(image, mock_url, configuration, log):
    """The running server, once it is ready, with the port of its clients."""
    for _ in range(STARTS_MAX):
        port, admin = free_ports(2)
        configuration.write_text(CONFIG.format(port=port, admin=admin, mock=mock_url.rsplit(":", 1)[1]))
        with open(log, "ab") as file:
            process = image.start(image.config["Entrypoint"] + image.config["Cmd"], stdout=file, stderr=file)
        with stopping(process):
            deadline = time.monotonic() + START_S_MAX
            while process.poll() is None:
                try:
                    get(f"http://127.0.0.1:{admin}/readyz")
                    yield process, port
                    return
                except (urllib.error.URLError, OSError):
                    if time.monotonic() > deadline:
                        raise Failed(f"the server was not ready within {START_S_MAX} s") from None
                    time.sleep(0.05)
    raise Failed(f"the server ended at once, {STARTS_MAX} times, last with exit code {process.returncode}")


def ask(port, text, stream=False):
    """The answer to a question, its body still to be read."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = {"model": "mock-1", "messages": [{"role": "user", "content": text}], "stream": stream}
    headers = {"content-type": "application/json", "authorization": "Bearer someone"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    answer = connection.getresponse()
    if answer.status != 200:
        raise Failed(f"status {answer.status}: {answer.read()!r}")
    return answer


def asked(port, text):
    answer = ask(port, text)
    return answer.headers["x-llm-cache"], answer.read()


def check_exit(process, since):
    try:
        code = process.wait(GRACE_S - (time.monotonic() - since))
    except subprocess.TimeoutExpired:
        raise Failed(f"the server goes on {GRACE_S} s after SIGTERM") from None
    check(f"it ended {time.monotonic() - since:.1f} s after SIGTERM, of {GRACE_S}, with exit code {code}", code == 0)


def first_run(image, mock_url, configuration, log):
    """What was answered, for the next run."""
    health = image.config["Healthcheck"]["Test"][1:]
    with server(image, mock_url, configuration, log) as (process, port):
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        ids = {line.split(":")[0]: line.split()[1:] for line in status.splitlines() if line.startswith(("Uid", "Gid"))}
        check("it runs as 65532:65532", ids == {"Uid": [str(USER)] * 4, "Gid": [str(USER)] * 4})
        first, second = asked(port, "Why is the sky blue?"), asked(port, "Why is the sky blue?")
        check(f"the first answer is a {first[0]}, the second a {second[0]}", (first[0], second[0]) == ("miss", "hit"))
        check("both are the same, byte for byte", first[1] == second[1])
        check("the LLM was asked once", sum(answers(mock_url).values()) == 1)
        code, text = image.run(health)
        check(f"the health check exits with {code}", code == 0)
        stream = ask(port, "word " * 500, stream=True)
        begin = stream.read1()
        since = time.monotonic()
        process.send_signal(signal.SIGTERM)
        whole = begin + stream.read()
        check("SIGTERM lets a stream in flight go on to its end", b"[DONE]" not in begin and b"[DONE]" in whole)
        check_exit(process, since)
    code, text = image.run(health)
    check(f"then the health check exits with {code}: {text.strip()}", code == 1)
    return first[1], whole


def second_run(image, mock_url, configuration, log, before):
    count = answers(mock_url)
    with server(image, mock_url, configuration, log) as (process, port):
        kind, body = asked(port, "Why is the sky blue?")
        check(f"after a restart over the same volume the first answer is a {kind}", kind == "hit" and body == before[0])
        stream = ask(port, "word " * 500, stream=True)
        same = stream.headers["x-llm-cache"] == "hit" and stream.read() == before[1]
        check("and so is the stream that was in flight at SIGTERM", same)
        check("the LLM was not asked again", answers(mock_url) == count)
        since = time.monotonic()
        process.send_signal(signal.SIGTERM)
        check_exit(process, since)


def prove(image, scratch):
    check_description(image.config)
    check_files(image.root)
    code, text = image.run([SERVER, "check"])
    check(f"the configuration it comes with: {text.strip()}", code == 0)

    # As `docker run -v $(pwd)/data:/app/data` leaves it: Docker made the directory, and it is root's.
    data, configuration, log = scratch / "data", scratch / "my.yaml", scratch / "server.log"
    data.mkdir(mode=0o755)
    port, admin, other = free_ports(3)
    configuration.write_text(CONFIG.format(port=port, admin=admin, mock=other))
    image.mount(data, configuration)
    code, text = image.run(image.config["Entrypoint"] + image.config["Cmd"])
    print(f"over a volume of root's it says:\n    {text.strip()}")
    check(f"it exits with {code}, and says what to do", code == EXIT_CONFIG and f"chown -R {USER}:{USER}" in text)
    check("in one line", len(text.strip().splitlines()) == 1)
    os.chown(data, USER, USER)

    with mock() as mock_url:
        try:
            before = first_run(image, mock_url, configuration, log)
            second_run(image, mock_url, configuration, log, before)
        except BaseException:
            lines = log.read_text(errors="replace").splitlines() if log.exists() else []
            print("last lines of the server's log:", *lines[-40:], sep="\n    ", file=sys.stderr)
            raise
    owners = {path.lstat().st_uid for path in data.rglob("*")}
    check("everything in the volume is its user's", owners == {USER})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=pathlib.Path, required=True)
    parser.add_argument("--config", type=pathlib.Path, required=True)
    options = parser.parse_args()
    described = json.loads(options.config.read_text())
    if isinstance(described, list):
        config = described[0]["Config"]
    else:
        config = described["Docker"]["config"]
    with tempfile.TemporaryDirectory(prefix="llm-cache-image-") as name:
        scratch = pathlib.Path(name)
        scratch.chmod(0o755)
        prove(Image(options.root.resolve(), config), scratch)


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(f"prove_image.py: {failed}")
