"""Nothing secret in logs, answers, errors or, in clear, in the store; and every key has its time to live."""

import base64
import json
import re
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import redis
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from service.vello import sign
from tests.events import body, record
from tests.fakes.own_system import OwnSystem
from tests.processes import ADMIN, KEYS, TOKEN, Service
from tests.servers import MemoryServer
from tests.stores import StoreServer

APP_SECRET = "app-secret-of-at-least-thirty-two-bytes"
BEARER = "bearer-of-the-reference-server"
COMPANY_TOKEN = "token-of-another-company"
CUSTOMER = "Aino Virtanen"
OWN_SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
PEM = (
    rsa.generate_private_key(65537, 2048)
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    .decode()
)
ETERNAL = re.compile(
    r"vm:(offices|offices:seen|connections|connections:health|companies|reached|keys|tombs|logos)|vm:\{s\d+\}:(due|index|rev)"
)


def contents(server: StoreServer) -> bytes:
    """Everything in the store as the bytes it is made of, keys and values, and what it wrote to its disk."""
    reads = {b"hash": ("HGETALL",), b"list": ("LRANGE", 0, -1), b"zset": ("ZRANGE", 0, -1), b"string": ("GET",)}
    reads[b"set"] = ("SMEMBERS",)
    found: list[bytes] = []

    def flatten(value: Any) -> None:
        if isinstance(value, dict):
            flatten(list(value.items()))
        elif isinstance(value, list | tuple | set):
            for one in value:
                flatten(one)
        else:
            found.append(value)

    with redis.Redis.from_url(server.url, decode_responses=False) as client:
        for key in client.scan_iter("*", count=1000):
            kind: bytes = client.type(key)
            if kind == b"none":  # its time is over
                continue
            verb, *rest = reads[kind]
            flatten([key, client.execute_command(verb, key, *rest)])
    written = [path.read_bytes() for path in server.socket.parent.rglob("*.aof")]
    assert written
    return b"\n".join(found + written)


async def provoke(service: Service, vendor: MemoryServer) -> tuple[list[str], list[str]]:
    """Bookings and every error we can think of; answers what people saw, and the secrets that arose."""
    seen, secrets = [], []
    jitsi = {"provider": "jitsi", "url": "https://meet.example.org", "app_id": "app", "secret": APP_SECRET}
    pair = {"provider": "jitsi", "url": "https://meet.example.org", "app_id": "app", "private_key": PEM, "key_id": "k"}
    memory = {"provider": "memory", "url": vendor.url, "token": BEARER}
    made = [await service.admin("POST", "/connections", json=fields) for fields in (jitsi, pair, memory)]
    seen += [answer.text for answer in made]
    refused: list[Any] = [{**jitsi, "colour": 1}, {**jitsi, "private_key": APP_SECRET}, {**pair, "app_id": None}]
    refused += [{"provider": "x", "secret": APP_SECRET}, {**pair, "private_key": PEM[:-90]}, [APP_SECRET], APP_SECRET]
    refused += [{**jitsi, "secret": [APP_SECRET]}, {**memory, "token": {"x": BEARER}}, {**jitsi, "url": APP_SECRET}]
    seen += [(await service.admin("POST", "/connections", json=fields)).text for fields in refused]
    broken = f'{{"provider": "jitsi", "secret": "{APP_SECRET}'.encode()
    headers = {**service.as_admin, "Content-Type": "application/json"}
    seen.append((await service.request("POST", "/api/v1/connections", content=broken, headers=headers)).text)
    company = {"id": str(uuid.uuid4()), "name": "North", "tokens": [COMPANY_TOKEN]}
    await service.admin("POST", "/companies", json=company)  # the one answer that shows a token, once
    seen.append((await service.admin("POST", "/companies", json=company)).text)
    seen.append((await service.admin("POST", "/companies", json={**company, "id": 1, "tokens": COMPANY_TOKEN})).text)
    people = {"details": {"name": CUSTOMER}, "customer_name": CUSTOMER}
    for connection in (answer.json()["id"] for answer in made):
        await service.admin("PUT", "/offices/default", json={"connection": connection, "link": "hosted"})
        faults: list[dict[str, Any]] = [{}, {"lose_answers": 1}, {"fail": [{"status": 401, "times": 1}]}]
        faults += [{"fail": [{"status": 500, "times": 1}]}, {"fail": [{"status": 400, "times": 9}]}]
        for fault in faults:
            await vendor.faults(**fault)
            data = record(time=1_000_000_000, **people)
            asked = await service.say("record.update_metadata", data)
            link = asked.json()["metadata"]["video_link"]
            seen.append(asked.text)
            into = await service.request("GET", f"{urlsplit(link).path}/join")
            secrets.append(into.headers.get("location", ""))
            await vendor.faults()
            await service.say("record.updated", {**data, "version": 2, "time": 1_900_000_000})
            seen.append(link + (await service.request("GET", urlsplit(link).path)).text)
            shown = (await service.admin("GET", f"/records/{data['id']}")).json()
            secrets += [str(shown["join_url"] or ""), shown["host_link"].rpartition("/")[2]]
            for path in ("", "/start"):
                at_the_hosts = await service.request("GET", urlsplit(shown["host_link"]).path + path)
                secrets.append(at_the_hosts.headers.get("location", ""))
        seen.append((await service.admin("POST", f"/connections/{connection}/test")).text)
    raw = body("record.updated", record(time="soon", **people))
    for signature in ("wrong", TOKEN, sign(TOKEN, service.endpoint, raw)):
        for path in ("/webhooks/vello", f"/webhooks/vello/{company['id']}"):
            answer = await service.request("POST", path, content=raw, headers={"Vello-Signature": signature})
            seen.append(answer.text)
    raw = b'{"type": "' + CUSTOMER.encode()
    signed = {"Vello-Signature": sign(TOKEN, service.endpoint, raw)}
    seen.append((await service.request("POST", "/webhooks/vello", content=raw, headers=signed)).text)
    for path in (f"/m/{TOKEN}?jwt={APP_SECRET}", f"/nowhere?token={ADMIN}", f"/m/x/join?pwd={BEARER}"):
        seen.append((await service.request("GET", path)).text)
    seen.append((await service.say("record.updated", record(language=7, **people))).text)
    for path in ("/connections", "/offices", "/companies", "/records/x"):
        seen.append((await service.admin("GET", path)).text)
    seen.append((await service.request("GET", "/api/v1/offices", headers={"Authorization": "Bearer hush-hush"})).text)
    return seen, secrets


