"""Building, starting and ending the programs that are measured, and what they take."""

import atexit
import contextlib
import http.client
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = pathlib.Path(__file__).resolve().parent
TICKS = os.sysconf("SC_CLK_TCK")
CHAT = "/v1/chat/completions"
START_SECS_MAX = 30
STOP_SECS_MAX = 10
# Debian has daemons where only root looks for them.
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def find(program):
    return shutil.which(program, path=PATH)


def build(*benches):
    """Builds the server and some bench targets; their paths by name."""
    paths = {}
    command = ["cargo", "bench", "--profile", "release", "--locked", "--no-run", "--message-format", "json"]
    for bench in benches:
        command += ["--bench", bench]
    # The server comes last: what is built beside benches has their features.
    for command in (command, ["cargo", "build", "--release", "--locked", "--message-format", "json"]):
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed")
        for line in done.stdout.splitlines():
            message = json.loads(line)
            if message.get("executable"):
                paths[message["target"]["name"]] = message["executable"]
    return paths


def allow_files():
    """A thousand connections want more than the usual limit of open files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def post(port, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-bench"}
        connection.request("POST", CHAT, body, headers)
        return connection.getresponse().status


def pinned(cores):
    """What keeps a process on these cores, for its start."""
    return (lambda: os.sched_setaffinity(0, cores)) if cores else None


class Program:
    """A program that listens on a port, pinned to some cores. Ended when this process ends."""

    def __init__(self, command, port, state, cores=None):
        self.port = port
        self.log_path = state / "log"
        self.log = open(self.log_path, "ab")  # noqa: SIM115 as long as the program
        files = {"stdin": subprocess.DEVNULL, "stdout": self.log, "stderr": self.log}
        env = {**os.environ, "PATH": PATH}
        self.process = subprocess.Popen(command, env=env, preexec_fn=pinned(cores), **files)
        self.pid = self.process.pid
        atexit.register(self.stop)

    def until(self, is_ready):
        deadline = time.monotonic() + START_SECS_MAX
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError, http.client.HTTPException):
                if is_ready():
                    return self
            time.sleep(0.05)
        self.stop()
        sys.exit(f"{self.process.args[0]} did not start:\n{self.log_path.read_text(errors='replace')[-2000:]}")

    def stop(self, by=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(by)
            try:
                self.process.wait(STOP_SECS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()

    def trim_log(self, bytes_max=64 << 20):
        """An access line for each request adds up."""
        if self.log_path.stat().st_size > bytes_max:
            os.truncate(self.log_path, 0)

    def cpu_secs(self):
        """Of the program and what it has started."""
        return sum(map(_cpu_secs, _family(self.pid)))


def _stat(pid):
    text = pathlib.Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2 :].split()


def _family(pid):
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(int(_stat(entry)[1]), []).append(int(entry))
    found, left = [], [pid]
    while left:
        found.append(left.pop())
        left += children.get(found[-1], [])
    return found


def _cpu_secs(pid):
    with contextlib.suppress(OSError):
        fields = _stat(pid)
        return (int(fields[11]) + int(fields[12])) / TICKS
    return 0.0


def machine_cpu_secs():
    """What all cores together have done."""
    fields = [int(field) for field in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _wait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / TICKS
