"""A store as this version writes it, kept as a file for the versions after it: `python -m tests.upgrade VERSION`.

Run it at the commit that is released, before anything changes. What it makes: bookings on Zoom and Jitsi that were
asked for, moved, cancelled, deleted, erased and left waiting, two offices, two companies.
"""

import asyncio
import json
import sys
import uuid
from pathlib import Path
from typing import Any

from service.store import Store
from tests.events import record
from tests.fakes.zoom_server import ZoomServer
from tests.running import Running, running
from tests.stores import StoreServer

STORED = Path(__file__).parent / "stored"
START = 2_500_000_000
"""When its bookings begin: in 2049."""
JITSI = {"url": "https://meet.example.org", "app_id": "clinic", "secret": "s" * 40, "subject": "meet.example.org"}
OWN_APP = {"account_id": "account-1", "client_id": "s2s-app", "client_secret": "s2s-secret"}
HOST = "anna@example.org"
DIRECT, HOSTED, PLAIN = (f"0f{n}00000-0000-4000-8000-000000000000" for n in range(3))
"""Offices: Zoom's own links, hosted links to Zoom, Jitsi."""
_READ = {"hash": ("HGETALL",), "list": ("LRANGE", 0, -1), "zset": ("ZRANGE", 0, -1, "WITHSCORES"), "string": ("GET",)}
_READ["set"] = ("SMEMBERS",)
_WRITE = {"hash": "HSET", "list": "RPUSH", "zset": "ZADD", "string": "SET", "set": "SADD"}


def environment(zoom: ZoomServer) -> dict[str, Any]:
    """Of a service over such a store."""
    return {"ZOOM_OAUTH_URL": zoom.oauth_url, "ZOOM_API_URL": zoom.api_url}


async def taken(store: Store) -> dict[str, Any]:
    """All keys: kind, milliseconds to live (-1: for ever), content."""
    found = {}
    for key in sorted(await store.execute("KEYS", "*")):
        kind, left = await store.pipeline([("TYPE", key), ("PTTL", key)])
        if kind != "none":
            name, *rest = _READ[kind]
            found[key] = [kind, left, _flat(await store.execute(name, key, *rest))]
    return found


def _flat(content: Any) -> Any:
    if isinstance(content, dict):
        return [text for pair in content.items() for text in pair]
    return sorted(content) if isinstance(content, set) else content


async def put(store: Store, keys: dict[str, Any]) -> None:
    """Fill an empty store with what `taken` took."""
    for key, (kind, left, content) in keys.items():
        if kind == "zset":
            content = [text for at in range(0, len(content), 2) for text in (content[at + 1], content[at])]
        await store.execute(_WRITE[kind], key, *([content] if kind == "string" else content))
        if left > 0:
            await store.execute("PEXPIRE", key, left)


def booking(office: str, **fields: Any) -> dict[str, Any]:
    """A booking of an office."""
    return record(office=office, **{"time": START, **fields})


async def _choose(service: Running, office: str, choice: dict[str, Any]) -> None:
    answer = await service.admin("PUT", f"/offices/{office}", json=choice)
    assert answer.status_code == 200, answer.text


async def _connect(service: Running, provider: str, fields: dict[str, str]) -> str:
    answer = await service.admin("POST", "/connections", json={"provider": provider, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


async def written(store_url: str, zoom: ZoomServer) -> dict[str, Any]:
    """Use a service over an empty store; answers what Vello holds then, by what became of each booking."""
    async with running(store_url, **environment(zoom)) as service:
        account = await _connect(service, "zoom", OWN_APP)
        server = await _connect(service, "jitsi", JITSI)
        hosts = {"connection": account, "default_host": HOST, "name": "Clinic", "time_zone": "Europe/Helsinki"}
        await _choose(service, DIRECT, {**hosts, "link": "direct", "options": {"waiting_room": True}})
        await _choose(service, HOSTED, {**hosts, "link": "hosted", "title": "Visit {record_number}"})
        await _choose(service, PLAIN, {"connection": server, "link": "hosted", "tag": "video"})
        held: dict[str, Any] = {}
        for name, office, at in (
            ("ready", DIRECT, 0),
            ("hosted", HOSTED, 1),
            ("room", PLAIN, 2),
            ("moved", DIRECT, 3),
            ("cancelled", DIRECT, 4),
            ("deleted", HOSTED, 5),
            ("erased", DIRECT, 6),
        ):
            data = booking(office, time=START + at * 7_200)
            held[name] = {"data": data, "link": await service.link(data)}
            await service.settled(data["id"])
        moved = held["moved"]["data"]
        moved |= {"time": moved["time"] + 900, "version": 2, "changed": moved["changed"] + 1}
        await service.say("record.updated", moved)
        for name, event in (("cancelled", "record.cancelled"), ("deleted", "record.deleted")):
            data = held[name]["data"]
            data |= {"canceled": True, "version": 2, "changed": data["changed"] + 1}
            await service.say(event, data)
        for name in ("moved", "cancelled", "deleted"):
            await service.settled(held[name]["data"]["id"])
        await service.app.app.state.erasure.record(held["erased"]["data"]["id"])
        company = {"id": str(uuid.uuid4()), "name": "Second"}
        added = (await service.admin("POST", "/companies", json=company)).json()
        held["company"] = {**company, "url": added["endpoint_url"], "token": added["tokens"][0]}
        await service.say("record.created", (data := booking(DIRECT, time=START + 50_400)))
        held["created"] = {"data": data, "link": None}
        meetings = await zoom.control("GET", "meetings")  # those that stand: the last one is only wished for
        await zoom.faults(fail=[{"status": 500, "times": 50}], only="create")
        waiting = booking(DIRECT, time=START + 64_800)
        held["waiting"] = {"data": waiting, "link": await service.link(waiting)}
        offices = {
            office: (await service.admin("GET", f"/offices/{office}")).json() for office in (DIRECT, HOSTED, PLAIN)
        }
    return {"held": held, "offices": offices, "meetings": meetings}


async def _main(version: str) -> None:
    async with StoreServer() as server, ZoomServer() as zoom:
        told = await written(server.url, zoom)
        store = await Store.open(server.url)
        keys = await taken(store)
        await store.close()
    STORED.mkdir(exist_ok=True)
    (STORED / f"{version}.json").write_text(json.dumps({**told, "keys": keys}, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
