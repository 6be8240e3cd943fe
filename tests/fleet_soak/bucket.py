"""A bucket below the fleet: objects by S3's rules as far as the servers need them. It believes every signature."""

import asyncio
import collections
import re

# More than this many are forgotten, as by a rule of the bucket.
OBJECTS_MAX = 20_000
STATUS = {200: "OK", 204: "No Content", 404: "Not Found", 503: "Slow Down"}


class Bucket:
    def __init__(self):
        self.objects = collections.OrderedDict()
        self.count = collections.Counter()
        # Seconds before each answer, and whether there is one.
        self.delay = 0.0
        self.fails = False
        self.server = None

    async def start(self, port):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", port, limit=1 << 20)

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
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return False
        length = re.search(r"(?i)content-length: *(\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        method, path = head.split()[:2]
        await asyncio.sleep(self.delay)
        status, answer = (503, b"") if self.fails else self.act(method, path, body)
        self.count[f"{method} {status}"] += 1
        size = b"" if status == 204 else b"content-length: %d\r\n" % len(answer)
        writer.write(
            b'HTTP/1.1 %d %s\r\netag: "0"\r\nlast-modified: Mon, 30 Nov 2026 00:00:00 GMT\r\n%s\r\n'
            % (status, STATUS[status].encode(), size)
            + answer
        )
        await writer.drain()
        return True

    def act(self, method, path, body):
        if method == "PUT":
            self.objects[path] = body
            self.objects.move_to_end(path)
            if len(self.objects) > OBJECTS_MAX:
                self.objects.popitem(last=False)
            return 200, b""
        if method == "DELETE":
            self.objects.pop(path, None)
            return 204, b""
        found = self.objects.get(path)
        return (404, b"") if found is None else (200, found)

    def spoil(self, dice):
        """A third of all objects become noise, another's, a part, or something that was changed."""
        names = list(self.objects)
        for name in dice.sample(names, len(names) // 3):
            value = self.objects[name]
            at = dice.randrange(len(value) or 1)
            self.objects[name] = dice.choice(
                [
                    dice.randbytes(len(value)),
                    self.objects[dice.choice(names)],
                    value[:at],
                    value[:at] + b"\x07" + value[at + 1 :],
                    value + b"\x07",
                ]
            )
