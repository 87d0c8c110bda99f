"""A strict Daily on a loopback port: it takes what its documents know, and answers as the real one was seen to."""

import json
import re
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from vello_daily import Daily

from providers.base import Meeting, MeetingSpec

KEY = "0123456789abcdef-key-of-the-domain"
DOMAIN = "clinic"


class DailyServer:
    """Use it as an async context manager; it is also the `Vendor` of the laws."""

    def __init__(self) -> None:
        self.url = ""
        self.rooms: dict[str, dict[str, Any]] = {}
        self.adapter: Daily | None = None
        self.next: list[tuple[int, int | None]] = []
        self.lose = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/v1/rooms", self._take)
        app.router.add_route("*", "/v1/rooms/{name}", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner
        await self._runner.cleanup()

    async def meetings(self, spec: MeetingSpec) -> Sequence[str]:
        assert self.adapter
        name = self.adapter._name(spec)
        return [name] if name in self.rooms else []

    async def vanish(self, meeting: Meeting) -> None:
        del self.rooms[meeting.id]

    async def opens(self, join_url: str) -> bool:
        found = re.fullmatch(rf"https://{DOMAIN}\.daily\.co/([\w-]+)", join_url)
        return bool(found and found[1] in self.rooms)

    async def lose_next_answer(self) -> None:
        self.lose = 1

    async def fail_next(self, status: int, retry_after: int | None = None, times: int = 1) -> None:
        self.next += [(status, retry_after)] * times

    async def _take(self, request: web.Request) -> web.StreamResponse:
        if self.next:
            status, wait = self.next.pop(0)
            headers = {} if wait is None else {"retry-after": str(wait)}
            return web.json_response({"error": "server-error"}, status=status, headers=headers)
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return web.json_response({"error": "authentication-error"}, status=401)
        status, body = self._do(request.method, request.match_info.get("name"), await request.text(), request)
        if self.lose:
            self.lose -= 1
            assert request.transport
            request.transport.close()
        return web.json_response(body, status=status)

    def _do(self, method: str, name: str | None, text: str, request: web.Request) -> tuple[int, Any]:
        if name is None and method == "GET":
            limit = int(request.query["limit"])
            return 200, {"total_count": len(self.rooms), "data": list(self.rooms.values())[:limit]}
        if name is not None and name not in self.rooms:
            return 404, {"error": "not-found", "info": f"room {name} not found"}
        if name is not None and method == "GET":
            return 200, self.rooms[name]
        if name is not None and method == "DELETE":
            del self.rooms[name]
            return 200, {"deleted": True, "name": name}
        return self._write(name, text)

    def _write(self, name: str | None, text: str) -> tuple[int, Any]:
        body = json.loads(text)
        properties = body.pop("properties")
        wrong = {*properties} - {"nbf", "exp"} or properties["exp"] <= time.time()
        if name is None:
            name, privacy = body.pop("name"), body.pop("privacy")
            taken = name in self.rooms
            wrong = wrong or taken or privacy != "public" or not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name)
        if wrong or body:
            return 400, {"error": "invalid-request-error", "info": "for people only"}
        room = {"name": name, "url": f"https://{DOMAIN}.daily.co/{name}", "privacy": "public", "config": properties}
        self.rooms[name] = room
        return 200, room
