"""The servers under test."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ports

CONFIG = """\
server:
  listen: ["127.0.0.1:{port}"]
  admin: "127.0.0.1:{admin}"
  threads: 1
upstreams:
  - name: openai
    url: http://127.0.0.1:{upstream}/v1
store:
  path: ./data
  memory_bytes_max: 32MiB
  disk_bytes_max: 256MiB
shared:
  nodes: {nodes}
  cluster: true
  prefix: "soak:"
  deadline: 30ms
objects:
  bucket: soak
  endpoint: http://127.0.0.1:{objects}
  access_key_env: SOAK_KEY
  secret_key_env: SOAK_KEY
log: {{level: warn}}
"""


class Replica:
    def __init__(self, server, nth, nodes, upstream, objects):
        self.server, self.nth = server, nth
        self.port, self.admin = ports.free(), ports.free()
        self.dir = tempfile.TemporaryDirectory(prefix="soak-replica-")
        config = CONFIG.format(
            port=self.port, admin=self.admin, upstream=upstream, objects=objects, nodes=json.dumps(nodes)
        )
        Path(self.dir.name, "config.yaml").write_text(config)
        self.process = None
        # Requests are sent to it; false before it is ended on purpose.
        self.up = False
        # When it was not to be relied on: (from, until), the last one open-ended while it lasts.
        self.outages = []

    def launch(self):
        with open(Path(self.dir.name, "log"), "ab") as log:
            self.process = subprocess.Popen(
                [self.server, "run", "--config", "config.yaml"],
                cwd=self.dir.name,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"SOAK_KEY": "soak"},
            )

    async def start(self):
        self.launch()
        until = time.monotonic() + 30
        while True:
            if self.process.poll() is not None:
                sys.exit(f"replica {self.nth} ended: {self.log_tail()}")
            try:
                if (await self.get("/readyz"))[0] == 200:
                    break
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                pass
            if time.monotonic() > until:
                sys.exit(f"replica {self.nth} does not start: {self.log_tail()}")
            await asyncio.sleep(0.05)
        self.works()

    def fails(self):
        """It is about to be killed, stopped or hung."""
        self.up = False
        self.outages.append([time.monotonic(), float("inf")])

    def works(self):
        self.up = True
        if self.outages:
            self.outages[-1][1] = time.monotonic()

    def failed_within(self, since, until):
        return any(begin <= until and end >= since for begin, end in self.outages)

    def send(self, what):
        self.process.send_signal(what)

    async def ended(self):
        while self.process.poll() is None:
            await asyncio.sleep(0.05)

    async def get(self, path, body=None):
        return await asyncio.wait_for(self.admin_ask(path, body), 10)

    async def admin_ask(self, path, body):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.admin)
        try:
            method = "GET" if body is None else "POST"
            payload = b"" if body is None else json.dumps(body).encode()
            writer.write(
                f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{self.admin}\r\nconnection: close\r\n"
                f"content-type: application/json\r\ncontent-length: {len(payload)}\r\n\r\n".encode() + payload
            )
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            rest = await reader.read()
            return int(head.split()[1]), rest
        finally:
            writer.close()

    async def metrics(self):
        """Every series, summed over its labels, and each by itself."""
        status, text = await self.get("/metrics")
        values = {}
        for line in text.decode(errors="replace").splitlines():
            found = re.match(r"(llm_cache_\w+)(\{[^}]*\})? ([-+.\deE]+)$", line)
            if found:
                name, labels, value = found.groups()
                values[name] = values.get(name, 0) + float(value)
                if labels:
                    values[name + labels] = float(value)
        return values

    async def well(self):
        """Whether it reaches all nodes and knows the purges; what is wrong otherwise."""
        try:
            values = await self.metrics()
        except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            return f"replica {self.nth}: {error!r}"
        names = ("servers", "servers_connected", "breaker", "purges_known")
        servers, connected, breaker, known = (values.get(f"llm_cache_shared_{name}") for name in names)
        if servers and servers == connected and breaker == 0 and known == 1:
            return None
        return f"replica {self.nth}: {connected} of {servers} servers, breaker {breaker}, purges known {known}"

    def rss_kib(self):
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            return int(re.search(r"VmRSS:\s+(\d+)", status)[1])
        except (OSError, TypeError):
            return None

    def log_tail(self):
        log = Path(self.dir.name, "log")
        return log.read_text(errors="replace")[-4_000:] if log.exists() else ""

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        self.dir.cleanup()
