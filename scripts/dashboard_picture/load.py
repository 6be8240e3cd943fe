"""The clients of the load run: steady traffic over popular and rare questions, bursts, and bad hours upstream."""

import asyncio
import json
import random

# Beyond these, further requests wait their turn: the run is to look like traffic, not like an overload.
CONNECTIONS_MAX = 300
CLIENT_PATIENCE_S = 20


class Load:
    """Clients that ask the servers at `ports`."""

    def __init__(self, ports, seed):
        self.random = random.Random(seed)
        self.ports = ports
        self.turns = asyncio.Semaphore(CONNECTIONS_MAX)
        self.tasks = set()
        self.asked = 0
        # Share of the requests that go to a model server at which nobody listens.
        self.astray = 0.0

    def question(self):
        """A path and a body. Popular questions come often, by a power law."""
        number = int(self.random.paretovariate(0.3)) % 4000
        kind = number % 10
        prompt = f"question {number}: " + "why is the sky blue? " * (number % 37)
        messages = [{"role": "user", "content": prompt}]
        if kind < 2:
            return "/anthropic/v1/messages", {"model": "claude-sonnet-4", "max_tokens": 4096, "messages": messages}
        if kind == 2:
            return "/openai/v1/embeddings", {"model": "text-embedding-3-small", "input": prompt}
        model = "gpt-4o" if kind < 5 else "gpt-4o-mini"
        body = {"model": model, "messages": messages}
        if kind % 2:
            body.update(stream=True, stream_options={"include_usage": True})
        return "/openai/v1/chat/completions", body

    def ask(self, path, body, headers="", port=None):
        self.asked += 1
        port = port or self.random.choice(self.ports)
        task = asyncio.ensure_future(self.exchange(port, path, json.dumps(body).encode(), headers))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def exchange(self, port, path, body, headers):
        async with self.turns:
            try:
                async with asyncio.timeout(CLIENT_PATIENCE_S):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    head = f"POST {path} HTTP/1.1\r\nhost: cache\r\nconnection: close\r\nauthorization: Bearer team\r\n{headers}"
                    writer.write(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
                    while await reader.read(65536):
                        pass
                    writer.close()
            except (OSError, TimeoutError):
                pass  # The server restarts, or the provider hangs; that is part of the run.

    def usual(self):
        path, body = self.question()
        dice = self.random.random()
        if dice < 0.02:
            self.ask(path, body, "cache-control: no-cache\r\n")
        elif dice < 0.05:
            self.ask(path, body, "cache-control: no-store\r\n")
        elif dice < 0.05 + self.astray:
            self.ask("/local/v1/chat/completions", {"model": "llama-3", "messages": [{"role": "user", "content": f"{dice}"}]})
        else:
            self.ask(path, body)

    def crowd(self, count):
        """Many clients ask the same thing at the same moment."""
        messages = [{"role": "user", "content": f"crowd {self.random.random()}"}]
        body = {"model": "gpt-4o", "stream": True, "stream_options": {"include_usage": True}, "messages": messages}
        port = self.random.choice(self.ports)
        for _ in range(count):
            self.ask("/openai/v1/chat/completions", body, port=port)

    async def run(self, seconds, rate, on_progress):
        """`on_progress` is told each second how much of the run is over, 0 to 1."""
        clock = asyncio.get_running_loop()
        began = clock.time()
        for second in range(seconds):
            await on_progress(second / seconds)
            waves = 1 + 0.4 * (second % 90 < 30) + 1.5 * (second % 60 < 4)
            for step in range(10):
                for _ in range(round(rate * waves / 10 + self.random.uniform(-0.5, 0.5))):
                    self.usual()
                late = began + second + (step + 1) / 10 - clock.time()
                await asyncio.sleep(max(0, late))
            if second % 7 == 0:
                self.crowd(self.random.randint(10, 40))
        await asyncio.gather(*self.tasks)
