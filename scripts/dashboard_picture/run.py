#!/usr/bin/env python3
"""Makes the picture of the dashboard: two servers, a stand-in LLM with bad hours, clients, a real Prometheus.

Started by scripts/dashboard_picture.sh, which installs what it needs.
"""

import argparse
import asyncio
import contextlib
import json
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from draw import picture
from llm import Llm
from load import Load
from queries import Prometheus, panels_of

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SCRAPE_S = 2
# Grafana's is at least four scrapes; with so quick ones a longer one is easier to read.
RATE_INTERVAL = "20s"
START_MAX_S = 30


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One llm-cache-server, small enough that its disk fills up within minutes."""

    def __init__(self, binary, directory, name, llms):
        self.binary, self.directory, self.name = binary, directory / name, name
        self.port, self.admin = free_port(), free_port()
        self.directory.mkdir()
        config = {
            "server": {"listen": [f"127.0.0.1:{self.port}"], "admin": f"127.0.0.1:{self.admin}", "shutdown_deadline": "5s"},
            "upstreams": [
                {
                    "name": "openai",
                    "url": f"http://127.0.0.1:{llms['openai']}/v1",
                    "timeouts": {"connect": "1s", "first_byte": "4s", "idle": "4s"},
                    "prices": [
                        {"models": ["gpt-4o-mini*"], "input": 0.15, "output": 0.60},
                        {"models": ["gpt-4o*"], "input": 2.50, "output": 10.00},
                        {"models": ["text-embedding-3-small"], "input": 0.02, "output": 0},
                    ],
                },
                {
                    "name": "anthropic",
                    "url": f"http://127.0.0.1:{llms['anthropic']}/v1",
                    "prices": [{"models": ["claude-*"], "input": 3.00, "output": 15.00}],
                },
                {"name": "local", "url": f"http://127.0.0.1:{llms['local']}/v1"},
            ],
            "store": {"path": str(self.directory / "data"), "memory_bytes_max": "16MiB", "disk_bytes_max": "16MiB"},
            "log": {"level": "warn"},
        }
        (self.directory / "config.yaml").write_text(json.dumps(config))
        self.process = None

    def start(self):
        log = open(self.directory / "log", "ab")
        command = [self.binary, "run", "--config", self.directory / "config.yaml"]
        self.process = subprocess.Popen(command, stderr=log, cwd=self.directory)
        log.close()

    async def ready(self):
        await until(f"http://127.0.0.1:{self.admin}/readyz", self.process)

    async def restart(self):
        self.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self.process.wait, 30)
        self.start()
        await self.ready()


async def until(url, process):
    """Waits until the URL answers with 200."""
    deadline = time.monotonic() + START_MAX_S
    while True:
        with contextlib.suppress(OSError):
            answer = await asyncio.to_thread(urllib.request.urlopen, url, None, 2)
            answer.close()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"dashboard_picture: nothing answers at {url}")
        await asyncio.sleep(0.05)


def start_prometheus(directory, servers):
    port = free_port()
    targets = [
        {"targets": [f"127.0.0.1:{s.admin}"], "labels": {"namespace": "llm", "instance": s.name}} for s in servers
    ]
    scrape = {"job_name": "llm-cache-server", "scrape_interval": f"{SCRAPE_S}s", "static_configs": targets}
    rules = str(ROOT / "deploy/monitoring/alerts.yaml")
    config = {"global": {"evaluation_interval": "5s"}, "rule_files": [rules], "scrape_configs": [scrape]}
    (directory / "prometheus.yaml").write_text(json.dumps(config))
    log = open(directory / "prometheus.log", "wb")
    command = ["prometheus", f"--config.file={directory}/prometheus.yaml", f"--storage.tsdb.path={directory}/tsdb"]
    process = subprocess.Popen(command + [f"--web.listen-address=127.0.0.1:{port}"], stderr=log, stdout=log)
    log.close()
    return process, f"http://127.0.0.1:{port}"


class Story:
    """What goes wrong, and when."""

    def __init__(self, openai, anthropic, servers, load):
        self.openai, self.anthropic, self.servers, self.load = openai, anthropic, servers, load
        self.restarted = None

    async def __call__(self, progress):
        limited, outage = 0.3 < progress < 0.42, 0.55 < progress < 0.68
        self.anthropic.trouble = {429: 0.35} if limited else {}
        self.openai.trouble = {500: 0.45, "hang": 0.05, "cut": 0.1} if outage else {"cut": 0.01}
        self.load.astray = 0.05 if 0.15 < progress < 0.25 else 0.0
        if progress > 0.8 and not self.restarted:
            self.restarted = asyncio.ensure_future(self.servers[1].restart())


async def load_run(options, directory):
    openai, anthropic = Llm(1), Llm(2)
    # Nobody listens at the third one.
    llms = {"openai": await openai.start(), "anthropic": await anthropic.start(), "local": free_port()}
    servers = [Server(options.server, directory, f"cache-{i}", llms) for i in range(2)]
    processes = []
    try:
        for server in servers:
            server.start()
            await server.ready()
        prometheus, url = start_prometheus(directory, servers)
        processes.append(prometheus)
        await until(f"{url}/-/ready", prometheus)
        start = time.time()
        load = Load([s.port for s in servers], 3)
        story = Story(openai, anthropic, servers, load)
        await load.run(options.seconds, options.rate, story)
        await story.restarted
        end = time.time()
        await asyncio.sleep(2 * SCRAPE_S)  # The last scrape is to be in.
        asked = Prometheus(url, start + 10, end, max(2, options.seconds // 240), RATE_INTERVAL)
        dashboard = json.loads((ROOT / "deploy/monitoring/dashboard.json").read_text())
        results = {str(panel["id"]): await asyncio.to_thread(asked.evaluate, panel) for panel in panels_of(dashboard)}
        caption = (
            f"Two servers, {load.asked} requests within {options.seconds} s, a stand-in LLM that limits rates, then fails, and one restart. "
            "Every panel's own queries, evaluated by Prometheus, drawn by scripts/dashboard_picture.sh."
        )
        return {"start": asked.start, "end": end, "results": results, "caption": caption}
    finally:
        for process in processes + [s.process for s in servers if s.process]:
            process.terminate()
        for process in processes + [s.process for s in servers if s.process]:
            process.wait(30)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True, help="the binary")
    parser.add_argument("--out", required=True, help="the picture")
    parser.add_argument("--seconds", type=int, default=480, help="length of the load run")
    parser.add_argument("--rate", type=int, default=60, help="requests a second, between bursts")
    parser.add_argument("--keep", help="where to keep the values, or where they were kept: then there is no run")
    options = parser.parse_args()
    if options.keep and pathlib.Path(options.keep).exists():
        values = json.loads(pathlib.Path(options.keep).read_text())
    else:
        with tempfile.TemporaryDirectory() as directory:
            values = asyncio.run(load_run(options, pathlib.Path(directory)))
        if options.keep:
            pathlib.Path(options.keep).write_text(json.dumps(values))
    dashboard = json.loads((ROOT / "deploy/monitoring/dashboard.json").read_text())
    picture(dashboard, values["results"], values["start"], values["end"], options.out, values["caption"])
    empty = [p["title"] for p in panels_of(dashboard) if not values["results"].get(str(p["id"]))]
    if empty:
        sys.exit(f"dashboard_picture: panels without data: {', '.join(empty)}")


if __name__ == "__main__":
    main()
