"""Daily: rooms with names of ours, that open and close by themselves.

The vendor's laws:

- A room is named by whoever makes it. Of several creates with one name, even at once, one gets 200 and all others 400
  with "invalid-request-error", the same as for a bad request; what tells them apart is written for people only. So a
  400 is looked into: if the room is there, it is the one.
- `nbf` and `exp`, unix seconds, say when people get in; who is inside stays. An `exp` that has passed is refused.
- A room whose `exp` has passed counts as deleted. A deleted room answers 404 with "not-found".
- A public room lets everybody in who has its address, in the browser, without an account and without being let in. So
  the name must not be guessable.
- 20 calls a second, deletes about 2.

Sources: https://docs.daily.co/reference/rest-api/rooms, https://docs.daily.co/docs/rest-api/errors.
"""

import base64
import hashlib
import hmac
import secrets
import time
from typing import Any

from pydantic import Field, SecretStr

from providers.base import (
    Capabilities,
    Meeting,
    MeetingNotFound,
    MeetingSpec,
    Options,
    PermanentError,
    ProviderError,
    ProviderInfo,
    ProviderSettings,
    Role,
    Trouble,
)
from providers.http import Answer, Http

API = "https://api.daily.co/v1"
STAYS_OPEN = 2 * 3600
"""Seconds after its end for which a room can be entered."""


class DailySettings(ProviderSettings):
    """A domain at Daily and its key."""

    domain: str = Field(
        pattern=r"^[a-z0-9-]+$", description="What your rooms' addresses begin with: clinic in https://clinic.daily.co."
    )
    api_key: SecretStr = Field(min_length=1, description="From Developers in Daily's dashboard.")
    room_key: SecretStr = Field(
        default_factory=lambda: SecretStr(secrets.token_hex(32)),
        min_length=32,
        description="Room names are derived from it: keep it to get the same names again.",
    )
    api_url: str = Field(default=API, pattern=r"^https?://[^\s?#@]+$", description="Where calls go.")

    @property
    def method(self) -> str:
        """Always "key"."""
        return "key"

    @property
    def account(self) -> str:
        """What all links begin with."""
        return f"{self.domain}.daily.co"


class Daily:
    """One domain at Daily."""

    capabilities = Capabilities(
        keeps_link=True,
        enforces_teardown=True,
        enforces_window=True,
        mints_link=False,
        idempotent_create=True,
        needs_host=False,
        opens_early=True,
        opens_in="browser",
        guests_wait=False,
        guests_log_in=False,
    )

    def __init__(self, settings: DailySettings, http: Http) -> None:
        self._settings = settings
        headers = {"authorization": f"Bearer {settings.api_key.get_secret_value()}"}
        self._http = http.at(settings.api_url, headers=headers, explain=_explain)

    async def create(self, spec: MeetingSpec) -> Meeting:
        """POST the room; a 400 may mean that it is there already."""
        body = {"name": self._name(spec), "privacy": "public", "properties": _times(spec)}
        answer = await self._http.send("POST", "/rooms", json=body, accept=(200, 400))
        if answer.status == 200:
            return self._meeting(answer, answer.object())
        if found := await self.find(spec):
            return found
        raise PermanentError("Daily does not accept this room.", "developer")

    async def update(self, meeting: Meeting, spec: MeetingSpec) -> Meeting:
        """POST its new times to the room."""
        answer = await self._http.send("POST", f"/rooms/{meeting.id}", json={"properties": _times(spec)}, safe=True)
        return self._meeting(answer, answer.object())

    async def delete(self, meeting: Meeting) -> None:
        """DELETE the room; gone already is a success."""
        try:
            await self._http.send("DELETE", f"/rooms/{meeting.id}")
        except MeetingNotFound:
            return

    async def find(self, spec: MeetingSpec) -> Meeting | None:
        """GET the room by its name."""
        try:
            answer = await self._http.send("GET", f"/rooms/{self._name(spec)}")
        except MeetingNotFound:
            return None
        return self._meeting(answer, answer.object())

    async def probe(self) -> str:
        """GET one room of the list."""
        answer = await self._http.send("GET", "/rooms", params={"limit": 1})
        if not isinstance(answer.object().get("data"), list):
            raise answer.unusable("is no list of rooms")
        return f"{self._settings.account} answers."

    def join_url(self, meeting: Meeting, spec: MeetingSpec, role: Role, now: int, until: int) -> str:
        """The room's address: everybody has the same."""
        return meeting.join_url

    def _name(self, spec: MeetingSpec) -> str:
        key = self._settings.room_key.get_secret_value().encode()
        digest = hmac.digest(key, f"{spec.key}|{spec.generation}".encode(), hashlib.sha256)
        return base64.b32encode(digest).decode()[:26].lower()

    def _meeting(self, answer: Answer, room: dict[str, Any]) -> Meeting:
        name = room.get("name")
        if not isinstance(name, str) or room.get("url") != f"https://{self._settings.account}/{name}":
            raise answer.unusable(f"is no room of {self._settings.account}")
        return Meeting(id=name, join_url=str(room["url"]))


def _times(spec: MeetingSpec) -> dict[str, int]:
    early = int(spec.options.get("opens_before", Options().opens_before)) * 60
    return {"nbf": spec.start - early, "exp": max(spec.end, int(time.time())) + STAYS_OPEN}


def _explain(answer: Answer) -> ProviderError | None:
    if answer.status == 404 and answer.object().get("error") == "not-found":
        return MeetingNotFound("Daily has no such room.")
    if answer.status == 403:
        return PermanentError("Daily's key may not do this: take one of the domain's own.", "admin")
    return None


PROVIDER = ProviderInfo(
    name="daily",
    title="Daily",
    settings=DailySettings,
    options=Options,
    connect=Daily,
    app="Daily",
    asks=("domain", "api_key"),
    asks_more=("api_url",),
    troubles=(
        Trouble(
            "daily_refuses_room",
            "developer",
            ("Daily does not accept this room.",),
            "Tell the maker of this adapter what stands there.",
        ),
        Trouble(
            "daily_room_gone",
            "admin",
            ("Daily has no such room.",),
            "Nothing is to be done: a booking that needs a meeting gets a new room.",
        ),
        Trouble(
            "daily_key_refused",
            "admin",
            ("Daily's key may not do this: take one of the domain's own.",),
            "Make a key in Daily's dashboard, under Developers, and enter it in the connection.",
        ),
    ),
)
