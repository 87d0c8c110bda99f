"""The doctor: whatever is broken has its line, and its cure."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.commands import examine
from service.companies import Companies, Company
from service.doctor import server
from service.doctor.finding import CHECKS, Finding, Report
from service.store import Store
from service.vault import Vault
from tests.browsing import listening, served
from tests.events import record
from tests.fakes.zoom_server import ZoomServer
from tests.hook import SECRET, receiver
from tests.mailbox import Mailbox, mailbox
from tests.processes import ADMIN, KEYS, TOKEN, Service
from tests.running import Running, running
from tests.servers import MemoryServer, RawServer, http, message
from tests.stores import ScriptedServer, StoreServer, info
from tests.test_cli import command
from tests.test_zoom_bookings import own_app, zoomed

NOWHERE = "http://127.0.0.1:1"
DOCS = (Path(__file__).parent.parent / "docs" / "doctor.md").read_text()


async def examined(
    redis_url: str, connection: str | None = None, notice: bool = False, /, **environment: str
) -> Report:
    """What the doctor says of an installation on a store."""
    given = {"REDIS_URL": redis_url, "PUBLIC_URL": NOWHERE, "VELLO_WEBHOOK_TOKEN": TOKEN, "ADMIN_TOKEN": ADMIN}
    return await examine(connection, {**given, "SECRET_KEYS": KEYS, **environment}, notice=notice)


def the(report: Report, check: str, about: str | None = None) -> Finding:
    """The one line of a check."""
    (found,) = [each for each in report.findings if each.check == check and about in (None, each.about)]
    return found


def status(report: Report, check: str) -> str:
    """How a check went."""
    return the(report, check).status


async def dump(store: Store) -> dict[str, Any]:
    """Everything in the store, but the key that says that it took a write, and the log of what strangers sent."""
    kinds = {"hash": "HGETALL", "string": "GET"}
    found = {}
    for key in await store.execute("KEYS", "vm:*"):
        kind = await store.execute("TYPE", key)
        whole = (kinds[kind], key) if kind in kinds else ("DUMP", key)
        found[key] = await store.execute(*whole) if kind in kinds else kind
    found.pop("vm:ready", None)
    found.pop("vm:{s0}:apart", None)
    return found


async def test_a_sound_installation_is_told_so_and_left_as_it_was(
    store: Store, store_url: str, meeting_server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a service that runs: its page, its webhook, and a meeting that comes and goes; never taken for Vello."""
    monkeypatch.setattr(server, "SLOW", 60.0)  # this machine may be busy, not the store
    monkeypatch.setattr(server, "TOO_SLOW", 60.0)
    async with (
        listening() as (listener, url),
        served(listener, url, store_url),
        running(store_url, PUBLIC_URL=url) as admin,
    ):
        connection = await admin.connect(meeting_server.url, token="secret-of-the-server")
        await admin.admin("POST", "/companies", json={"id": record()["id"], "name": "North"})
        before = await dump(store)
        report = await examined(store_url, connection, PUBLIC_URL=url)
        assert await dump(store) == before
        assert (await admin.admin("GET", "/companies")).json()["companies"][0].get("reached_at") is None
    assert report.well, report.table()
    seen = {each.check for each in report.findings}
    neither = {"connection.scopes", "connection.budget", "notices.mail", "notices.webhook"}  # has this installation
    assert set(CHECKS) - seen == neither
    (trial, nobody, here) = [each for each in report.findings if each.status != "ok"]
    assert ("for trials only" in trial.text, "this machine" in here.text) == (True, True)
    assert nobody.text == "Nobody is told when something needs a person."
    assert await meeting_server.meetings() == []
    assert [call["verb"] for call in await meeting_server.calls()].count("create") == 1
    said = report.table() + json.dumps(report.json())
    assert [secret for secret in (TOKEN, ADMIN, KEYS[3:], "secret-of-the-server") if secret in said] == []


async def test_every_variable_that_is_wrong_is_named_at_once() -> None:
    report = await examined("nowhere", ANSWER_DEADLINE="soon", SECRET_KEYS="k1:hush-hush", OIDC_CLIENT_ID="x")
    named = {each.about for each in report.findings}
    assert {"REDIS_URL", "ANSWER_DEADLINE", "SECRET_KEYS", "OIDC_ISSUER"} <= named
    assert all(each.check == "configuration" and each.cure for each in report.findings)
    assert set(report.skipped) == set(CHECKS) - {"configuration"}
    assert "hush-hush" not in report.table()


