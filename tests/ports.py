"""Ports for servers that the tests start."""

import contextlib
import secrets
import socket


def free_port() -> int:
    """A port nobody listens on now, and none that the kernel gives to others until the server is up.

    With the port 10,000 above it, which nodes of a cluster take too, it is below those the kernel chooses from.
    """
    while True:
        port = 10_000 + secrets.randbelow(12_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
