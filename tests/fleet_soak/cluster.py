"""Three Redis masters, each with a replica, behind relays; and what can happen to them."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ports

MASTERS = 3
OPTIONS = {
    "bind": "127.0.0.1",
    "save": "",
    "appendonly": "no",
    "logfile": "log",
    "cluster-enabled": "yes",
    "cluster-node-timeout": "1500",
    "cluster-require-full-coverage": "no",
    "cluster-replica-validity-factor": "0",
    "repl-diskless-sync-delay": "0",
    "maxmemory": "256mb",
    "maxmemory-policy": "allkeys-lru",
}


async def ask(port, *words, patience=2.0):
    """One question to the node on that port."""

    async def asking():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(b"*%d\r\n" % len(words))
            for word in words:
                word = word if isinstance(word, bytes) else str(word).encode()
                writer.write(b"$%d\r\n%s\r\n" % (len(word), word))
            await writer.drain()
            return await read(reader)
        finally:
            writer.close()

    return await asyncio.wait_for(asking(), patience)


async def read(reader):
    line = (await reader.readuntil(b"\r\n"))[:-2]
    kind, rest = line[:1], line[1:]
    if kind == b"+":
        return rest
    if kind == b"-":
        return RuntimeError(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if rest == b"-1" else (await reader.readexactly(int(rest) + 2))[:-2]
    return [await read(reader) for _ in range(int(rest))]


class Node:
    def __init__(self, nth):
        self.nth = nth
        self.port, self.bus, self.relay = ports.free(), ports.free(), ports.free()
        self.dir = tempfile.TemporaryDirectory(prefix="soak-redis-")
        self.process = None

    def start(self):
        options = OPTIONS | {
            "port": self.port,
            "cluster-port": self.bus,
            "cluster-announce-port": self.relay,
            "dir": self.dir.name,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        server = os.environ.get("REDIS_SERVER", "redis-server")
        null = subprocess.DEVNULL
        self.process = subprocess.Popen([server, *words], stdin=null, stdout=null, stderr=null)

    async def up(self):
        until = time.monotonic() + 20
        while True:
            if self.process.poll() is not None:
                log = Path(self.dir.name, "log")
                sys.exit(f"redis-server ended: {log.read_text() if log.exists() else 'without a log'}")
            try:
                if await ask(self.port, "PING") == b"PONG":
                    return
            except (OSError, TimeoutError, asyncio.IncompleteReadError):
                pass
            if time.monotonic() > until:
                sys.exit("redis-server does not start")
            await asyncio.sleep(0.05)

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    async def is_master(self):
        try:
            role = await ask(self.port, "ROLE")
            return isinstance(role, list) and role[0] == b"master"
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return False


class Cluster:
    def __init__(self):
        self.nodes = [Node(nth) for nth in range(2 * MASTERS)]
        self.relays = None

    def names(self):
        return [f"127.0.0.1:{node.relay}" for node in self.nodes]

    async def start(self):
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            await node.up()
        pairs = [f"{node.relay}:{node.port}" for node in self.nodes]
        self.relays = subprocess.Popen(
            [sys.executable, "-B", Path(__file__).with_name("relay.py"), *pairs],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.relays.stdout.readline()
        for node in self.nodes:
            if node.nth < MASTERS:
                first, last = (16_384 * at // MASTERS for at in (node.nth, node.nth + 1))
                await ask(node.port, "CLUSTER", "ADDSLOTSRANGE", first, last - 1)
            await ask(node.port, "CLUSTER", "SET-CONFIG-EPOCH", node.nth + 1)
        for node in self.nodes[1:]:
            await ask(self.nodes[0].port, "CLUSTER", "MEET", "127.0.0.1", node.port, node.bus)
        await self.until(lambda info: f"cluster_known_nodes:{len(self.nodes)}\r" in info)
        for node in self.nodes[MASTERS:]:
            master = await ask(self.nodes[node.nth - MASTERS].port, "CLUSTER", "MYID")
            while isinstance(await ask(node.port, "CLUSTER", "REPLICATE", master), RuntimeError):
                await asyncio.sleep(0.1)
        if not await self.well(30):
            sys.exit("the cluster does not come up")

    async def until(self, fits, patience=30):
        """Whether all nodes find so within that time."""
        until = time.monotonic() + patience
        while True:
            try:
                infos = [(await ask(node.port, "CLUSTER", "INFO")).decode() for node in self.nodes]
                if all(fits(info) for info in infos):
                    return True
            except (OSError, TimeoutError, AttributeError, asyncio.IncompleteReadError):
                pass
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.1)

    async def well(self, patience):
        return await self.until(
            lambda info: "cluster_state:ok" in info and "cluster_slots_ok:16384" in info, patience
        )

    def network(self, command):
        self.relays.stdin.write(f"{command}\n".encode())
        self.relays.stdin.flush()

    async def masters(self):
        return [node for node in self.nodes if await node.is_master()]

    def stop(self):
        for node in self.nodes:
            if node.process and node.process.poll() is None:
                node.kill()
            node.dir.cleanup()
        if self.relays:
            self.relays.kill()
            self.relays.wait()
