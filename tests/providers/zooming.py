"""What the tests of Zoom share: the fake as the laws need it, and adapters connected to it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from providers.base import Capabilities, Meeting, MeetingSpec, Role
from providers.http import Http
from providers.listing import ListedPage
from providers.zoom import Zoom
from providers.zoom_account import ZoomSettings
from tests.fakes.zoom_server import ZoomServer

ANNA, BEN = "anna@example.org", "ben@example.org"
OWN = {"user_id": "AnnaZoom0123456789ab", "email": ANNA, "account_id": "account-1", "user_type": 2}
ADMIN = {**OWN, "admin_managed": True}
S2S = {"account_id": "account-1", "client_id": "s2s-app", "client_secret": "s2s-secret"}


@asynccontextmanager
async def connected(server: ZoomServer, fields: dict[str, Any] = OWN, **more: Any) -> AsyncIterator[Zoom]:
    """An adapter with a token the fake has issued for a connection of these settings."""
    settings = ZoomSettings.model_validate(fields)
    app = "s2s-app" if settings.client_id else "admin-app" if settings.admin_managed else "user-app"
    token = await server.token(app, None if settings.client_id else ANNA)
    http = Http(server.api_url, headers={"authorization": f"Bearer {token}"})
    yield Zoom(settings, http, **more)
    await http.close()


class ZoomVendor:
    """The fake as the laws need it."""

    def __init__(self, server: ZoomServer) -> None:
        self.server = server

    async def meetings(self, spec: MeetingSpec) -> Sequence[str]:
        marker = f"ref:{spec.key}.{spec.generation}"
        return [str(m["id"]) for m in await self.server.meetings() if m["agenda"].startswith(marker)]

    async def vanish(self, meeting: Meeting) -> None:
        await self.server.control("DELETE", f"meetings/{meeting.id}")

    async def opens(self, join_url: str) -> bool:
        return (await self.server.request("GET", join_url)).status_code == 200

    async def lose_next_answer(self) -> None:
        await self.server.faults(lose_answers=1)

    async def fail_next(self, status: int, retry_after: int | None = None, times: int = 1) -> None:
        await self.server.faults(fail=[{"status": status, "times": times, "retry_after": retry_after}])


class Hosted:
    """An adapter whose office has a default host, as the core fills it in."""

    def __init__(self, provider: Zoom, host: str) -> None:
        self._provider, self._host = provider, host

    @property
    def capabilities(self) -> Capabilities:
        return self._provider.capabilities

    def _with_host(self, spec: MeetingSpec) -> MeetingSpec:
        return replace(spec, host=self._host)

    async def create(self, spec: MeetingSpec) -> Meeting:
        return await self._provider.create(self._with_host(spec))

    async def update(self, meeting: Meeting, spec: MeetingSpec) -> Meeting:
        return await self._provider.update(meeting, self._with_host(spec))

    async def delete(self, meeting: Meeting) -> None:
        await self._provider.delete(meeting)

    async def find(self, spec: MeetingSpec) -> Meeting | None:
        return await self._provider.find(self._with_host(spec))

    async def upcoming(self, host: str | None, owner: str, since: int, page: str | None) -> ListedPage:
        return await self._provider.upcoming(host or self._host, owner, since, page)

    async def probe(self) -> str:
        return await self._provider.probe()

    def join_url(self, meeting: Meeting, spec: MeetingSpec, role: Role, now: int, until: int) -> str:
        return self._provider.join_url(meeting, spec, role, now, until)
