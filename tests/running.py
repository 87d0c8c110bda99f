"""The service in this process, with everything real behind it: a store, a worker, a provider over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from providers.base import ProviderInfo
from service.app import Role, opened
from service.config import Config
from service.observer import Observer
from service.store import Store
from service.vello import sign
from tests.events import body
from tests.waiting import wait_until

PUBLIC = "http://127.0.0.1:8080"
ENDPOINT = f"{PUBLIC}/webhooks/vello"
TOKEN, ADMIN = "webhook-token", "admin-token-0123456789"


class Running:
    """A service and the two who talk to it: Vello and an admin."""

    def __init__(self, app: Any, client: httpx.AsyncClient) -> None:
        self.app = app
        self.client = client

    async def post(self, raw: bytes, *, url: str = ENDPOINT, token: str = TOKEN) -> httpx.Response:
        """Raw bytes, signed."""
        return await self.client.post(url, content=raw, headers={"Vello-Signature": sign(token, url, raw)})

    async def say(self, event_type: str, data: Any) -> Any:
        """What Vello says, taken with 200; answers the body."""
        answer = await self.post(body(event_type, data))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def link(self, data: Mapping[str, Any]) -> str | None:
        """The link Vello is given when it asks for a record's metadata."""
        link: str | None = (await self.say("record.update_metadata", data))["metadata"].get("video_link")
        return link

    async def admin(self, method: str, path: str, *, json: Any = None, **params: Any) -> httpx.Response:
        """A call to the API."""
        headers = {"Authorization": f"Bearer {ADMIN}"}
        return await self.client.request(method, f"/api/v1{path}", json=json, params=params, headers=headers)

    async def record(self, record: str) -> dict[str, Any]:
        """A record as the API shows it."""
        answer = await self.admin("GET", f"/records/{record}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def settled(self, record: str, timeout: float = 60.0) -> dict[str, Any]:  # noqa: ASYNC109 (fails the test)
        """A record once nothing is pending any more."""
        seen: dict[str, Any] = {}

        async def done() -> bool:
            answer = await self.admin("GET", f"/records/{record}")
            if answer.status_code == 503:  # on a machine that stood still for seconds a look fails, and is repeated
                return False
            assert answer.status_code == 200, answer.text
            seen.update(answer.json())
            return bool(seen["state"] != "pending")

        await wait_until(done, timeout)
        return seen

    async def connect(self, url: str, *, link: str = "direct", provider: str = "memory", **fields: Any) -> str:
        """Connect a provider and make it every office's choice."""
        answer = await self.admin("POST", "/connections", json={"provider": provider, "url": url, **fields})
        assert answer.status_code == 201, answer.text
        connection = str(answer.json()["id"])
        chosen = await self.admin("PUT", "/offices/default", json={"connection": connection, "link": link})
        assert chosen.status_code == 200, chosen.text
        return connection


@asynccontextmanager
async def running(
    redis_url: str,
    *,
    role: Role = "all",
    observer: Observer | None = None,
    providers: Mapping[str, ProviderInfo] | None = None,
    **environment: str,
) -> AsyncIterator[Running]:
    """A service on a store, until left; `providers` are used in place of the registry's."""
    given = {
        "REDIS_URL": redis_url,
        "PUBLIC_URL": PUBLIC,
        "VELLO_WEBHOOK_TOKEN": TOKEN,
        "ADMIN_TOKEN": ADMIN,
        "SECRET_KEYS": "k1:" + "A" * 43 + "=",
        "ANSWER_DEADLINE": "15",
        **environment,
    }
    async with opened(Config.load(environ=given), role, observer, providers=providers) as app:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=PUBLIC, timeout=30) as client:
            yield Running(app, client)


async def together(*calls: Any) -> list[Any]:
    """All of `calls` at the same time."""
    return list(await asyncio.gather(*calls))


async def scripts_of(store: Store, act: Callable[[], Awaitable[object]]) -> int:
    """How many scripts the store runs for one act: the fewest of five times, for the service does other things too."""

    async def calls() -> int:
        return int((await store.execute("INFO", "commandstats"))["cmdstat_evalsha"]["calls"])

    took = []
    for _ in range(5):
        before = await calls()
        await act()
        took.append(await calls() - before)
    return min(took)
