"""What happens to the fleet while it is asked, and that it comes back by itself."""

import asyncio
import collections
import signal
import time

import cluster as redis
from upstream import MODELS

# A fault is over, and all must be well, within this.
RECOVERY = 30


class Faults:
    def __init__(self, cluster, replicas, load, upstream, bucket):
        self.cluster, self.replicas, self.load, self.upstream = cluster, replicas, load, upstream
        self.bucket = bucket
        self.dice = load.dice
        self.count = collections.Counter()
        self.not_recovered = []
        self.recovery_s = []
        self.purges = collections.Counter()
        # Purges that may not have reached everybody: (model or none for all, last call before it).
        self.unsettled = []
        nodes = [
            self.node_hangs,
            self.all_nodes_hang,
            self.node_dies,
            self.all_nodes_die,
            self.far_away,
            self.near_the_deadline,
            self.cut,
            self.garbage,
            self.flushed,
        ]
        replicas = [self.replica_dies, self.replica_hangs, self.replica_restarts]
        bucket = [self.bucket_fails, self.bucket_hangs, self.bucket_spoilt]
        self.kinds = nodes * 2 + replicas * 4 + bucket * 2

    async def run(self, until):
        order = []
        while time.monotonic() < until:
            if not order:
                order = self.kinds[:]
                self.dice.shuffle(order)
            fault = order.pop()
            name = fault.__name__.replace("_", " ")
            self.count[name] += 1
            on_nodes = not name.startswith(("replica", "bucket"))
            if on_nodes:
                self.load.node_faults.append([time.monotonic(), float("inf")])
            purging = asyncio.ensure_future(self.purge_soon())
            await fault()
            await purging
            await self.recovers(name)
            if on_nodes:
                self.load.node_faults[-1][1] = time.monotonic()
            await self.settle()
            await self.load.crowd(self.load.quiet_crowds)
            await asyncio.sleep(self.dice.uniform(0.5, 2))

    async def recovers(self, name):
        began = time.monotonic()
        if not await self.cluster.well(RECOVERY):
            self.not_recovered.append(f"{name}: the cluster")
        wrongs = await self.all_well(began + RECOVERY)
        if wrongs:
            self.not_recovered.append(f"{name}: {wrongs}")
        self.recovery_s.append((name, round(time.monotonic() - began, 1)))

    async def all_well(self, until):
        """What is still wrong then; all must be well twice, a little apart."""
        good = 0
        while True:
            wrongs = [wrong for replica in self.replicas if (wrong := await replica.well())]
            good = 0 if wrongs else good + 1
            if good == 2:
                return None
            if time.monotonic() > until:
                return wrongs
            await asyncio.sleep(0.3)

    # Purges

    async def purge_soon(self):
        await asyncio.sleep(self.dice.uniform(0, 1))
        # Replica 0 never ends, so that what it knows is told sooner or later.
        everything = self.dice.random() < 0.2
        model = None if everything else f"model-{self.dice.randrange(MODELS)}"
        what = {"all": True} if everything else {"model": model}
        last = len(self.upstream.calls)
        status, answer = await self.replicas[0].get("/cache/purge", what)
        if status != 200:
            self.load.failures.append(f"a purge: {status} {answer[:200]!r}")
        self.purges["all" if everything else "model"] += 1
        self.unsettled.append((model, last))

    async def settle(self):
        """All is well: a second later nobody may serve what was purged."""
        unsettled, self.unsettled = self.unsettled, []
        await asyncio.sleep(1)
        now = time.monotonic()
        for model, last in unsettled:
            floors = self.load.floor_all if model is None else self.load.floor_model[model]
            floors.append((now, last))
            # The newest says it all for whoever asks from then on.
            del floors[:-8]

    # Faults of nodes

    async def some_time(self, least=1.0, most=5.0):
        await asyncio.sleep(self.dice.uniform(least, most))

    async def node_hangs(self):
        node = self.dice.choice(self.cluster.nodes)
        node.freeze()
        await self.some_time()
        node.thaw()

    async def all_nodes_hang(self):
        for node in self.cluster.nodes:
            node.freeze()
        await self.some_time()
        for node in self.cluster.nodes:
            node.thaw()

    async def node_dies(self):
        masters = await self.cluster.masters()
        node = self.dice.choice(masters or self.cluster.nodes)
        node.kill()
        await self.some_time(2.0, 6.0)
        node.start()
        await node.up()

    async def all_nodes_die(self):
        for node in self.cluster.nodes:
            node.kill()
        await self.some_time(0.5, 3.0)
        for node in self.cluster.nodes:
            node.start()
        for node in self.cluster.nodes:
            await node.up()

    async def far_away(self):
        self.cluster.network("latency 500")
        await self.some_time()
        self.cluster.network("latency 0")

    async def near_the_deadline(self):
        nth = self.dice.randrange(len(self.cluster.nodes))
        for _ in range(8):
            self.cluster.network(f"latency {self.dice.randrange(5, 25)} {nth}")
            await asyncio.sleep(0.5)
        self.cluster.network("latency 0")

    async def cut(self):
        for _ in range(self.dice.randrange(1, 5)):
            self.cluster.network("cut")
            await self.some_time(0.1, 0.7)

    async def garbage(self):
        """A third of all keys get other content: noise, another's, another type, a part of it."""
        for node in await self.cluster.masters():
            keys = await redis.ask(node.port, "KEYS", "soak:*", patience=10)
            keys = [key for key in keys if b"{purges}" not in key]
            for key in self.dice.sample(keys, len(keys) // 3):
                value = await redis.ask(node.port, "GET", key, patience=10)
                if not isinstance(value, bytes):
                    continue
                spoilt = self.dice.randrange(5)
                if spoilt == 0:
                    await redis.ask(node.port, "SET", key, self.dice.randbytes(len(value)))
                elif spoilt == 1:
                    other = await redis.ask(node.port, "GET", self.dice.choice(keys), patience=10)
                    await redis.ask(node.port, "SET", key, other if isinstance(other, bytes) else b"")
                elif spoilt == 2:
                    await redis.ask(node.port, "DEL", key)
                    await redis.ask(node.port, "RPUSH", key, "not", "ours")
                elif spoilt == 3:
                    await redis.ask(node.port, "SET", key, value[: len(value) // 2])
                else:
                    at = self.dice.randrange(len(value) or 1)
                    await redis.ask(node.port, "SETRANGE", key, at, b"\x07")

    async def flushed(self):
        for node in await self.cluster.masters():
            await redis.ask(node.port, "FLUSHALL", patience=10)

    # Faults of the bucket

    async def bucket_fails(self):
        self.bucket.fails = True
        await self.some_time()
        self.bucket.fails = False

    async def bucket_hangs(self):
        self.bucket.delay = self.dice.choice([0.1, 0.3, 15.0])
        await self.some_time()
        self.bucket.delay = 0.0

    async def bucket_spoilt(self):
        self.bucket.spoil(self.dice)

    # Faults of replicas

    async def replica_dies(self):
        replica = self.dice.choice(self.replicas[1:])
        replica.fails()
        replica.process.kill()
        await replica.ended()
        await self.some_time(0.0, 4.0)
        await replica.start()

    async def replica_hangs(self):
        replica = self.dice.choice(self.replicas[1:])
        replica.fails()
        replica.send(signal.SIGSTOP)
        await self.some_time()
        replica.send(signal.SIGCONT)
        replica.works()

    async def replica_restarts(self):
        replica = self.dice.choice(self.replicas[1:])
        replica.fails()
        replica.send(signal.SIGTERM)
        await replica.ended()
        await self.some_time(0.0, 2.0)
        await replica.start()
