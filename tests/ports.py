"""Ports for servers that the tests start, and what their clients need."""

import contextlib
import itertools
import os
import secrets
import socket
import ssl
from typing import Final

_SHARE: Final = 1500  # ports of each process that runs tests at the same time
_TURNS: Final = itertools.count(secrets.randbelow(_SHARE))

NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of loopback servers: a context of their own would take longer to make than their calls."""


def free_port() -> int:
    """A port nobody listens on now, and nobody else is given until its server is up: neither by us nor by the kernel.

    With the port 10,000 above it, which nodes of a cluster take too, it is below those the kernel chooses from.
    """
    first = 10_000 + _SHARE * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8)
    while True:
        port = first + next(_TURNS) % _SHARE
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
