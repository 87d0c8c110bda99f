"""The fake Zoom under bad weather: `python -m tests.chaos.zoom --port 0`."""

import json
from datetime import datetime
from typing import Any

from starlette.types import Scope

from tests.chaos.weather import Sky, main
from tests.chaos.world import Vendor
from tests.fakes.zoom import application
from tests.fakes.zoom_state import State

_LIMITS = {"plan": None, "per_user": 100_000, "per_meeting": 100_000}


def sky_at(url: str) -> Sky:
    """A Zoom at `url`."""
    state = State(url)

    def second(scope: Scope, body: bytes) -> bool:
        marker = json.loads(body).get("agenda") if scope["path"].endswith("/meetings") else None
        return bool(marker) and any(meeting.agenda == marker for meeting in state.meetings.values())

    return Sky(application(state), second)


class Zoom(Vendor):
    """Zoom in the storm's weather, without limits, with a host for each office."""

    module = "tests.chaos.zoom"

    def __init__(self) -> None:
        super().__init__(forgetful=True)

    @property
    def environment(self) -> dict[str, str]:
        """What services must know of it."""
        return {"ZOOM_API_URL": f"{self.url}/v2", "ZOOM_OAUTH_URL": f"{self.url}/oauth"}

    @property
    def connection(self) -> dict[str, Any]:
        """A Server-to-Server app of its account."""
        secret = {"client_id": "s2s-app", "client_secret": "s2s-secret"}
        return {"provider": "zoom", "account_id": "account-1", **secret}

    async def prepare(self, hosts: list[str]) -> None:
        """Take off its limits and give it the hosts."""
        (await self.request("PUT", "/fake/limits", json=_LIMITS)).raise_for_status()
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
        """Every request that was not as Zoom's documents say."""
        junk: list[str] = (await self.request("GET", "/fake/state")).json()["junk"]
        return junk


if __name__ == "__main__":
    main(sky_at)
