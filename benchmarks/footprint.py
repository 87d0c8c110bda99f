"""(d) Start to first right answer, memory of an idle process, and bytes a booking takes in the store."""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time

from redis.asyncio import Redis

from benchmarks.rig import Server, booking, choose, rss_megabytes, send_each
from tests.processes import Service
from tests.stores import StoreServer


async def start_and_idle(python: str, rounds: int) -> None:
    """With the embedded store: seconds from the process's start to a link, and its memory afterwards."""
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            async with Service(python=python, DATA_DIR=folder, JITSI_URL="https://meet.example.org") as service:
                answer = await service.say("record.update_metadata", booking())
                took = time.monotonic() - began
                assert answer.json()["metadata"]["video_link"]
                await asyncio.sleep(2)  # until it is idle
                print(f"first right answer after {took:.2f} s, idle RSS {rss_megabytes(service.pid):.1f} MB")
                assert await service.stop() == 0


async def bytes_of_a_booking(bookings: int) -> None:
    """All keys of bookings that have their meetings, and what the store as a whole grew by."""
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(StoreServer())
        vendor = await stack.enter_async_context(Server("benchmarks.vendor", "{port}", "0"))
        service = await stack.enter_async_context(Service(REDIS_URL=store.url, LOG_LEVEL="warning"))
        await choose(service, vendor.url)
        client = await stack.enter_async_context(Redis.from_url(store.url, decode_responses=True))
        before = (await client.info("memory"))["used_memory_dataset"]
        await send_each(
            service.port, service.endpoint, "record.update_metadata", [booking() for _ in range(bookings)], 32
        )
        after = (await client.info("memory"))["used_memory_dataset"]
        keys = [key async for key in client.scan_iter("vm:{*}:[rjm]:*", count=1000)]
        sizes = [await client.memory_usage(key, samples=0) or 0 for key in keys]
        print(
            f"{bookings} bookings: {sum(sizes) / bookings:.0f} bytes each in entry, journal and token, "
            f"{(after - before) / bookings:.0f} bytes of the store in all"
        )


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.footprint", description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="serves; without the extra `test` it is the image's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bookings", type=int, default=5_000)
    arguments = parser.parse_args()
    asyncio.run(start_and_idle(arguments.python, arguments.rounds))
    asyncio.run(bytes_of_a_booking(arguments.bookings))


if __name__ == "__main__":
    main()
