"""(b) The first `record.update_metadata` of a booking, over a provider that takes 150 ms: what the service adds."""

import argparse
import asyncio
import contextlib
import tempfile
from pathlib import Path

from benchmarks.rig import Server, booking, choose, cpu_seconds, events, wrk
from tests.processes import Service
from tests.stores import StoreServer

PROVIDER_MS = 150
BARS = {
    1: "added p50 <= 4 ms",
    50: "added p50 <= 8 ms, p99 <= 45 ms",
    200: "added p50 <= 25 ms, >= 900 creates/s",
}


async def measure(seconds: int) -> None:
    """Bookings that were never seen before, at 1, 50 and 200 in flight."""
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(StoreServer())
        vendor = await stack.enter_async_context(Server("benchmarks.vendor", "{port}", str(PROVIDER_MS / 1000)))
        service = await stack.enter_async_context(Service(REDIS_URL=store.url, LOG_LEVEL="info", LOG_FORMAT="json"))
        await choose(service, vendor.url)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for in_flight, bar in BARS.items():
            enough = in_flight * seconds * 8 + 100
            script = events(
                folder / f"{in_flight}.lua",
                service.endpoint,
                "record.update_metadata",
                (booking() for _ in range(enough)),
            )
            before = cpu_seconds(service.pid)
            load = await wrk(service.endpoint, script, in_flight, seconds)
            cpu = (cpu_seconds(service.pid) - before) / load.requests * 1e6
            print(
                f"{in_flight:3} in flight: added p50 {load.p50 - PROVIDER_MS:.1f} ms, "
                f"p99 {load.p99 - PROVIDER_MS:.1f} ms, "
                f"{load.rate:.0f} creates/s, {cpu:.0f} us CPU each ({bar})"
            )
            assert load.requests <= enough, "some bookings were asked for twice"


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.create", description=__doc__)
    parser.add_argument("--seconds", type=int, default=8)
    asyncio.run(measure(parser.parse_args().seconds))


if __name__ == "__main__":
    main()
