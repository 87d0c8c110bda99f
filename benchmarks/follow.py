"""(c) Every booking moves at once: how many `record.updated` one process applies a second, over an instant provider."""

import argparse
import asyncio
import contextlib
import time

from redis.asyncio import Redis

from benchmarks.rig import Server, booking, choose, cpu_seconds, send_each
from service.shards import SHARDS
from tests.events import START
from tests.processes import Service
from tests.stores import StoreServer
from tests.waiting import wait_until


async def measure(size: int) -> None:
    """That many bookings with meetings, then one move of each, until all are applied."""
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(StoreServer())
        vendor = await stack.enter_async_context(Server("benchmarks.vendor", "{port}", "0"))
        service = await stack.enter_async_context(
            Service(REDIS_URL=store.url, LOG_LEVEL="info", LOG_FORMAT="json", ANSWER_DEADLINE="30")
        )
        client = await stack.enter_async_context(Redis.from_url(store.url, decode_responses=True))
        await choose(service, vendor.url)
        records = [booking() for _ in range(size)]
        await send_each(service.port, service.endpoint, "record.update_metadata", records, 32)
        began, used = time.monotonic(), cpu_seconds(service.pid)
        moved = [{**data, "version": 2, "time": START + 3600} for data in records]
        await send_each(service.port, service.endpoint, "record.updated", moved, 32)

        async def applied() -> bool:
            async with client.pipeline(transaction=False) as pipe:
                for shard in range(SHARDS):
                    pipe.zcard(f"vm:{{s{shard}}}:due")
                return not any(await pipe.execute())

        await wait_until(applied, 60 + size / 100)
        took, cpu = time.monotonic() - began, cpu_seconds(service.pid) - used
        print(f"{size:6} moved: {took:6.1f} s, {size / took:.0f} applied/s, {cpu / size * 1e6:.0f} us CPU each")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.follow", description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*", default=[1_000, 10_000])
    for size in parser.parse_args().sizes:
        asyncio.run(measure(size))


if __name__ == "__main__":
    main()