async def test_a_guessable_admin_token_is_a_warning(store_url: str) -> None:
    found = the(await examined(store_url, ADMIN_TOKEN="short"), "configuration", "ADMIN_TOKEN")
    assert (found.status, "openssl" in str(found.cure)) == ("warning", True)


async def test_a_store_that_cannot_be_reached_or_is_too_old_is_said_and_the_rest_goes_on(tmp_path: Path) -> None:
    report = await examined(f"unix://{tmp_path}/nothing")
    assert (status(report, "store"), "REDIS_URL" in str(the(report, "store").cure)) == ("problem", True)
    assert {"clock", "keys", "connection", "store.memory"} <= set(report.skipped)
    assert {"public_url", "webhook"} <= {each.check for each in report.findings}
    async with ScriptedServer({"INFO": info(redis_version="5.0.7")}) as old:
        found = the(await examined(old.url), "store")
    assert (found.status, found.cure) == ("problem", "Use Redis 6.2, Valkey 7.2 or newer.")
    assert "5.0.7" in found.text


async def test_a_store_set_up_to_forget_or_to_drop_is_a_problem_and_a_full_one_a_warning() -> None:
    async with StoreServer() as forgetful:
        await forgetful.say("CONFIG", "SET", "appendonly", "no")
        await forgetful.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        report = await examined(forgetful.url)
        assert status(report, "store") == "ok"
        assert status(report, "store.memory") == "ok"
        persistence, eviction = the(report, "store.persistence"), the(report, "store.eviction")
        assert (persistence.status, persistence.cure) == ("problem", "Set appendonly yes.")
        assert (eviction.status, eviction.cure) == ("problem", "Set maxmemory-policy noeviction.")
        await forgetful.say("CONFIG", "SET", "maxmemory-policy", "noeviction")
        await forgetful.say("SET", "ballast", "x" * (32 << 20))
        for most, expected in ((37 << 20, "warning"), (1 << 30, "ok")):
            await forgetful.say("CONFIG", "SET", "maxmemory", most)
            assert status(await examined(forgetful.url), "store.memory") == expected
        await forgetful.say("CONFIG", "SET", "maxmemory", 8 << 20)
        full = the(await examined(forgetful.url), "store")
        assert (full.status, "out of memory" in full.text) == ("problem", True)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"aof_enabled": "0", "connected_slaves": "1"}, ("store.persistence", "warning")),
        ({"aof_enabled": "1", "aof_last_write_status": "err"}, ("store.persistence", "problem")),
        ({"used_memory": "97", "maxmemory": "100"}, ("store.memory", "problem")),
    ],
    ids=["replica instead of a file", "full disk", "nearly full"],
)
async def test_what_a_server_says_of_itself_is_weighed(fields: dict[str, str], expected: tuple[str, str]) -> None:
    says = info(redis_version="7.2.0", redis_mode="standalone", **fields)
    ours = f"*2\r\n:{int(time.time())}\r\n:0\r\n".encode()
    async with ScriptedServer({"INFO": says, "TIME": ours}) as scripted:
        store, report = await Store.open(scripted.url), Report()
        await server.look(report, store)
        await store.close()
    check, weighed = expected
    assert (status(report, check), bool(the(report, check).cure)) == (weighed, True)


@asynccontextmanager
async def slowly(store_url: str, seconds: float) -> AsyncIterator[str]:
    """A way to a store on which each answer takes longer."""
    loop = asyncio.get_running_loop()
    tasks = []

    async def carry(reader: asyncio.StreamReader, write: Callable[[bytes], Any]) -> None:
        while data := await reader.read(1 << 16):
            write(data)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_unix_connection(store_url.removeprefix("unix://"))
        back = asyncio.create_task(carry(theirs, lambda data: loop.call_later(seconds, writer.write, data)))
        tasks.append(back)
        await carry(reader, ours.write)
        back.cancel()
        ours.close()
        writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    yield f"redis://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    listener.close()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_store_far_away_is_a_warning_and_one_too_far_a_problem(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PINGS", 12)  # else it takes a minute
    for seconds, expected in ((0.08, "warning"), (0.3, "problem")):
        async with slowly(valkey_url, seconds) as url:
            store, report = await Store.open(url), Report()
            await server.look(report, store)
            await store.close()
        assert (status(report, "store.latency"), bool(the(report, "store.latency").cure)) == (expected, True)


