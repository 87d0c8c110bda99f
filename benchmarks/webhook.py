"""(a) A repeated `record.update_metadata` whose link is known, as a ratio to the bare handler's requests per second."""

import argparse
import asyncio
import contextlib
import statistics
import tempfile
from pathlib import Path

from benchmarks.rig import Load, Server, booking, calls_of, choose, cpu_seconds, events, wrk
from tests.processes import Service
from tests.stores import StoreServer

RECORDS = 200
BARS = {32: 1.0, 1: 0.75}


async def timed(pid: int, url: str, script: Path, connections: int, seconds: int) -> tuple[Load, float]:
    """The load, and the microseconds of CPU that process `pid` spent on each request."""
    before = cpu_seconds(pid)
    load = await wrk(url, script, connections, seconds)
    return load, (cpu_seconds(pid) - before) / load.requests * 1e6


async def measure(rounds: int, seconds: int, link: str) -> None:
    """Both servers in turns, at 32 connections and at 1."""
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(StoreServer())
        vendor = await stack.enter_async_context(Server("benchmarks.vendor", "{port}", "0"))
        service = await stack.enter_async_context(Service(REDIS_URL=store.url, LOG_LEVEL="info", LOG_FORMAT="json"))
        bare = await stack.enter_async_context(Server("benchmarks.bare", store.url, "{port}"))
        await choose(service, vendor.url, link)
        records = [booking() for _ in range(RECORDS)]
        for data in records:
            for _ in range(3):
                await service.say("record.update_metadata", data)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        its_endpoint = f"{bare.url}/webhooks/vello"
        ours = events(folder / "ours.lua", service.endpoint, "record.update_metadata", records)
        theirs = events(folder / "bare.lua", its_endpoint, "record.update_metadata", records)
        before = await calls_of(store.url)
        assert "video_link" in (await service.say("record.update_metadata", records[0])).json()["metadata"]
        print(f"store round trips of one repeated event: {await calls_of(store.url) - before}")
        for connections, bar in BARS.items():
            ratios = []
            for _ in range(rounds):
                mine, my_cpu = await timed(service.pid, service.endpoint, ours, connections, seconds)
                yard, its_cpu = await timed(bare.pid, its_endpoint, theirs, connections, seconds)
                ratios.append(mine.rate / yard.rate)
                print(
                    f"{connections:3} connections: service {mine.rate:6.0f}/s ({my_cpu:3.0f} us CPU each), "
                    f"bare {yard.rate:6.0f}/s ({its_cpu:3.0f} us), ratio {ratios[-1]:.2f}"
                )
            print(f"{connections:3} connections: median ratio {statistics.median(ratios):.2f} (bar {bar})")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.webhook", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--link", choices=("direct", "hosted"), default="direct")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.rounds, arguments.seconds, arguments.link))


if __name__ == "__main__":
    main()
