"""The fake Zoom under bad weather: `python -m tests.chaos.zoom --port 0`."""

import json
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
from starlette.types import Scope

from tests.chaos.weather import Sky, main
from tests.chaos.world import PUBLIC, Vendor
from tests.fakes.zoom import application
from tests.fakes.zoom_state import State
from tests.ports import NO_TLS
from tests.processes import ADMIN, Service

_APP = "admin-app"
_LIMITS = {"plan": None, "per_user": 100_000, "per_meeting": 100_000}


def sky_at(url: str) -> Sky:
    """A Zoom at `url`."""
    state = State(url)

    def second(scope: Scope, body: bytes) -> bool:
        marker = json.loads(body).get("agenda") if scope["path"].endswith("/meetings") else None
        return bool(marker) and any(meeting.agenda == marker for meeting in state.meetings.values())

    return Sky(application(state), second)


class Zoom(Vendor):
    """Zoom in the storm's weather, without limits, with a host for each office.

    With `grant` an admin connects the account in the browser, and refresh tokens rotate.
    """

    module = "tests.chaos.zoom"

    def __init__(self, *, grant: bool = False) -> None:
        super().__init__(forgetful=True)
        self._grant = grant

    @property
    def environment(self) -> dict[str, str]:
        """What services must know of it."""
        client = {"ZOOM_CLIENT_ID": _APP, "ZOOM_CLIENT_SECRET": "admin-secret"}
        return {"ZOOM_API_URL": f"{self.url}/v2", "ZOOM_OAUTH_URL": f"{self.url}/oauth", **client}

    @property
    def connection(self) -> dict[str, Any]:
        """A Server-to-Server app of its account."""
        secret = {"client_id": "s2s-app", "client_secret": "s2s-secret"}
        return {"provider": "zoom", "account_id": "account-1", **secret}

    async def connect(self, service: Service) -> str:
        """By the API, or as a person's browser does: from the login over Zoom's consent and back."""
        if not self._grant:
            return await super().connect(service)
        ours, page = {"Sec-Fetch-Site": "same-origin"}, f"{service.base}/connect/zoom"
        async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=30) as browser:
            await browser.post(f"{service.base}/login", data={"admin_token": ADMIN}, headers=ours)
            asked = (await browser.get(f"{page}/start", headers=ours)).headers["location"]
            form = {**dict(parse_qsl(urlsplit(asked).query)), "user": "anna@example.org", "decision": "allow"}
            back = (await browser.post(asked.partition("?")[0], data=form)).headers["location"]
            done = (await browser.get(back.replace(PUBLIC, service.base))).headers["location"]
        return str(httpx.URL(done).params["connected"])

    async def expire(self) -> None:
        """End all access tokens of the app."""
        if self._grant:
            (await self.request("POST", "/fake/expire", json={"client_id": _APP})).raise_for_status()

    async def prepare(self, hosts: list[str]) -> None:
        """Take off its limits and give it the hosts."""
        (await self.request("PUT", "/fake/limits", json=_LIMITS)).raise_for_status()
        app = {"client_id": _APP, "redirect_uris": [f"{PUBLIC}/connect/zoom/callback"]}
        (await self.request("PUT", "/fake/apps", json=app)).raise_for_status()
        for host in hosts:
            (await self.request("PUT", "/fake/users", json={"email": host})).raise_for_status()

    async def meetings(self) -> list[dict[str, Any]]:
        """The meetings that exist now, in the words of the reference server."""
        return [
            {
                "id": str(one["id"]),
                "key": one["agenda"].removeprefix("ref:").partition(".")[0],
                "start": int(datetime.fromisoformat(one["start_time"]).timestamp()),
                "duration": 60 * one["duration"],
                "join_url": one["join_url"],
            }
            for one in (await self.request("GET", "/fake/state")).json()["meetings"]
        ]

    async def junk(self) -> list[str]:
        """Every request that was not as Zoom's documents say, and every refresh token that came twice.

        A 500 says that nothing came of a request, so what was answered with one may come again: where it was a lie, the
        tokens are gone either way.
        """
        state = (await self.request("GET", "/fake/state")).json()
        story = (await self.request("GET", "/weather")).json()["story"]
        twice: list[str] = []
        for each in state["refresh_tokens"]:
            told = [line for line in story if each["token"] in line]
            if each["uses"] - sum(line.endswith("lost: 500") for line in told) > 1:
                twice.append(f"a refresh token came {each['uses']} times: {told}")
        return [*state["junk"], *twice]


if __name__ == "__main__":
    main(sky_at)
