"""The example of a signed HTTP provider: the laws, and that it runs as it stands."""

import asyncio
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from providers.base import Meeting, MeetingSpec, PermanentError, ReconnectRequired
from providers.http import Http
from providers.http_provider import PROVIDER, HttpProvider, HttpProviderSettings
from providers.testing import VendorLaws, a_spec
from tests.providers.test_http_provider import OTHER, SECRET, USUAL

SERVER = Path(__file__).parent.parent.parent / "examples" / "http-provider" / "server.py"


def example() -> Any:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("example_server", SERVER)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ExampleVendor:
    """The example's rooms as the laws need them; what goes wrong, goes wrong around it."""

    def __init__(self, module: Any) -> None:
        self.lose, self.fail = 0, list[tuple[int, int | None]]()
        vendor = self

        class Handler(module.Handler):  # type: ignore[misc] # the example has no types
            def answer(self, status: int, value: Any) -> None:
                if vendor.lose:
                    vendor.lose -= 1
                    self.close_connection = True
                else:
                    super().answer(status, value)

            def do_POST(self) -> None:
                if not vendor.fail:
                    super().do_POST()
                    return
                self.rfile.read(int(self.headers["content-length"]))
                status, wait = vendor.fail.pop(0)
                self.answer(status, {"error": {"code": "asked_for", "message": "A test.", "retry_after": wait}})

        self.rooms = module.Rooms(("127.0.0.1", 0), SECRET)
        self.rooms.RequestHandlerClass = Handler
        self.thread = threading.Thread(target=self.rooms.serve_forever, kwargs={"poll_interval": 0.01})

    async def meetings(self, spec: MeetingSpec) -> Sequence[str]:
        id_ = self.rooms.names.get((spec.key, spec.generation))
        return [id_] if id_ in self.rooms.rooms else []

    async def vanish(self, meeting: Meeting) -> None:
        del self.rooms.rooms[meeting.id]

    async def opens(self, join_url: str) -> bool:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            return (await client.get(join_url)).status_code == 200

    async def lose_next_answer(self) -> None:
        self.lose = 1

    async def fail_next(self, status: int, retry_after: int | None = None, times: int = 1) -> None:
        self.fail += [(status, retry_after)] * times


@pytest.fixture
def vendor() -> Iterator[ExampleVendor]:
    """The example in a thread of this process."""
    started = ExampleVendor(example())
    started.thread.start()
    yield started
    started.rooms.shutdown()
    started.thread.join()
    started.rooms.server_close()


def settings_of(vendor: ExampleVendor, secret: str = SECRET) -> HttpProviderSettings:
    """A connection to the example."""
    return HttpProviderSettings(url=vendor.rooms.url, secret=SecretStr(secret), capabilities=USUAL)


class TestExample(VendorLaws):
    """The laws."""

    info = PROVIDER

    @pytest.fixture
    def vendor(self, vendor: ExampleVendor) -> ExampleVendor:
        return vendor

    @pytest.fixture
    def settings(self, vendor: ExampleVendor) -> HttpProviderSettings:
        return settings_of(vendor)

    @pytest.fixture
    async def provider(self, settings: HttpProviderSettings) -> AsyncIterator[HttpProvider]:
        client = Http()
        yield HttpProvider(settings, client)
        await client.close()

    async def test_it_takes_nobody_elses_calls(self, vendor: ExampleVendor) -> None:
        client = Http()
        with pytest.raises(ReconnectRequired):
            await HttpProvider(settings_of(vendor, OTHER), client).create(a_spec())
        await client.close()
        assert vendor.rooms.rooms == {}

    async def test_a_call_it_cannot_read_is_a_developers_matter(
        self, provider: HttpProvider, vendor: ExampleVendor
    ) -> None:
        with pytest.raises(PermanentError, match="does not know this type") as caught:
            await provider._call("meeting.fly", {})
        assert caught.value.who_can_fix == "developer"
        with pytest.raises(PermanentError, match="The body is no call"):
            await provider._call("meeting.find", {})


async def test_the_example_runs_as_it_stands() -> None:
    command = [sys.executable, str(SERVER), "--port", "0"]
    process = subprocess.Popen(  # noqa: ASYNC220 - it starts at once
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "VELLO_SECRET": SECRET}
    )
    try:
        assert process.stdout
        url = (await asyncio.to_thread(process.stdout.readline)).strip()
        client = Http()
        provider = HttpProvider(HttpProviderSettings(url=url, secret=SecretStr(SECRET), capabilities=USUAL), client)
        assert await provider.probe() == "Example rooms answers."
        await client.close()
    finally:
        process.kill()
        process.communicate()
