"""(b) The first `record.update_metadata` of a booking, over a provider that takes 150 ms: what the service adds.

In turns with it the provider is asked itself, one call at a time: how long that takes (the 150 ms, and what the machine
needs to wake up for the answer) is what the others add to. The bare handler, which makes its meeting without a ledger,
shows how much of what is added is the machine's.
"""

import argparse
import asyncio
import contextlib
import statistics
import tempfile
from pathlib import Path

from benchmarks.rig import Load, Server, booking, choose, cpu_seconds, events, wrk
from tests.processes import Service
from tests.stores import StoreServer

PROVIDER_MS = 150
BARS = {
    1: "added p50 <= 4 ms",
    50: "added p50 <= 8 ms, p99 <= 45 ms",
    200: "added p50 <= 25 ms, >= 900 creates/s",
}


async def timed(pid: int, url: str, folder: Path, in_flight: int, seconds: int) -> tuple[Load, float]:
    """The load of bookings that were never seen before, and the microseconds of CPU that `pid` spent on each."""
    enough = in_flight * seconds * 8 + 100
    script = events(folder / "new.lua", url, "record.update_metadata", (booking() for _ in range(enough)))
    before = cpu_seconds(pid)
    load = await wrk(url, script, in_flight, seconds)
    assert load.requests <= enough, "some bookings were asked for twice"
    return load, (cpu_seconds(pid) - before) / load.requests * 1e6


def told(name: str, rounds: list[tuple[Load, float]], provider: float) -> str:
    """The medians of all rounds; `provider` is the median of what it takes by itself, in ms."""
    p50, p99, rate = (statistics.median(getattr(load, of) for load, _ in rounds) for of in ("p50", "p99", "rate"))
    cpu = statistics.median(cpu for _, cpu in rounds)
    added = f"{name} adds p50 {p50 - provider:.1f} ms, p99 {p99 - provider:.1f} ms"
    return f"{added}, {rate:.0f}/s, {cpu:.0f} us CPU each"


async def measure(rounds: int, seconds: int) -> None:
    """The servers in turns, at 1, 50 and 200 in flight."""
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(StoreServer())
        vendor = await stack.enter_async_context(Server("benchmarks.vendor", "{port}", str(PROVIDER_MS / 1000)))
        service = await stack.enter_async_context(Service(REDIS_URL=store.url, LOG_LEVEL="info", LOG_FORMAT="json"))
        bare = await stack.enter_async_context(Server("benchmarks.bare", store.url, "{port}", vendor.url))
        await choose(service, vendor.url)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        straight = folder / "straight.lua"
        straight.write_text('wrk.method = "POST"\nwrk.body = "{}"\nwrk.path = "/meetings"\n')
        for in_flight, bar in BARS.items():
            mine: list[tuple[Load, float]] = []
            yard: list[tuple[Load, float]] = []
            alone: list[float] = []
            for _ in range(rounds):
                alone.append((await wrk(vendor.url, straight, 1, seconds)).p50)
                mine.append(await timed(service.pid, service.endpoint, folder, in_flight, seconds))
                yard.append(await timed(bare.pid, f"{bare.url}/webhooks/vello", folder, in_flight, seconds))
            provider = statistics.median(alone)
            ours, theirs = told("service", mine, provider), told("bare", yard, provider)
            print(
                f"{in_flight:3} in flight: {ours} (bar: {bar}); {theirs}; the provider took {provider:.1f} ms",
                flush=True,
            )


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.create", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.rounds, arguments.seconds))


if __name__ == "__main__":
    main()