async def enter(service: Service) -> tuple[list[str], list[str]]:
    """A booking with a passcode and a telephone; answers what others than its guest saw, and what opens it."""
    passcode, code = "Pass-code_of*guests", "98765432101"
    seen = []
    async with OwnSystem(OWN_SECRET, ["keeps_link", "opens_in_browser"]) as system:
        system.entrance = {"passcode": passcode, "dial_in": [{"number": "+358 9 555 0100", "codes": [code]}]}
        fields = {"provider": "http_provider", "url": system.url, "secret": OWN_SECRET}
        made = await service.admin("POST", "/connections", json={**fields, "capabilities": system.capabilities})
        await service.admin("PUT", "/offices/default", json={"connection": made.json()["id"], "link": "hosted"})
        data = record()
        asked = await service.say("record.update_metadata", data)
        path = urlsplit(asked.json()["metadata"]["video_link"]).path
        page = (await service.request("GET", path)).text
        assert passcode in page
        assert f"{code}#" in page
        for other in (f"{path}.ics", f"{path}/join"):
            seen.append((await service.request("GET", other)).text)
        seen.append((await service.say("record.updated", {**data, "version": 2, "duration": 60})).text)
        shown = await service.admin("GET", f"/records/{data['id']}")
        seen += [made.text, asked.text, shown.text, (await service.admin("GET", "/records")).text]
        seen.append((await service.request("GET", urlsplit(shown.json()["host_link"]).path)).text)
    return seen, [passcode, code, OWN_SECRET, shown.json()["host_link"].rpartition("/")[2]]


def assert_kept(secrets: set[str], *places: bytes) -> None:
    """None of the secrets is in any of the places, in clear or as JSON writes it."""
    assert len(secrets) > 10
    for place in places:
        assert [one for one in secrets if one.encode() in place or json.dumps(one)[1:-1].encode() in place] == []


@pytest.mark.parametrize("log_format", ["json", "text"])
async def test_nothing_secret_gets_out_and_every_key_lives_for_a_time(tmp_path: Path, log_format: str) -> None:
    log = tmp_path / "log"
    settings = {"LOG_LEVEL": "debug", "LOG_FORMAT": log_format}
    async with StoreServer() as store:
        with MemoryServer(token=BEARER) as vendor:
            async with Service(REDIS_URL=store.url, log=log, **settings) as service:
                seen, arisen = await provoke(service, vendor)
                more, entrance = await enter(service)
                data = record()
                for kind in ("record.update_metadata", "record.cancelled", "record.deleted", "connection.test"):
                    await service.say(kind, data)
                await service.say("record.deleted", {"id": record()["id"]})
                assert await service.stop() == 0
        stored = contents(store)
        with redis.Redis.from_url(store.url, decode_responses=True) as client:
            keys: list[str] = client.keys("*")
            eternal = [key for key in keys if client.ttl(key) == -1]
    assert len(keys) > 100
    assert [key for key in eternal if not ETERNAL.fullmatch(key)] == []
    minted = [unquote(urlsplit(url).fragment).removeprefix('jwt="').rstrip('"') for url in arisen if "#jwt=" in url]
    assert len(minted) >= 10
    logged, shown = log.read_bytes(), "\n".join(seen)
    assert b"provider_call" in logged
    known = {TOKEN, ADMIN, KEYS, KEYS.partition(":")[2], APP_SECRET, BEARER, COMPANY_TOKEN, *PEM.splitlines()[1:-1]}
    secrets = {*known, CUSTOMER, "hush-hush", *minted, *arisen} - {""}
    assert_kept(secrets, stored, logged, shown.encode())
    assert_kept({*entrance[:-1], *known, CUSTOMER}, stored, logged, "".join(more).replace(entrance[-1], "").encode())
    assert entrance[-1].encode() not in stored + logged
    hosted = set(re.findall(r"/m/([\w-]{23})", shown))
    assert hosted
    assert [token for token in hosted if token.encode() in logged] == []
