"""(a) A repeated `record.update_metadata` whose link is known, as a ratio to the bare handler's requests per second."""

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

from benchmarks.rig import commands_of, cpu_seconds, wrk
from service.vello import sign
from tests.events import body, record
from tests.processes import TOKEN, Service, free_port
from tests.servers import MemoryServer
from tests.stores import StoreServer
from tests.waiting import wait_until

RECORDS = 200


class BareServer:
    """The yardstick as a process."""

    def __init__(self, store_url: str) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}/webhooks/vello"
        command = [sys.executable, "-m", "benchmarks.bare", store_url, str(self.port)]
        self._process = subprocess.Popen(command)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    async def ready(self) -> bool:
        """Whether it takes connections."""
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.close()
            return True
        return False

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def script(path: Path, endpoint: str, bodies: list[bytes]) -> Path:
    """A wrk script that posts the bodies in turn, each signed for `endpoint`."""
    rows = [f"{{{json.dumps(raw.decode())}, {json.dumps(sign(TOKEN, endpoint, raw))}}}" for raw in bodies]
    path.write_text(
        f"local events, at = {{{','.join(rows)}}}, 0\n"
        "function request()\n"
        "  at = at % #events + 1\n"
        '  return wrk.format("POST", nil, {["Content-Type"] = "application/json", '
        '["Vello-Signature"] = events[at][2]}, events[at][1])\n'
        "end\n"
    )
    return path


async def timed(pid: int, url: str, events: Path, connections: int, seconds: int) -> tuple[float, float]:
    """Requests a second, and the microseconds of CPU that process `pid` spent on each."""
    before = cpu_seconds(pid)
    rate = await wrk(url, events, connections, seconds)
    return rate, (cpu_seconds(pid) - before) / (rate * seconds) * 1e6


async def measure(rounds: int, seconds: int) -> None:
    """Both servers in turns, at 1 and at 32 connections."""
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(StoreServer())
        vendor = await stack.enter_async_context(MemoryServer())
        service = await stack.enter_async_context(Service(REDIS_URL=store.url, LOG_LEVEL="info", LOG_FORMAT="json"))
        await service.connect(vendor.url)
        bare = BareServer(store.url)
        stack.callback(bare.stop)
        await wait_until(bare.ready, 10)
        records = [record() for _ in range(RECORDS)]
        for data in records:
            assert "video_link" in (await service.say("record.update_metadata", data)).json()["metadata"]
        bodies = [body("record.update_metadata", data) for data in records]
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ours = script(folder / "ours.lua", service.endpoint, bodies)
        theirs = script(folder / "bare.lua", bare.endpoint, bodies)
        async with httpx.AsyncClient(trust_env=False) as client:
            first = bodies[0]
            headers = {"Vello-Signature": sign(TOKEN, bare.endpoint, first)}
            assert (await client.post(bare.endpoint, content=first, headers=headers)).status_code == 200
        before = await commands_of(store.url)
        await service.say("record.update_metadata", records[0])
        print(f"store round trips of one repeated event: {await commands_of(store.url) - before}")
        for connections, bar in ((32, 1.0), (1, 0.75)):
            ratios: list[float] = []
            for _ in range(rounds):
                mine, my_cpu = await timed(service.pid, service.endpoint, ours, connections, seconds)
                yard, its_cpu = await timed(bare.pid, bare.endpoint, theirs, connections, seconds)
                ratios.append(mine / yard)
                print(
                    f"{connections:3} connections: service {mine:6.0f}/s ({my_cpu:3.0f} us CPU each), "
                    f"bare {yard:6.0f}/s ({its_cpu:3.0f} us), ratio {ratios[-1]:.2f}"
                )
            print(f"{connections:3} connections: median ratio {statistics.median(ratios):.2f} (bar {bar})")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.webhook", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.rounds, arguments.seconds))


if __name__ == "__main__":
    main()
