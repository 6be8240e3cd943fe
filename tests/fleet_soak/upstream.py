"""Questions whose true answers follow from the question, who asks and the number of the upstream call; and
the upstream that gives them."""

import asyncio
import functools
import hashlib
import json
import re

MODELS = 8
TENANTS = 2
FRAMES = 12
_NUMBER = re.compile(r"question (\d+)")
_CALL = re.compile(rb"call-(\d+)\b")


class Question:
    """One question of one tenant."""

    def __init__(self, number, tenant):
        self.number, self.tenant = number, tenant
        self.digest = hashlib.sha256(f"{number} {tenant}".encode()).hexdigest()
        dice = int(self.digest[:8], 16)
        self.streams = dice % 3 == 0
        self.refused = dice % 101 == 7
        # Some streams take their time, so that faults meet them under way.
        self.gap = (0.02, 0.08)[dice // 15 % 2] if self.streams and dice % 5 == 0 else 0
        share, spread = dice // 3 % 1000, dice // 3000
        if share < 700:
            self.size = 200 + spread % 2_000
        elif share < 950:
            self.size = 4_000 + spread % 25_000
        elif share < 995:
            self.size = 80_000 + spread % 250_000
        else:
            self.size = 1_000_000 + spread % 500_000
        self.model = f"model-{number % MODELS}"

    @property
    def name(self):
        return (self.number, self.tenant)

    def body(self):
        said = [{"role": "user", "content": f"question {self.number}"}]
        body = {"model": self.model, "messages": said, "stream": self.streams}
        return json.dumps(body).encode()

    def noise(self):
        return hashlib.shake_128(self.digest.encode()).hexdigest(self.size // 2)

    def pieces(self, call):
        """The answer of this call of the upstream, as it is sent."""
        if self.refused:
            error = {"message": f"call-{call} is refused", "type": "rate_limit", "param": None, "code": None}
            return [json.dumps({"error": error}).encode()]
        noise, usage = self.noise(), {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        base = {"id": f"chatcmpl-{self.digest[:16]}-call-{call}", "created": 1_760_000_000, "model": self.model}
        if not self.streams:
            message = {"role": "assistant", "content": f"{self.digest} {noise}"}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            answer = base | {"object": "chat.completion", "choices": [choice], "usage": usage}
            return [json.dumps(answer).encode()]

        def chunk(delta, finish=None):
            choice = {"index": 0, "delta": delta, "finish_reason": finish}
            chunk = base | {"object": "chat.completion.chunk", "choices": [choice]}
            return f"data: {json.dumps(chunk)}\n\n".encode()

        step = max(1, -(-len(noise) // FRAMES))
        pieces = [chunk({"role": "assistant", "content": self.digest})]
        pieces += [chunk({"content": noise[at : at + step]}) for at in range(0, len(noise), step)]
        return [*pieces, chunk({}, "stop"), b"data: [DONE]\n\n"]

    def truth(self, call):
        return _truth(self.number, self.tenant, call)


@functools.lru_cache(maxsize=64)
def _truth(number, tenant, call):
    return b"".join(Question(number, tenant).pieces(call))


def call_of(body):
    """The number of the call that an answer says it is of."""
    found = _CALL.search(body)
    return int(found[1]) if found else None


class Upstream:
    """The provider. It knows which call was for what."""

    def __init__(self):
        self.calls = []
        self.server = None

    async def start(self, port):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", port)

    async def serve(self, reader, writer):
        try:
            while await self.answer(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def answer(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        except asyncio.IncompleteReadError:
            return False
        body = await reader.readexactly(int(re.search(r"content-length: *(\d+)", head)[1]))
        number = int(_NUMBER.search(body.decode())[1])
        tenant = int(re.search(r"authorization: bearer sk-(\d+)", head)[1])
        question = Question(number, tenant)
        self.calls.append(question.name)
        pieces = question.pieces(len(self.calls))
        kind = "text/event-stream" if question.streams and not question.refused else "application/json"
        status = "429 Too Many Requests" if question.refused else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        for piece in pieces:
            if question.gap:
                await asyncio.sleep(question.gap)
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True
