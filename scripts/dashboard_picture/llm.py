"""A stand-in for the providers, with their latency and their bad hours. Standard library only."""

import asyncio
import json
import random

WORDS = "the cache keeps what was said once and says it again to whoever asks for the same thing later".split()
REASONS = {429: "Too Many Requests", 500: "Internal Server Error"}


class Llm:
    """Answers OpenAI chat and embeddings and Anthropic messages. `trouble` maps a kind of trouble to how likely it is."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.trouble = {}
        self.server = None

    async def start(self, port=0):
        self.server = await asyncio.start_server(self.connection, "127.0.0.1", port, limit=1 << 20)
        return self.server.sockets[0].getsockname()[1]

    async def connection(self, reader, writer):
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                path = head.split(" ", 2)[1]
                length = int(head.split("content-length:")[1].split("\r\n")[0])
                await self.answer(writer, path, json.loads(await reader.readexactly(length)))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # The server left, or the run is over.
        finally:
            writer.close()

    async def answer(self, writer, path, request):
        trouble = next((kind for kind, share in self.trouble.items() if self.random.random() < share), None)
        if trouble == "hang":
            await asyncio.sleep(30)
        await asyncio.sleep(self.random.lognormvariate(-1.2, 0.5))
        if trouble in (429, 500):
            return write_json(writer, {"error": {"message": REASONS[trouble], "type": "mock"}}, trouble)
        text = " ".join(self.random.choices(WORDS, k=self.random.randint(100, 4000)))
        cut = trouble == "cut"
        if path.endswith("/embeddings"):
            vector = [self.random.uniform(-1, 1) for _ in range(256)]
            write_json(writer, embedding(request, vector))
        elif path.endswith("/messages"):
            write_json(writer, message(request, text))
        elif request.get("stream"):
            await write_events(writer, chat_events(request, text), cut)
        else:
            write_json(writer, chat(request, text, "length" if cut else "stop"))


def usage(request, text):
    """Four letters are a token, more or less."""
    return len(json.dumps(request)) // 4, len(text) // 4


def chat(request, text, finish_reason):
    spent, made = usage(request, text)
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": request["model"],
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": spent, "completion_tokens": made, "total_tokens": spent + made},
    }


def chat_events(request, text):
    spent, made = usage(request, text)
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": request["model"]}
    for start in range(0, len(text), 400):
        delta = {"role": "assistant", "content": text[start : start + 400]}
        yield {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    yield {**base, "choices": [], "usage": {"prompt_tokens": spent, "completion_tokens": made, "total_tokens": spent + made}}


def message(request, text):
    spent, made = usage(request, text)
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": request["model"],
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": spent, "output_tokens": made},
    }


def embedding(request, vector):
    spent, _ = usage(request, "")
    return {
        "object": "list",
        "model": request["model"],
        "data": [{"object": "embedding", "index": 0, "embedding": vector}],
        "usage": {"prompt_tokens": spent, "total_tokens": spent},
    }


def write_json(writer, value, status=200):
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 {status} {REASONS.get(status, 'OK')}\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)


async def write_events(writer, events, cut):
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for count, event in enumerate(events):
        piece = b"data: " + json.dumps(event).encode() + b"\n\n"
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        await writer.drain()
        await asyncio.sleep(0.03)
        if cut and count == 1:
            raise ConnectionAbortedError
    piece = b"data: [DONE]\n\n"
    writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(piece), piece))