@pytest.mark.parametrize(
    ("ahead", "expected", "says"),
    [(0, "ok", ""), (-20, "warning", "20.0 s behind"), (3600, "problem", "ahead")],
)
async def test_a_clock_that_goes_wrong_is_told(store: Store, ahead: float, expected: str, says: str) -> None:
    report = Report()
    await server.look(report, store, lambda: time.time() + ahead)
    found = the(report, "clock")
    assert (found.status, says in found.text, bool(found.cure)) == (expected, True, expected != "ok")


@pytest.mark.parametrize("keys", ["k2:" + "B" * 43 + "=", "k1:" + "B" * 43 + "="], ids=["another", "other bytes"])
async def test_a_key_that_sealed_something_and_is_not_here_is_named(
    store: Store, store_url: str, meeting_server: MemoryServer, keys: str
) -> None:
    async with running(store_url) as service:
        connection = await service.connect(meeting_server.url)
    before = await dump(store)
    report = await examined(store_url, SECRET_KEYS=keys)
    found = the(report, "keys")
    assert (found.status, found.about, "SECRET_KEYS" in str(found.cure)) == ("problem", "k1", True)
    assert the(report, "connection", connection).status == "problem"
    assert await dump(store) == before


async def test_a_damaged_secret_is_told_with_whose_it_is(store: Store, store_url: str) -> None:
    async with running(store_url, JITSI_URL="https://meet.example.org"):
        pass
    row = json.loads(await store.execute("HGET", "vm:connections", "jitsi"))
    row["envelope"] = row["envelope"][:-6] + "AAAAAA"
    await store.execute("HSET", "vm:connections", "jitsi", json.dumps(row))
    found = the(await examined(store_url), "keys")
    assert (found.status, found.about) == ("problem", "connection jitsi")


