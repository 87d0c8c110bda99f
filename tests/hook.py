"""A program on loopback that takes signed webhooks, and believes none that the reference library does not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook

from providers.http import Http

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass
class Receiver:
    """What it took, by id and body; `answers` are statuses for the next calls, then it says 204."""

    url: str = ""
    took: list[tuple[str, Any]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    calls: int = 0

    async def take(self, request: web.Request) -> web.Response:
        """One call. Raises WebhookVerificationError, which is a 500, for what is not signed."""
        self.calls += 1
        body = await request.read()
        said = Webhook(SECRET).verify(body, dict(request.headers))
        self.raw.append(body)
        status = self.answers.pop(0) if self.answers else 204
        if status < 300:
            self.took.append((request.headers["webhook-id"], said))
        return web.Response(status=status, headers=self.headers if status >= 300 else {})


@asynccontextmanager
async def sending() -> AsyncIterator[Http]:
    """What sends to it, until left."""
    http = Http()
    try:
        yield http
    finally:
        await http.close()


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """One, until left."""
    one, app = Receiver(), web.Application()
    app.router.add_post("/hook", one.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook?key=of-the-program"
    try:
        yield one
    finally:
        await runner.cleanup()
