"""The delivery log: every event in and every call out, some days, in bounded space, told to whoever may see it."""

import asyncio
import json
import time
import uuid
from typing import Any

import pytest

from service.deliveries import APART, Answered, Deliveries, Note
from service.shards import shard_of
from service.store import Store
from service.tombs import Tombs
from service.vault import Vault
from tests.events import body, event, record
from tests.processes import Service
from tests.running import ENDPOINT, Running, running
from tests.servers import MemoryServer
from tests.stores import ClusterServers, StoreServer
from tests.tools import need

VAULT = Vault([("k1", bytes(32))])
KEPT = 14 * 86_400


async def lines(service: Running, **asked: Any) -> list[dict[str, Any]]:
    """What the API shows of the log."""
    answer = await service.admin("GET", "/deliveries", **asked)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["deliveries"])


def answered(log: Deliveries, data: dict[str, Any], verdict: str = "new", **fields: Any) -> None:
    """An event that the ledger did not note was answered."""
    said = event("record.updated", data)
    log.answered(Answered(log.note(said, ""), "", said.type, verdict, 1.5, said, **fields))


async def test_an_event_and_its_calls_are_in_the_log_newest_first(store_url: str, meeting_server: MemoryServer) -> None:
    async with running(store_url) as service:
        connection = await service.connect(meeting_server.url)
        data = record()
        await service.say("record.created", data)
        await service.link(data)
        call, asked, made = (each for each in await lines(service, record=data["id"]))
        call, asked = (call, asked) if call["kind"] == "call" else (asked, call)
        assert (made["type"], made["verdict"], made["version"]) == ("record.created", "new", 1)
        assert (asked["type"], asked["verdict"], asked["connection"]) == ("record.update_metadata", "same", connection)
        assert asked["milliseconds"] > 0
        assert (call["verb"], call["verdict"], call["status"], call["attempt"]) == ("create", "ok", 201, 1)
        assert [call["connection"], call["provider"], call["realm"]] == [connection, "memory", ""]
        assert made["event"]
        assert made["replayable"]
        one = await service.admin("GET", f"/deliveries/{made['id']}")
        assert one.json() == made


async def test_the_line_of_an_event_is_there_before_its_answer(store: Store, store_url: str) -> None:
    """A process that is killed at once leaves it; only the time of the answer is missing."""
    async with running(store_url) as service:
        data = record()
        await service.say("record.created", data)
        key = f"vm:{{s{shard_of(data['id'])}}}:log"
        [line] = await store.execute("ZRANGE", key, 0, -1)
        assert json.loads(line)[2] == data["id"]
        assert 0 < await store.execute("PTTL", key) <= KEPT * 1000


async def test_a_line_tells_nobodys_name_link_or_id_but_the_records(store: Store, store_url: str) -> None:
    async with running(store_url) as service:
        link = "https://example.org/j/1?pwd=s3cr3t"
        data = record(metadata={"video_link": link, "note": "Aino Virtanen"}, user=str(uuid.uuid4()))
        await service.say("record.created", data)
        assert len(await lines(service)) == 1
        [stored] = await store.execute("ZRANGE", f"vm:{{s{shard_of(data['id'])}}}:log", 0, -1)
        said = [data[name] for name in ("customer", "user", "resource", "service", "office")] + [link, "Aino"]
        assert [each for each in said if each in stored] == []


@pytest.mark.parametrize(
    ("refused", "verdict", "code"),
    [
        ("signature", "refused", "invalid_signature"),
        ("json", "refused", "invalid_json"),
        ("company", "refused", "unknown_company"),
    ],
)
async def test_what_was_refused_is_in_the_log_with_the_reason(
    store_url: str, refused: str, verdict: str, code: str
) -> None:
    async with running(store_url) as service:
        raw = b"{" if refused == "json" else body("record.created", record())
        if refused == "company":
            await service.post(raw, url=f"{ENDPOINT}/{uuid.uuid4()}")
        else:
            await service.post(raw, token="another" if refused == "signature" else "webhook-token")
        [line] = await lines(service, failing=True)
        assert (line["verdict"], line["code"], line["record"]) == (verdict, code, None)