@asynccontextmanager
async def proxy(target: str, change: Callable[[bytes], bytes]) -> AsyncIterator[str]:
    """What stands before a service and changes what people send it."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _, body = (await message(reader)).partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, path, _ = first.split(" ")
        given = dict(line.split(": ", 1) for line in lines)
        kept = {name: value for name, value in given.items() if name.lower() == "vello-signature"}
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            answer = await client.request(method, target + path, content=change(body), headers=kept)
        robots = answer.headers.get("x-robots-tag", "")
        writer.write(http(answer.status_code, answer.content, x_robots_tag=robots))
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    listener.close()
    await listener.wait_closed()


def php(body: bytes) -> bytes:
    """As JSON comes out of one that writes it without spaces."""
    return json.dumps(json.loads(body), separators=(",", ":")).encode() if body else body


def spaced(body: bytes) -> bytes:
    """And of one that writes it with them."""
    return json.dumps(json.loads(body)).encode() if body else body


@pytest.mark.parametrize("change", [bytes, php, spaced])
async def test_a_proxy_that_writes_bodies_anew_is_named(store_url: str, change: Callable[[bytes], bytes]) -> None:
    async with listening() as (listener, inside), proxy(inside, change) as url, served(listener, url, store_url):
        report = await examined(store_url, PUBLIC_URL=url)
    found = the(report, "webhook")
    assert status(report, "public_url") == "warning"
    if change is bytes:
        assert found.status == "ok", found
    else:
        assert (found.status, "anew" in found.text, "byte for byte" in str(found.cure)) == ("problem", True, True)


async def test_a_service_with_another_token_or_url_is_told_from_a_proxy(store_url: str) -> None:
    async with listening() as (listener, url), served(listener, url, store_url, VELLO_WEBHOOK_TOKEN="another"):
        found = the(await examined(store_url, PUBLIC_URL=url), "webhook")
    assert (found.status, "token" in str(found.cure), "anew" in found.text) == ("problem", True, False)


@pytest.mark.parametrize(
    ("answer", "page", "hook"),
    [
        (http(301, b"", location="https://elsewhere.example"), "another address", "another address"),
        (http(502, b"<html>"), "Something else", "does not reach the service"),
        (http(200, b"{}"), "Something else", "not this service"),
        (http(403, b"<html>"), "Something else", "Something else"),
        (http(503, b'{"error": {"code": "store_unavailable"}}'), "Something else", "its store"),
        (http(404, b'{"error": {"code": "unknown_company"}}'), "Something else", "this company"),
    ],
    ids=["redirect", "bad gateway", "yes to all", "forbidden", "no store", "no company"],
)
async def test_what_answers_in_the_services_place_is_told(store_url: str, answer: bytes, page: str, hook: str) -> None:
    async with RawServer(answer) as other:
        report = await examined(store_url, PUBLIC_URL=other.url)
    for check, says in (("public_url", page), ("webhook", hook)):
        found = the(report, check)
        assert (found.status, says in found.text, bool(found.cure)) == ("problem", True, True), found


async def test_a_company_of_its_own_is_tried_at_its_own_address(store: Store, store_url: str) -> None:
    vault = Vault([("k1", bytes(32))])
    own = Company("own", "", (f"{NOWHERE}/webhooks/vello",), (TOKEN,))
    url = f"{NOWHERE}/webhooks/vello/north"
    await Companies(store, vault, own).add(Company("north", "North", (url,), ("token",)))
    assert the(await examined(store_url), "webhook", url).status == "problem"


async def test_connections_that_do_not_answer_or_refuse_us_are_told(
    store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as service, MemoryServer(token="right") as strict:
        dead = await service.connect(NOWHERE)
        refused = await service.connect(strict.url, token="wrong")
        good = await service.connect(meeting_server.url)
        report = await examined(store_url, dead)
    assert [each.status for each in report.findings if each.about == good] == ["ok", "warning"]  # it is for trials
    assert the(report, "connection", dead).status == "problem"
    assert report.skipped == ["connection.meeting", "connection.options"]
    assert "status page" in str(the(report, "connection", dead).cure)
    found = the(report, "connection", refused)
    assert (found.status, f"/connections/{refused}" in str(found.cure)) == ("problem", True)
    assert not report.well


async def test_a_meeting_that_cannot_be_made_or_found_is_told(store_url: str, meeting_server: MemoryServer) -> None:
    async with running(store_url) as service:
        connection = await service.connect(meeting_server.url)
        await meeting_server.faults(fail=[{"status": 400}], only="create")
        report = await examined(store_url, connection)
    found = the(report, "connection.meeting")
    assert (found.status, found.text.startswith("create: "), bool(found.cure)) == ("problem", True, True)
    assert await meeting_server.meetings() == []


async def test_without_a_connection_or_with_an_unknown_one_it_says_what_there_is(store_url: str) -> None:
    report = await examined(store_url, "nobody")
    assert the(report, "connection", "nobody").status == "problem"
    assert [each.status for each in report.findings if each.check == "connection"] == ["problem", "warning"]


async def test_an_account_says_what_it_lacks_what_it_forces_and_what_is_left(store_url: str, zoom: ZoomServer) -> None:
    async with zoomed(store_url, zoom) as service:
        connection = await own_app(service)
        sound = await at_zoom(store_url, zoom, connection)
        await zoom.user(locked={"waiting_room": True}, embeds_passcode=False)
        forced = await at_zoom(store_url, zoom, connection)
        await spend(service, store_url, connection)
        spent = await at_zoom(store_url, zoom, connection)
    assert [status(sound, f"connection.{name}") for name in ("scopes", "budget", "meeting", "options")] == ["ok"] * 4
    options = [each for each in forced.findings if each.check == "connection.options"]
    assert ["waiting room" in options[0].text, "passcode" in options[1].text] == [True, True]
    assert {(each.status, bool(each.cure)) for each in options} == {("warning", True)}
    budget = the(spent, "connection.budget")
    assert (budget.status, "20 of 100" in budget.text, bool(budget.cure)) == ("warning", True, True)
    assert len(await zoom.meetings()) == 1  # the booking's


async def at_zoom(store_url: str, zoom: ZoomServer, connection: str) -> Report:
    """What the doctor says of a connection to the fake."""
    return await examined(store_url, connection, ZOOM_OAUTH_URL=zoom.oauth_url, ZOOM_API_URL=zoom.api_url)


async def spend(service: Running, store_url: str, connection: str) -> None:
    """Draw all but the last twenty meetings of Anna's day."""
    store = await Store.open(store_url)
    await service.link(record())
    (key,) = await store.execute("KEYS", "vm:budget:*")
    (name,) = [name for name in await store.execute("HKEYS", key) if name.startswith("h:")]
    await store.execute("HSET", key, name, 80)
    await store.close()


async def test_a_scope_that_was_not_granted_is_a_problem(store: Store, store_url: str, zoom: ZoomServer) -> None:
    async with zoomed(store_url, zoom) as service:
        connection = await own_app(service)
        (grant,) = await store.execute("KEYS", "vm:grant:*")
        scopes = (await store.execute("HGET", grant, "scopes")).replace("meeting:delete:meeting:admin", "")
        await store.execute("HSET", grant, "scopes", scopes)
        found = the(await at_zoom(store_url, zoom, connection), "connection.scopes")
    assert (found.status, "remove meetings" in found.text, bool(found.cure)) == ("problem", True, True)


