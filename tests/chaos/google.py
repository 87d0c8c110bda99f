"""The fake Google under bad weather: `python -m tests.chaos.google --port 0`."""

from datetime import datetime
from typing import Any

from tests.chaos.weather import Sky, main
from tests.chaos.world import Vendor
from tests.fakes.google import application
from tests.fakes.google_state import Limits, State

HOSTS_DOMAIN = "example.org"


def sky_at(url: str) -> Sky:
    """A Google at `url`; what it makes twice of one name is one entry, or a room that has no name."""
    return Sky(application(State(url)), lambda *_: False)


class Google(Vendor):
    """Google in the storm's weather, with a service account that acts for a host of each office.

    Google's own limits are off, since the storm plays years of a host in a minute; the service keeps to them as ever.
    """

    module = "tests.chaos.google"

    def __init__(self, mode: str) -> None:
        super().__init__(forgetful=True)
        self._mode = mode
        self._key: dict[str, Any] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What services must know of it."""
        return {
            "GOOGLE_TOKEN_URL": f"{self.url}/token",
            "GOOGLE_CALENDAR_URL": f"{self.url}/calendar/v3",
            "GOOGLE_MEET_URL": f"{self.url}/v2",
        }

    @property
    def connection(self) -> dict[str, Any]:
        """The service account."""
        return {"provider": "google_meet", "key": self._key, "subject": "anna@example.org", "mode": self._mode}

    async def prepare(self, hosts: list[str]) -> None:
        """Take off its limits and give it the hosts, whose rooms come a moment late."""
        (await self.request("PUT", "/fake/limits", json=dict.fromkeys(Limits.model_fields))).raise_for_status()
        for host in hosts:
            person = {"email": host, "domain": HOSTS_DOMAIN, "pending_reads": 1}
            (await self.request("PUT", "/fake/users", json=person)).raise_for_status()
        robot = "robot@project-1.iam.gserviceaccount.com"
        self._key = (await self.request("GET", f"/fake/keys/{robot}")).json()

    async def meetings(self) -> list[dict[str, Any]]:
        """The meetings that exist now, in the words of the reference server; a room has neither key nor time."""
        state = (await self.request("GET", "/fake/state")).json()
        if self._mode == "space":
            nothing = {"key": None, "start": None, "duration": None}
            spaces = [one for one in state["spaces"] if one["config"]["accessType"] == "OPEN"]
            return [{"id": one["name"], "join_url": one["meetingUri"], **nothing} for one in spaces]
        return [_meeting(event) for event in state["events"] if event["status"] != "cancelled"]

    async def junk(self) -> list[str]:
        """Every request that was not as Google's documents say."""
        junk: list[str] = (await self.request("GET", "/fake/state")).json()["junk"]
        return junk


def _meeting(event: dict[str, Any]) -> dict[str, Any]:
    start, end = (int(datetime.fromisoformat(event[edge]["dateTime"]).timestamp()) for edge in ("start", "end"))
    return {
        "id": event["id"],
        "key": event["extendedProperties"]["private"]["vello_meeting"].partition(".")[0],
        "start": start,
        "duration": end - start,
        "join_url": event.get("hangoutLink"),
    }


if __name__ == "__main__":
    main(sky_at)