async def test_a_test_of_the_connection_is_in_the_log(store_url: str) -> None:
    async with running(store_url) as service:
        await service.say("connection.test", {})
        [line] = await lines(service)
        assert (line["type"], line["verdict"], line["failing"]) == ("connection.test", "no_record", False)


async def test_repeats_of_one_question_within_a_second_are_one_line(
    store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        data = record()
        await service.link(data)
        before = len(await lines(service, record=data["id"]))
        for _ in range(20):
            await service.link(data)
        after = await lines(service, record=data["id"])
        assert sum(line["times"] for line in after) == before + 20
        assert len(after) <= before + 10


async def test_what_is_looked_for_is_found_and_pages_tell_every_line_once(
    store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as service:
        connection = await service.connect(meeting_server.url)
        some = [record() for _ in range(30)]
        began = time.time()
        for data in some:
            await service.say("record.created", data)
        await service.link(some[0])
        all_of_them, cursor = list[dict[str, Any]](), None
        while True:
            page = (await service.admin("GET", "/deliveries", limit=7, **({"cursor": cursor} if cursor else {}))).json()
            all_of_them += page["deliveries"]
            cursor = page["cursor"]
            if cursor is None:
                break
        assert len({line["id"] for line in all_of_them}) == len(all_of_them) == 32
        assert [line["at"] for line in all_of_them] == sorted((line["at"] for line in all_of_them), reverse=True)
        assert {line["record"] for line in await lines(service, type="record.created")} == {each["id"] for each in some}
        assert [line["verb"] for line in await lines(service, kind="call", connection=connection)] == ["create"]
        assert await lines(service, until=began - 60) == []
        assert await lines(service, since=time.time() + 60) == []
        assert await lines(service, failing=True) == []
        assert len(await lines(service, verdict="same")) == 1


async def test_old_lines_go_and_the_log_never_outgrows_its_room(store: Store) -> None:
    log = Deliveries(store, VAULT, Tombs(), days=1, lines=64 * 10)
    key = f"vm:{{s{shard_of('old')}}}:log"
    two_days_ago = int(time.time() * 1000) - 2 * 86_400_000
    await store.execute("ZADD", key, two_days_ago, '["0000000001","c","old","","c","p","create","ok",1,1,null]')
    log.called("old", "", "c", "p", "create", "ok", 1, 1, 200)
    [newest], _ = await log.page("99999999999999", 50)
    assert newest.status == 200
    assert await store.execute("ZCARD", key) == 1
    data = record()
    for version in range(40):
        answered(log, {**data, "version": version})
    await log.flush()
    assert await store.execute("ZCARD", f"vm:{{s{shard_of(data['id'])}}}:log") == 10
    for at in range(APART + 50):
        log.answered(Answered(Note(), "?", "other", "refused", 1, code=f"c{at}"))
    await log.flush()
    assert await store.execute("ZCARD", "vm:{s0}:apart") == APART


async def test_old_lines_go_where_nothing_is_written_too(store: Store) -> None:
    line = '["0000000001","c","old","","c","p","create","ok",1,1,null]'
    keys = [f"vm:{{s{shard_of('old')}}}:log", "vm:{s0}:apart"]
    for key in keys:
        await store.execute("ZADD", key, int(time.time() * 1000) - 15 * 86_400_000, line)
    await Deliveries(store, VAULT, Tombs()).trim()
    assert [await store.execute("EXISTS", key) for key in keys] == [0, 0]


async def test_the_ledgers_own_step_keeps_to_the_room_too(store: Store, store_url: str) -> None:
    async with running(store_url, DELIVERY_LOG_LINES="6400") as service:
        data = record()
        key = f"vm:{{s{shard_of(data['id'])}}}:log"
        lately = int(time.time() * 1000) - 3_600_000
        for at in range(120):
            await store.execute("ZADD", key, lately + at, f'["x{at}","c","","","c","p","create","ok",1,1,null]')
        await service.say("record.created", data)
        assert await store.execute("ZCARD", key) == 100


async def test_an_event_that_the_store_could_not_take_is_in_the_log_when_it_is_back(
    meeting_server: MemoryServer,
) -> None:
    async with StoreServer() as server, running(server.url) as service:
        await server.say("CONFIG", "SET", "maxmemory", "1")
        answer = await service.post(body("record.created", record()))
        assert answer.status_code == 503
        await server.say("CONFIG", "SET", "maxmemory", "0")
        [line] = await lines(service, failing=True)
        assert line["verdict"] == "unavailable"


async def test_what_is_written_twice_is_there_once(store: Store) -> None:
    """The client repeats a call whose answer was lost."""
    log, data = Deliveries(store, VAULT, Tombs()), record()
    answered(log, data)
    row = log._row(log._events.popleft())
    await log._write([row])
    await log._write([row, row])
    assert await store.execute("ZCARD", f"vm:{{s{shard_of(data['id'])}}}:log") == 1


async def test_only_lines_of_companies_that_one_sees_are_shown(store_url: str) -> None:
    company = str(uuid.uuid4())
    async with running(store_url) as service:
        made = await service.admin("POST", "/companies", json={"id": company, "name": "Other"})
        token, url = made.json()["tokens"][0], made.json()["endpoint_url"]
        await service.say("record.created", record())
        raw = body("record.created", record(company=company))
        assert (await service.post(raw, url=url, token=token)).status_code == 200
        assert sorted(line["realm"] for line in await lines(service)) == ["", company]


async def test_a_wrong_question_is_refused_in_the_one_shape(store_url: str) -> None:
    async with running(store_url) as service:
        for asked in ({"record": "x"}, {"cursor": "nowhere"}, {"limit": 0}, {"kind": "letter"}, {"since": "soon"}):
            answer = await service.admin("GET", "/deliveries", **asked)
            assert answer.status_code == 422
            assert set(answer.json()["error"]) == {"code", "message"}
        answer = await service.admin("GET", "/deliveries/1.2.abcdef0123")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_delivery")


async def test_many_at_once_lose_none(store: Store) -> None:
    log, data = Deliveries(store, VAULT, Tombs()), [record() for _ in range(700)]
    for each in data:
        answered(log, each)
    await asyncio.gather(log.flush(), log.flush())
    found, cursor = set[str](), "99999999999999"
    while cursor:
        page, more = await log.page(cursor, 100)
        found |= {line.record for line in page if line.record}
        cursor = more or ""
    assert found == {each["id"] for each in data}


async def test_a_process_that_is_killed_leaves_every_event_that_it_took(store: Store, store_url: str) -> None:
    data = [record() for _ in range(20)]
    async with Service(REDIS_URL=store_url, LOG_LEVEL="error") as service:
        for each in data:
            await service.say("record.created", each)
        service.kill()
    log = Deliveries(store, VAULT, Tombs())
    page, _ = await log.page("99999999999999", 100)
    assert {line.record for line in page if line.verdict == "new"} == {each["id"] for each in data}


async def test_it_is_the_same_on_a_cluster() -> None:
    async with ClusterServers(need("redis-server")) as cluster, running(cluster.url) as service:
        data = [record() for _ in range(12)]
        for each in data:
            await service.say("record.created", each)
        await service.say("connection.test", {})
        found = await lines(service)
        assert {line["record"] for line in found} == {None, *(each["id"] for each in data)}
        assert (await service.admin("POST", f"/deliveries/{found[-1]['id']}/replay")).json()["verdict"] == "same"
