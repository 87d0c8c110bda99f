"""Nothing secret in logs, answers, errors or, in clear, in the store; and every key has its time to live."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from service.store import Store
from tests.events import body, record
from tests.processes import ADMIN, KEYS, TOKEN, Service
from tests.servers import MemoryServer

APP_SECRET = "app-secret-of-at-least-thirty-two-bytes"
BEARER = "bearer-of-the-reference-server"
CUSTOMER = "Aino Virtanen"
ETERNAL = re.compile(
    r"vm:(offices|offices:seen|connections|connections:health|companies|reached|keys)|vm:\{s\d+\}:(due|index|rev)"
)


async def contents(store: Store) -> dict[str, Any]:
    """Everything in the store, by key."""
    found: dict[str, Any] = {}
    reads = {"hash": ("HGETALL",), "list": ("LRANGE", 0, -1), "zset": ("ZRANGE", 0, -1), "string": ("GET",)}
    for key in await store.execute("KEYS", "*"):
        verb, *rest = reads[await store.execute("TYPE", key)]
        found[key] = await store.execute(verb, key, *rest)
    return found


async def provoke(service: Service, vendor: MemoryServer) -> tuple[list[str], list[str]]:
    """Bookings and every error we can think of; answers what people saw, and the secrets that arose."""
    seen, secrets = [], []
    jitsi = {"provider": "jitsi", "url": "https://meet.example.org", "app_id": "app", "secret": APP_SECRET}
    memory = {"provider": "memory", "url": vendor.url, "token": BEARER}
    made = [await service.admin("POST", "/connections", json=fields) for fields in (jitsi, memory)]
    refused = [{**jitsi, "colour": 1}, {**jitsi, "private_key": APP_SECRET}, {"provider": "x", "secret": APP_SECRET}]
    seen += [(await service.admin("POST", "/connections", json=fields)).text for fields in refused]
    people = {"details": {"name": CUSTOMER}, "customer_name": CUSTOMER}
    for connection in (answer.json()["id"] for answer in made):
        await service.admin("PUT", "/offices/default", json={"connection": connection, "link": "hosted"})
        faults: list[dict[str, Any]] = [{}, {"lose_answers": 1}, {"fail": [{"status": 401, "times": 1}]}]
        faults += [{"fail": [{"status": 500, "times": 1}]}, {"fail": [{"status": 400, "times": 9}]}]
        for fault in faults:
            await vendor.faults(**fault)
            data = record(time=1_000_000_000, **people)
            link = (await service.say("record.update_metadata", data)).json()["metadata"]["video_link"]
            into = await service.request("GET", f"{urlsplit(link).path}/join")
            secrets.append(into.headers.get("location", ""))
            await vendor.faults()
            await service.say("record.updated", {**data, "version": 2, "time": 1_900_000_000})
            seen.append(link + (await service.request("GET", urlsplit(link).path)).text)
            secrets.append(str((await service.admin("GET", f"/records/{data['id']}")).json()["join_url"] or ""))
        seen.append((await service.admin("POST", f"/connections/{connection}/test")).text)
    raw = body("record.updated", record(time="soon", **people))
    for signature in ("wrong", TOKEN):
        answer = await service.request("POST", "/webhooks/vello", content=raw, headers={"Vello-Signature": signature})
        seen.append(answer.text)
    seen.append((await service.say("record.updated", record(language=7, **people))).text)
    for path in ("/connections", "/offices", "/companies", "/records/x"):
        seen.append((await service.admin("GET", path)).text)
    seen.append((await service.request("GET", "/api/v1/offices", headers={"Authorization": "Bearer hush-hush"})).text)
    return seen, secrets


async def test_nothing_secret_gets_out(store_url: str, store: Store, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with MemoryServer(token=BEARER) as vendor:
        async with Service(REDIS_URL=store_url, LOG_LEVEL="debug", LOG_FORMAT="json", log=log) as service:
            seen, arisen = await provoke(service, vendor)
            assert await service.stop() == 0
    tokens = [unquote(urlsplit(url).fragment).removeprefix('jwt="').rstrip('"') for url in arisen if "#jwt=" in url]
    assert tokens
    secrets = {TOKEN, ADMIN, KEYS, APP_SECRET, BEARER, CUSTOMER, "hush-hush", *arisen, *tokens} - {""}
    stored, logged, shown = str(await contents(store)), log.read_text(), "\n".join(seen)
    assert "provider_call" in logged
    for place in (stored, logged, shown):
        assert [secret for secret in secrets if secret in place] == []
    hosted = set(re.findall(r"/m/([\w-]{23})", shown))
    assert hosted
    assert [token for token in hosted if token in logged] == []


async def test_every_key_has_a_time_to_live_or_is_on_the_list(store_url: str, store: Store) -> None:
    with MemoryServer(token=BEARER) as vendor:
        async with Service(REDIS_URL=store_url) as service:
            await provoke(service, vendor)
            data = record()
            for kind in ("record.update_metadata", "record.cancelled", "record.deleted", "connection.test"):
                await service.say(kind, data)
            await service.say("record.deleted", {"id": record()["id"]})
            assert await service.stop() == 0
    keys = await store.execute("KEYS", "*")
    assert len(keys) > 100
    eternal = [key for key in keys if await store.execute("TTL", key) < 0]
    assert [key for key in eternal if not ETERNAL.fullmatch(key)] == []
