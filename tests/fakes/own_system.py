"""A strict system of somebody's own that takes signed calls: a real server on a loopback port, in this process.

It checks signatures with the library of Standard Webhooks, takes no field that the protocol does not know, answers a
call that it had before with the answer of then, and goes wrong as it is told.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from json import loads
from types import TracebackType
from typing import Any, Literal, Self

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from providers.base import Meeting, MeetingSpec


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Name(_Strict):
    key: str = Field(pattern=r"^[0-9a-f]{32}$")
    generation: int = Field(ge=0)


class _Fields(_Name):
    title: str = Field(min_length=1, max_length=200)
    start: int = Field(ge=0, le=7_258_118_400)
    duration: int = Field(gt=0)
    time_zone: str
    host: str | None
    opens_before: int | None


class _Id(_Strict):
    id: str


class _Update(_Fields):
    id: str


class _LinkOf(_Id):
    role: Literal["host", "guest"]
    until: int


class _Nothing(_Strict):
    pass


class _Call(_Strict):
    type: str
    timestamp: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
    data: dict[str, Any]


DATA: dict[str, type[_Strict]] = {
    "meeting.create": _Fields,
    "meeting.update": _Update,
    "meeting.delete": _Id,
    "meeting.find": _Name,
    "meeting.link": _LinkOf,
    "provider.probe": _Nothing,
}


@dataclass
class _Answer:
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


def refusal(status: int, code: str, message: str = "As the test says.", **more: Any) -> _Answer:
    """An error of the protocol."""
    return _Answer(status, {"error": {"code": code, "message": message, **more}})


class OwnSystem:
    """Use it as an async context manager; it is also the `Vendor` of the laws."""

    def __init__(self, secret: str, capabilities: Sequence[str], max_duration: int | None = None) -> None:
        self.secret, self.capabilities, self.max_duration = secret, list(capabilities), max_duration
        self.url = ""
        self.calls: list[_Call] = []
        self.ids: list[str] = []
        """The webhook-id of every call that was verified."""
        self.refused: list[str] = []
        """What was wrong with calls that should not have been sent."""
        self.next: list[_Answer] = []
        """Answers to the next calls, before anything happens."""
        self.lose = 0
        self.shape: Any = None
        """An answer with status 200 in place of the right one."""
        self.entrance: dict[str, Any] = {}
        """What new meetings have besides their link: `passcode`, `dial_in`."""
        self._meetings: dict[str, dict[str, Any]] = {}
        self._links: set[str] = set()
        self._told: dict[str, tuple[bytes, _Answer]] = {}
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.post("/calls", self._take), web.get("/rooms/{id}", self._room)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/calls"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner
        await self._runner.cleanup()

    def held(self, spec: MeetingSpec) -> list[dict[str, Any]]:
        """The meetings of this key and generation, as they are now."""
        return [m for m in self._meetings.values() if (m["key"], m["generation"]) == (spec.key, spec.generation)]

    async def meetings(self, spec: MeetingSpec) -> Sequence[str]:
        return [meeting["id"] for meeting in self.held(spec)]

    async def vanish(self, meeting: Meeting) -> None:
        del self._meetings[meeting.id]

    def remove_all(self) -> None:
        """Somebody cleans up: no meeting stands any more."""
        self._meetings.clear()

    async def opens(self, join_url: str) -> bool:
        room = join_url.rpartition("/")[2]
        return room.partition("?")[0] in self._meetings and ("mints_link" not in self.capabilities or "?" in room)

    async def lose_next_answer(self) -> None:
        self.lose = 1

    async def fail_next(self, status: int, retry_after: int | None = None, times: int = 1) -> None:
        more = {} if retry_after is None else {"retry_after": retry_after}
        error = {"code": "asked_for", "message": "As the test says.", **more}
        self.next += [_Answer(status, {"error": error}) for _ in range(times)]

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        answer = self._verified(request, body)
        if self.lose:
            self.lose -= 1
            assert request.transport
            request.transport.close()
        return web.json_response(answer.body, status=answer.status, headers=answer.headers)

    def _verified(self, request: web.Request, body: bytes) -> _Answer:
        id_ = request.headers.get("webhook-id", "")
        try:
            Webhook(self.secret).verify(body.decode(), dict(request.headers))
        except WebhookVerificationError as error:
            stale = "timestamp" in str(error).lower()
            return refusal(401, "bad_timestamp" if stale else "bad_signature")
        self.ids.append(id_)
        if self.next:
            return self.next.pop(0)
        if id_ in self._told:
            first, answer = self._told[id_]
            return answer if first == body else refusal(409, "replayed")
        answer = self._performed(body)
        self._told[id_] = body, answer
        return answer

    def _performed(self, body: bytes) -> _Answer:
        try:
            call = _Call.model_validate(loads(body))
            data = DATA[call.type].model_validate(call.data).model_dump()
        except (ValidationError, KeyError) as error:
            self.refused.append(str(error))
            return refusal(422, "invalid", who_can_fix="developer")
        self.calls.append(call)
        answer = self._do(call.type, data)
        return _Answer(200, self.shape) if self.shape is not None else answer

    def _do(self, type_: str, data: dict[str, Any]) -> _Answer:
        if type_ == "provider.probe":
            declared = {"name": "Rooms of our own", "capabilities": self.capabilities}
            return _Answer(200, {**declared, "max_duration": self.max_duration})
        if type_ in ("meeting.create", "meeting.find"):
            name = (data["key"], data["generation"])
            meeting = next((m for m in self._meetings.values() if (m["key"], m["generation"]) == name), None)
            if meeting is None and type_ == "meeting.create":
                id_ = secrets.token_urlsafe(12)
                root = self.url.removesuffix("/calls")
                meeting = self._meetings[id_] = {"id": id_, "join_url": f"{root}/rooms/{id_}", **self.entrance, **data}
            return _Answer(200, {"meeting": meeting})
        meeting = self._meetings.get(data["id"])
        if meeting is None:
            return refusal(404, "meeting_not_found")
        if type_ == "meeting.link":
            link = f"{meeting['join_url']}?{data['role']}={secrets.token_urlsafe(12)}"
            self._links.add(link)
            return _Answer(200, {"url": link})
        if type_ == "meeting.delete":
            del self._meetings[data["id"]]
            return _Answer(200, {"meeting": None})
        meeting.update(data)
        return _Answer(200, {"meeting": meeting})

    async def _room(self, request: web.Request) -> web.StreamResponse:
        there = await self.opens(str(request.url))
        page = '<link rel="icon" href="data:,">'  # else a browser asks for one, and complains some time later
        return web.Response(status=200 if there else 404, text=page, content_type="text/html")
