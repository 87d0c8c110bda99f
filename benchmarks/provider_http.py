"""What one `Http` adds to calls of a provider that takes 150 ms, beside bare asyncio streams in the same run.

    python benchmarks/provider_http.py [--rounds 3] [--seconds 4]

The provider is a process of its own. Rounds of both clients take turns, so that what else the machine does meets
both. Added time is what a call took longer than the provider's 150 ms.
"""

import argparse
import asyncio
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import cast

import uvloop

from providers.http import Http

DELAY = 0.150
IN_FLIGHT = (1, 50, 200)
BODY = b'{"key": "0123456789abcdef0123456789abcdef", "title": "Booking", "start": 1900000000}'
REPLY = b'{"id": "m-1", "join_url": "https://meet.example.org/m-1"}'
ANSWER = b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(REPLY) + REPLY

Call = Callable[[], Awaitable[object]]


class Provider(asyncio.Protocol):
    """Answers every request after 150 ms."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember whom to answer."""
        self._transport, self._received = cast(asyncio.Transport, transport), b""

    def data_received(self, data: bytes) -> None:
        """Answer once a whole request is there."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
            self._received = b""
            asyncio.get_running_loop().call_later(DELAY, self._transport.write, ANSWER)


def serve(port: Connection) -> None:
    """Be the provider until killed."""

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0, backlog=1024)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


class Streams:
    """The least a client can do: a list of open connections, one write and one read a call."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        head = f"POST /meetings HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: {len(BODY)}\r\n\r\n"
        self._request = head.encode() + BODY

    async def call(self) -> bytes:
        """One request on a connection that is free."""
        streams = self._free.pop() if self._free else await asyncio.open_connection("127.0.0.1", self._port)
        streams[1].write(self._request)
        await streams[0].readuntil(b"\r\n\r\n")
        body = await streams[0].readexactly(len(REPLY))
        self._free.append(streams)
        return body

    def close(self) -> None:
        """Close all connections."""
        for _, writer in self._free:
            writer.close()


async def measure(call: Call, in_flight: int, seconds: float) -> tuple[list[float], float]:
    """Keep `in_flight` calls going; answers the seconds each took and how many were done a second."""
    took: list[float] = []
    clock = time.perf_counter
    await asyncio.gather(*[call() for _ in range(in_flight)])  # connections are open from here on
    began = clock()

    async def caller() -> None:
        while (start := clock()) < began + seconds:
            await call()
            took.append(clock() - start)

    await asyncio.gather(*[caller() for _ in range(in_flight)])
    return took, len(took) / (clock() - began)


async def compare(port: int, rounds: int, seconds: float) -> None:
    """Print what each client adds at each load."""
    streams, http = Streams(port), Http(f"http://127.0.0.1:{port}")
    headers = {"content-type": "application/json"}
    calls: dict[str, Call] = {
        "streams": streams.call,
        "Http.send": lambda: http.send("POST", "/meetings", content=BODY, headers=headers),
    }
    print(f"{'in flight':>9} {'client':>10} {'added p50':>10} {'added p99':>10} {'calls/s':>8} {'of streams':>10}")
    for in_flight in IN_FLIGHT:
        took: dict[str, list[float]] = {name: [] for name in calls}
        rates: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                more, rate = await measure(call, in_flight, seconds)
                took[name] += more
                rates[name].append(rate)
        for name in calls:
            added = statistics.quantiles([(each - DELAY) * 1000 for each in took[name]], n=100)
            rate = statistics.mean(rates[name])
            share = rate / statistics.mean(rates["streams"])
            line = f"{in_flight:>9} {name:>10} {added[49]:>7.1f} ms {added[98]:>7.1f} ms {rate:>8.0f} {share:>10.2f}"
            print(line, flush=True)
    streams.close()
    await http.close()


def main() -> None:
    """Start the provider and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    arguments = parser.parse_args()
    spawning = multiprocessing.get_context("spawn")
    ours, theirs = spawning.Pipe()
    provider = spawning.Process(target=serve, args=(theirs,), daemon=True)
    provider.start()
    uvloop.run(compare(ours.recv(), arguments.rounds, arguments.seconds))
    provider.kill()


if __name__ == "__main__":
    main()
