"""Ports of loopback that nobody has."""

import random
import socket

# Below what the system gives to outgoing connections.
FIRST, LAST = 20_000, 31_000
_given = set()


def free():
    while True:
        port = random.randint(FIRST, LAST)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
