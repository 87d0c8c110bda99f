"""The fake Google as a process of its own, as tests hold it."""

from typing import Any

from tests.fakes.server import FakeServer


class GoogleServer(FakeServer):
    """Use it as a context manager, plain or async, or with `start` and `stop`. `stop` kills it."""

    module = "tests.fakes.google"

    async def granted(
        self, *scopes: str, client_id: str = "user-app", user: str | None = "anna@example.org"
    ) -> dict[str, Any]:
        """What the token endpoint answers after a consent of `user`; a scope's short name will do.

        With a service account's address as `client_id`: its token for that user, or for itself.
        """
        fields = {"client_id": client_id, "user": user, "scopes": list(scopes)}
        answer: dict[str, Any] = await self.control("POST", "grant", fields)
        return answer

    async def token(self, *scopes: str, client_id: str = "user-app", user: str | None = "anna@example.org") -> str:
        """An access token, as after a consent of `user`."""
        token: str = (await self.granted(*scopes, client_id=client_id, user=user))["access_token"]
        return token

    async def key(self, client_email: str = "robot@project-1.iam.gserviceaccount.com") -> dict[str, str]:
        """A service account's key file, as Google's console gives it out."""
        key: dict[str, str] = await self.control("GET", f"keys/{client_email}")
        return key

    async def delegate(self, *scopes: str, domain: str = "example.org") -> None:
        """What an admin of this domain delegates to the service account, instead of what was."""
        robot = "robot@project-1.iam.gserviceaccount.com"
        await self.control("PUT", "service-accounts", {"client_email": robot, "delegated": {domain: list(scopes)}})

    async def limits(self, **limits: int | None) -> None:
        """Other limits; those not named are Google's."""
        await self.control("PUT", "limits", limits)

    async def readings(self, **readings: Any) -> None:
        """How this Google is to be read where the facts conflict."""
        await self.control("PUT", "readings", readings)

    async def forward(self, seconds: float) -> None:
        """Google's clock goes forward, or back."""
        await self.control("POST", "clock", {"advance": seconds})

    async def spaces(self) -> list[dict[str, Any]]:
        """All spaces as Meet shows them, each with `owner` and `origin`: a project, or None: Calendar."""
        spaces: list[dict[str, Any]] = (await self.state())["spaces"]
        return spaces

    async def events(self, *, deleted: bool = False) -> list[dict[str, Any]]:
        """The events that stand in calendars, each with its `calendar`; the `deleted` too if asked for."""
        events = (await self.state())["events"]
        return [event for event in events if deleted or event["status"] != "cancelled"]