async def test_the_command_shares_a_running_services_store_and_needs_none(tmp_path: Path) -> None:
    """And before the first start it makes nothing."""
    given = {
        "DATA_DIR": str(tmp_path / "data"),
        "VELLO_WEBHOOK_TOKEN": TOKEN,
        "ADMIN_TOKEN": ADMIN,
        "SECRET_KEYS": KEYS,
    }
    fresh = await asyncio.to_thread(command, "doctor", DATA_DIR=given["DATA_DIR"])
    empty = await asyncio.to_thread(command, "doctor", **given)
    assert (fresh.returncode, "start the service once" in fresh.stdout) == (1, True), fresh.stdout + fresh.stderr
    assert "There is none yet" in empty.stdout, empty.stdout + empty.stderr
    assert not (tmp_path / "data").exists()
    async with Service(DATA_DIR=given["DATA_DIR"]) as service:
        shared = await asyncio.to_thread(command, "doctor", "--json", PUBLIC_URL=service.base, **given)
        assert (await service.admin("GET", "/companies")).status_code == 200
        assert await service.stop() == 0
    report = json.loads(shared.stdout)
    assert (shared.returncode, report["ok"], shared.stderr) == (0, True, "")
    assert set(report) == {"ok", "version", "checks", "skipped"}
    assert {frozenset(each) for each in report["checks"]} == {frozenset(("check", "about", "status", "text", "cure"))}
    alone = await asyncio.to_thread(command, "doctor", PUBLIC_URL=service.base, **given)
    assert (alone.returncode, "ok       store " in alone.stdout) == (1, True), alone.stdout + alone.stderr
    assert "cannot be reached" in alone.stdout


@pytest.mark.parametrize("check", CHECKS)
def test_every_check_is_documented(check: str) -> None:
    assert f"| `{check}` |" in DOCS


async def test_ways_to_tell_people_are_tried_and_a_test_notice_says_what_was_answered(
    store: Store, store_url: str
) -> None:
    async with mailbox() as box, receiver() as program:
        told = {
            **mailed(box),
            "NOTICE_WEBHOOK_URL": program.url,
            "NOTICE_WEBHOOK_SECRET": SECRET,
            "NOTICE_LANGUAGE": "sv",
        }
        quiet = await examined(store_url, **told)
        assert (status(quiet, "notices.mail"), status(quiet, "notices.webhook")) == ("ok", "ok")
        assert (box.messages, program.calls) == ([], 0)
        loud = await examined(store_url, None, True, **told)
        assert the(loud, "notices.mail").text == "A test notice arrived: 250 2.0.0 queued as 4711."
        assert the(loud, "notices.webhook").text == "A test notice arrived: 127.0.0.1 took it (status 204)."
        assert box.messages[0]["Subject"] == "Videomöten: ett testmeddelande"
        box.data, program.answers = "554 5.7.1 no", [410]
        loud = await examined(store_url, None, True, **told)
        for check, said in (("notices.mail", "554 5.7.1 no"), ("notices.webhook", "status 410")):
            assert (status(loud, check), said in the(loud, check).text) == ("problem", True)
        assert "key=of-the-program" not in loud.table()


async def test_a_mail_server_that_is_down_is_a_problem_and_that_nobody_could_be_told_stays_said(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async with mailbox() as box:
        given = mailed(box)
        async with running(store_url, **given) as service:
            await service.connect(meeting_server.url)
            await meeting_server.faults(fail=[{"status": 401, "times": 9}], only="create")
            await service.link(record())
            box.data = "421 4.3.2 shutting down"
            await service.app.app.state.sender.look()
    gone = [each for each in (await examined(store_url, **given)).findings if each.check == "notices.mail"]
    assert [each.status for each in gone] == ["warning", "problem"]
    assert "421 4.3.2 shutting down" in gone[0].text
    assert "cannot be reached" in gone[1].text


def mailed(box: Mailbox) -> dict[str, Any]:
    """The environment in which notices go to a mail server."""
    people = {"SMTP_FROM": "vello@clinic.example", "NOTICE_EMAILS": "it@clinic.example"}
    return {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(box.port), "SMTP_TLS": "none", **people}
