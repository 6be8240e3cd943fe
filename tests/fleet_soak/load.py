"""Clients that ask all the time and check every answer."""

import asyncio
import collections
import random
import time

from upstream import TENANTS, Question, call_of

# Much of what is asked was asked before, a little of it very often.
KNOWN = 3_000
PATIENCE = 60


class Broken(Exception):
    """The connection ended before the answer did; has the head been there?"""

    def __init__(self, head, body):
        super().__init__(f"broken after {len(body)} bytes")
        self.head, self.body = head, body


async def post(port, question):
    """Status, outcome and body of an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4 << 20)
    head, body = None, bytearray()
    try:
        payload = question.body()
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: soak\r\nconnection: close\r\n"
            b"content-type: application/json\r\nauthorization: Bearer sk-%d\r\ncontent-length: %d\r\n\r\n"
            % (question.tenant, len(payload))
            + payload
        )
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        head = (int(lines[0].split()[1]), fields.get("x-llm-cache", "none"))
        if fields.get("transfer-encoding") == "chunked":
            while size := int((await reader.readuntil(b"\r\n"))[:-2], 16):
                body += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
        else:
            body += await reader.readexactly(int(fields["content-length"]))
        return (*head, bytes(body))
    except (OSError, asyncio.IncompleteReadError) as error:
        body += getattr(error, "partial", b"")
        raise Broken(head, bytes(body)) from error
    finally:
        writer.close()


class Load:
    def __init__(self, replicas, upstream, seed):
        self.replicas, self.upstream = replicas, upstream
        self.dice = random.Random(seed)
        self.count = collections.Counter()
        self.outcomes = collections.Counter()
        self.wrong = []
        self.failures = []
        self.hit_ms = []
        # Calls that each crowd cost: whatever happened, and while all was well.
        self.crowds = []
        self.quiet_crowds = []
        # Calls up to these numbers must not be served to whoever asks from then on: (from, call).
        self.floor_all = []
        self.floor_model = collections.defaultdict(list)
        # Set while something is done to the nodes: when it began; none otherwise.
        self.node_faults = []
        self.next_new = 1_000_000
        self.stopped = False

    def new(self):
        self.next_new += 1
        return Question(self.next_new, self.dice.randrange(TENANTS))

    def any(self):
        if self.dice.random() < 0.15:
            return self.new()
        return Question(int(KNOWN * self.dice.random() ** 3), self.dice.randrange(TENANTS))

    def forbidden(self, question, began):
        floors = self.floor_all + self.floor_model[question.model]
        return max((call for since, call in floors if since <= began), default=0)

    def node_fault_within(self, since, until):
        return any(begin <= until and end >= since for begin, end in self.node_faults)

    async def ask(self, replica, question):
        """Asks, checks, counts. Nothing that was excusable is a failure, everything else is."""
        began = time.monotonic()
        self.count["requests"] += 1
        try:
            status, outcome, body = await asyncio.wait_for(post(replica.port, question), PATIENCE)
        except (Broken, OSError, TimeoutError) as error:
            self.failed(replica, question, began, error)
            return
        if outcome == "hit":
            self.hit_ms.append((time.monotonic() - began) * 1000)
        self.outcomes[outcome] += 1
        call = call_of(body)
        expected = 429 if question.refused else 200
        if status != expected:
            self.failed(replica, question, began, RuntimeError(f"{status} {body[:200]!r}"))
        elif call is None or not 0 < call <= len(self.upstream.calls):
            self.is_wrong(replica, question, f"of no call: {body[:200]!r}")
        elif self.upstream.calls[call - 1] != question.name:
            self.is_wrong(replica, question, f"of {self.upstream.calls[call - 1]}")
        elif body != question.truth(call):
            self.is_wrong(replica, question, f"{outcome}, not what call {call} said: {body[:200]!r}")
        elif not question.refused and call <= self.forbidden(question, began):
            self.count["stale"] += 1
            purged = self.forbidden(question, began)
            self.is_wrong(replica, question, f"{outcome} of call {call}, but up to {purged} all is purged")

    def is_wrong(self, replica, question, why):
        self.wrong.append(f"replica {replica.nth}, {question.name}: {why}")

    def failed(self, replica, question, began, error):
        now = time.monotonic()
        streamed = isinstance(error, Broken) and error.head is not None
        own = replica.failed_within(began, now)
        # An answer that began elsewhere breaks with the leader, or with the way to it.
        leaders = any(other.failed_within(began - 5, now) for other in self.replicas)
        if streamed and not self.is_beginning(question, error.body):
            self.is_wrong(replica, question, f"broken, and not as any call began: {error.body[:200]!r}")
        if own:
            self.count["lost with their replica"] += 1
        elif streamed and leaders:
            self.count["broken with a leader elsewhere"] += 1
        elif streamed and self.node_fault_within(began - 5, now):
            self.count["broken with the nodes"] += 1
        else:
            self.count["failed"] += 1
            took = now - began
            self.failures.append(
                f"replica {replica.nth}, {question.name} after {took:.1f} s: {error!r}; "
                f"nodes in trouble: {self.node_fault_within(began - 5, now)}"
            )

    def is_beginning(self, question, body):
        call = call_of(body)
        if call is None:
            return len(body) < 200
        known = call <= len(self.upstream.calls) and self.upstream.calls[call - 1] == question.name
        return known and question.truth(call).startswith(body)

    def someone(self):
        up = [replica for replica in self.replicas if replica.up]
        return self.dice.choice(up) if up else None

    async def worker(self):
        while not self.stopped:
            replica = self.someone()
            if replica is None:
                await asyncio.sleep(0.05)
                continue
            await self.ask(replica, self.any())

    async def crowds_come(self):
        """Crowds all the time, also while something is wrong."""
        while not self.stopped:
            await asyncio.sleep(self.dice.uniform(0.5, 1.5))
            await self.crowd(self.crowds)

    async def crowd(self, costs):
        """A new question at all replicas at once; what it costs in calls is added to these."""
        up = [replica for replica in self.replicas if replica.up]
        question = self.new()
        if question.refused or not up:
            return
        await asyncio.gather(*(self.ask(replica, question) for replica in up for _ in range(4)))
        costs.append(sum(name == question.name for name in self.upstream.calls[-3_000:]))
