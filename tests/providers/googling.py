"""What the tests of Google Meet share: the fake as the laws need it, and adapters connected to it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from providers.base import Authorizer, Capabilities, Delegation, Meeting, MeetingSpec, Role
from providers.google_account import EVENTS, ROOMS, SPACES, GoogleSettings
from providers.google_meet import GoogleMeet
from providers.http import Http
from providers.listing import ListedPage
from tests.fakes.google_server import GoogleServer

ANNA, BEN, CARLA = "anna@example.org", "ben@example.org", "carla@example.com"
ROBOT = "robot@project-1.iam.gserviceaccount.com"
OWN = {"user_id": "100000000000000000001", "email": ANNA, "workspace": "example.org"}


def own(*scopes: str, **more: Any) -> dict[str, Any]:
    """Anna's account with these scopes."""
    mode = "calendar" if SPACES not in scopes else "space"
    return {**OWN, "granted": list(scopes), "mode": mode, **more}


class Robot:
    """The authorizer of a service account, with the fake's tokens for each person."""

    def __init__(self, server: GoogleServer, delegation: Delegation | None = None) -> None:
        self._server, self._delegation = server, delegation

    async def token(self, refused: str | None = None) -> str:
        assert self._delegation, "a service account asked for itself"
        return await self._server.token(*self._delegation.scopes, client_id=ROBOT, user=self._delegation.subject)

    def on_behalf_of(self, delegation: Delegation) -> Authorizer:
        return Robot(self._server, delegation)


def addresses(server: GoogleServer) -> dict[str, str]:
    """Where the fake's APIs are."""
    return {"meet": f"{server.url}/v2", "calendar": f"{server.url}/calendar/v3"}


@asynccontextmanager
async def connected(server: GoogleServer, *scopes: str, **more: Any) -> AsyncIterator[GoogleMeet]:
    """An adapter with a token the fake has issued to Anna for these scopes."""
    token = await server.token(*scopes)
    http = Http(headers={"authorization": f"Bearer {token}"}, addresses=addresses(server))
    yield GoogleMeet(GoogleSettings.model_validate(own(*scopes, **more)), http, pauses=(0.01, 0.02))
    await http.close()


@asynccontextmanager
async def delegated(server: GoogleServer, **more: Any) -> AsyncIterator[GoogleMeet]:
    """An adapter of the service account, which acts for Anna unless told otherwise."""
    settings = GoogleSettings.model_validate({"key": await server.key(), "subject": ANNA, **more})
    http = Http(authorizer=Robot(server), addresses=addresses(server))
    yield GoogleMeet(settings, http, pauses=(0.01, 0.02))
    await http.close()


class GoogleVendor:
    """The fake as the laws need it: a space is there as long as it is open, since Google removes none."""

    def __init__(self, server: GoogleServer, *, calendar: bool, renews: bool = False) -> None:
        self.server, self.calendar, self.renews = server, calendar, renews

    async def meetings(self, spec: MeetingSpec) -> Sequence[str]:
        if self.calendar:
            events = await self.server.events()
            return [one["id"] for one in events if one["id"].startswith(f"vello{spec.key}{spec.generation:x}")]
        return [one["name"] for one in await self.server.spaces() if one["config"]["accessType"] == "OPEN"]

    async def vanish(self, meeting: Meeting) -> None:
        path = f"events/{meeting.id}" if self.calendar else meeting.id
        await self.server.control("DELETE", path)

    async def opens(self, join_url: str) -> bool:
        return (await self.server.request("GET", join_url)).status_code == 200

    async def lose_next_answer(self) -> None:
        await self.server.faults(lose_answers=1)

    async def fail_next(self, status: int, retry_after: int | None = None, times: int = 1) -> None:
        times += self.renews and status == 401  # a new token is tried once
        await self.server.faults(fail=[{"status": status, "times": times, "retry_after": retry_after}])


class Chosen:
    """An adapter whose office has chosen a kind, as the core fills it in."""

    def __init__(self, provider: GoogleMeet, **options: Any) -> None:
        self._provider, self._options = provider, options

    @property
    def capabilities(self) -> Capabilities:
        return self._provider.promises(self._chosen(MeetingSpec("", 0, "", 0, 0)), None)

    def _chosen(self, spec: MeetingSpec) -> MeetingSpec:
        return replace(spec, options={**self._options, **spec.options})

    async def create(self, spec: MeetingSpec) -> Meeting:
        return await self._provider.create(self._chosen(spec))

    async def update(self, meeting: Meeting, spec: MeetingSpec) -> Meeting:
        return await self._provider.update(meeting, self._chosen(spec))

    async def delete(self, meeting: Meeting) -> None:
        await self._provider.delete(meeting)

    async def find(self, spec: MeetingSpec) -> Meeting | None:
        return await self._provider.find(self._chosen(spec))

    async def upcoming(self, host: str | None, owner: str, since: int, page: str | None) -> ListedPage:
        return await self._provider.upcoming(host, owner, since, page)

    async def probe(self) -> str:
        return await self._provider.probe()

    def join_url(self, meeting: Meeting, spec: MeetingSpec, role: Role, now: int, until: int) -> str:
        return self._provider.join_url(meeting, spec, role, now, until)


ALL = (SPACES, EVENTS, ROOMS)
