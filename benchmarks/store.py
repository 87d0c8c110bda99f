"""How fast scripts run through the store's client, beside redis-py's own `execute_command`, on one Valkey.

    python benchmarks/store.py [--rounds 5] [--seconds 1]

Both sides run in this process, turn by turn, against one server on a unix socket; the ratio is the median of rounds.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from service.embedded import find_binary
from service.store import Script, Store

CALLERS = (1, 32, 200)
SET = Script("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])")
VALUE = "x" * 200


async def rate(call: Callable[[int], Awaitable[object]], callers: int, seconds: float) -> float:
    """Calls a second with so many callers at once."""
    end, calls = time.perf_counter() + seconds, 0

    async def caller(number: int) -> None:
        nonlocal calls
        while time.perf_counter() < end:
            await call(number)
            calls += 1

    began = time.perf_counter()
    await asyncio.gather(*(caller(number) for number in range(callers)))
    return calls / (time.perf_counter() - began)


async def measure(url: str, rounds: int, seconds: float) -> None:
    """Print one line for each number of callers."""
    pool = BlockingConnectionPool.from_url(
        url, max_connections=32, decode_responses=True, protocol=2, socket_timeout=None, retry=Retry(NoBackoff(), 1)
    )
    client, store = Redis.from_pool(pool), await Store.open(url)

    async def plain(number: int) -> object:
        return await client.evalsha(SET.sha, 1, f"key:{number}", VALUE)

    async def ours(number: int) -> object:
        return await store.call(SET, (f"key:{number}",), (VALUE,))

    assert await ours(0) == VALUE == await plain(0)
    print(f"{'callers':>7} {'redis-py':>10} {'store':>10} {'ratio':>6}")
    for callers in CALLERS:
        pairs = [(await rate(plain, callers, seconds), await rate(ours, callers, seconds)) for _ in range(rounds)]
        before, after = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(mine / theirs for theirs, mine in pairs)
        print(f"{callers:>7} {before:>8.0f}/s {after:>8.0f}/s {ratio:>6.2f}")
    await store.close()
    await client.aclose()


def main() -> None:
    """Start a server, measure, end it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each side in each round")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vm-") as folder:
        socket = Path(folder) / "socket"
        command = [find_binary(), "--port", "0", "--unixsocket", str(socket), "--dir", folder, "--save", ""]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                while not socket.exists() and server.poll() is None:
                    time.sleep(0.01)
                uvloop.run(measure(f"unix://{socket}", options.rounds, options.seconds))
            finally:
                server.kill()


if __name__ == "__main__":
    main()
