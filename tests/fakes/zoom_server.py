"""The fake Zoom as a process of its own, as tests hold it."""

from typing import Any

from tests.fakes.server import FakeServer


class ZoomServer(FakeServer):
    """Use it as a context manager, plain or async, or with `start` and `stop`. `stop` kills it."""

    module = "tests.fakes.zoom"

    @property
    def api_url(self) -> str:
        """What ZOOM_API_URL is set to."""
        return f"{self.url}/v2"

    @property
    def oauth_url(self) -> str:
        """What ZOOM_OAUTH_URL is set to."""
        return f"{self.url}/oauth"

    async def token(self, client_id: str = "user-app", user: str | None = "anna@example.org") -> str:
        """An access token, as after a consent of `user`."""
        granted = await self.control("POST", "grant", {"client_id": client_id, "user": user})
        token: str = granted["access_token"]
        return token

    async def meetings(self) -> list[dict[str, Any]]:
        """The meetings that exist now."""
        meetings: list[dict[str, Any]] = (await self.state())["meetings"]
        return meetings
