"""A network between the replicas and their Redis nodes: a process of its own, so that its delays are the
chosen ones. Started with LISTEN:TARGET pairs; each line on standard input is a command:

    latency MILLISECONDS [NTH…]   pieces arrive so much later, each way (all relays, or those)
    cut [NTH…]                    connections end; new ones are served
"""

import asyncio
import sys

PIECES_MAX = 256


class Relay:
    def __init__(self, listen, target):
        self.listen, self.target = listen, target
        self.latency = 0.0
        self.writers = set()

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.listen)

    async def serve(self, reader, writer):
        try:
            onward = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.close()
            return
        ends = {writer, onward[1]}
        self.writers |= ends
        ways = [
            asyncio.ensure_future(self.one_way(reader, onward[1])),
            asyncio.ensure_future(self.one_way(onward[0], writer)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        self.writers -= ends
        for end in ends:
            end.close()

    async def one_way(self, reader, writer):
        queue = asyncio.Queue(PIECES_MAX)
        loop = asyncio.get_running_loop()

        async def read():
            while piece := await reader.read(65_536):
                await queue.put((loop.time(), piece))
            await queue.put((0, None))

        async def write():
            while True:
                came, piece = await queue.get()
                if piece is None:
                    return
                while (left := came + self.latency - loop.time()) > 0:
                    await asyncio.sleep(min(left, 0.02))
                writer.write(piece)
                await writer.drain()

        reading = asyncio.ensure_future(read())
        try:
            await write()
        except OSError:
            pass
        finally:
            reading.cancel()

    def cut(self):
        for writer in list(self.writers):
            writer.close()


async def main():
    pairs = [pair.split(":") for pair in sys.argv[1:]]
    relays = [Relay(int(listen), int(target)) for listen, target in pairs]
    for relay in relays:
        await relay.start()
    print("ready", flush=True)
    commands = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(commands)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await commands.readline():
        name, *words = line.decode().split()
        if name == "latency":
            for relay in chosen(relays, words[1:]):
                relay.latency = float(words[0]) / 1000
        elif name == "cut":
            for relay in chosen(relays, words):
                relay.cut()


def chosen(relays, words):
    return [relays[int(word)] for word in words] or relays


if __name__ == "__main__":
    asyncio.run(main())
