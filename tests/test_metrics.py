"""What Prometheus reads: every name documented, every figure right, nothing unbounded, an answer without a store."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from providers.base import Budget
from service.budget import Budgets, Purse
from service.clock import skew
from service.connections import HealthState
from service.gate import GateState
from service.ledger import Ledger
from service.metrics import Metrics
from service.store import Store
from service.swept import SweepReport
from service.vault import Vault
from service.verbs import Backlog
from tests.events import START, body, event, record
from tests.fakes.zoom_server import ZoomServer
from tests.ports import free_port
from tests.processes import Service
from tests.running import PUBLIC, Running, running
from tests.servers import MemoryServer
from tests.stores import StoreServer
from tests.waiting import wait_until

PAGE = (Path(__file__).parent.parent / "docs" / "metrics.md").read_text()
VAULT = Vault([("k1", b"k" * 32)])


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample of ours by name and the values of its labels in the order of their names."""
    return {
        (
            sample.name.removeprefix("vello_meetings_"),
            tuple(value for _, value in sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("vello_meetings_")
    }


def everything() -> Metrics:
    """Metrics in which each was fed once."""
    metrics = Metrics()
    metrics.event("record.created", "new", 0.1)
    metrics.call("memory", "create", "ok", 0.1)
    metrics.takeover()
    metrics.refresh("zoom", "ok")
    metrics.notice("mail", "told")
    return metrics


async def scraped(service: Running) -> dict[tuple[str, tuple[str, ...]], float]:
    answer = await service.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return samples(answer.text)


def families() -> Iterator[tuple[str, str, list[str]]]:
    swept = SweepReport(1, 2, 3, {"repair": 4}, {"c1": "It hangs."})
    rest: tuple[Any, ...] = ({"c1": "open"}, {"c1": "reconnect"}, {"c1": 0.5}, 0.0, {"clock": 1}, {"mail": 9.0}, swept)
    for family in text_string_to_metric_families(everything().render(Backlog(1, 2, 3.0), *rest).decode()):
        if family.name.startswith("vello_meetings_"):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield name, family.type, sorted({label for sample in family.samples for label in sample.labels} - {"le"})


def test_every_metric_is_documented_with_its_type_and_labels_and_no_other_is() -> None:
    rows = re.findall(r"^\| `(vello_meetings_\w+)` \| (\w+) \| (.*?) \|", PAGE, re.MULTILINE)
    documented = sorted((name, kind, sorted(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows)
    assert documented == sorted(families())


async def test_events_answers_and_calls_are_counted_by_what_became_of_them(
    store_url: str, meeting_server: MemoryServer
) -> None:
    data = record()
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        await service.link(data)
        await service.link(data)
        await service.say("record.updated", {**data, "version": 2, "time": START + 60})
        await service.settled(data["id"])
        await service.say("record.updated", data)
        await service.say("connection.test", {})
        await service.client.post("/webhooks/vello", content=b"{}")
        seen = await scraped(service)
    assert seen["events_total", ("new", "record.update_metadata")] == 1
    assert seen["events_total", ("same", "record.update_metadata")] == 1
    assert seen["events_total", ("new", "record.updated")] == 1
    assert seen["events_total", ("old", "record.updated")] == 1
    assert seen["events_total", ("no_record", "connection.test")] == 1
    assert seen["events_total", ("refused", "other")] == 1
    assert seen["answer_seconds_count", ("record.update_metadata",)] == 2
    assert seen["provider_call_seconds_count", ("ok", "memory", "create")] == 1
    assert seen["provider_call_seconds_count", ("ok", "memory", "update")] == 1
    assert (seen["store_up", ()], seen["due_records", ()], seen["scheduled_records", ()]) == (1, 0, 0)


async def test_whatever_an_event_calls_itself_there_is_one_label_for_it(store_url: str) -> None:
    async with running(store_url) as service:
        for number in range(20):
            await service.say(f"made.up.{number}", {})
        answer = (await service.client.get("/metrics")).text
    assert "made.up" not in answer
    assert samples(answer)["events_total", ("no_record", "other")] == 20


async def test_what_is_overdue_is_counted_by_the_stores_clock(store: Store, store_url: str) -> None:
    """Nobody works on it: a process with role web is asked, and one record's lease has run out."""
    ledger = Ledger(store, VAULT, lease_seconds=0.05)
    assert await ledger.backlog() == Backlog(0, 0, 0.0)
    held = Ledger(store, VAULT, lease_seconds=30)
    for keeper in (ledger, held):
        await keeper.accept(event("record.update_metadata", record()), "", f"{PUBLIC}/m/", inline=True)

    async def overdue() -> bool:
        return (await ledger.backlog()).oldest > 0.2

    await wait_until(overdue)
    assert (await ledger.backlog()).due == 1
    async with running(store_url, role="web") as service:
        seen = await scraped(service)
        assert (seen["due_records", ()], seen["scheduled_records", ()]) == (1, 2)
        assert 0.2 < seen["oldest_due_seconds", ()] < 60


async def test_a_takeover_is_counted_by_whoever_takes_over(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    data = record()
    async with running(store_url, role="web", LEASE_SECONDS="1") as service:
        await service.connect(meeting_server.url)
        gone = Ledger(store, VAULT, lease_seconds=0.05)
        assert (await gone.accept(event("record.update_metadata", data), "", f"{PUBLIC}/m/", inline=True)).lease
        assert ("lease_takeovers_total", ()) in await scraped(service)

        async def expired() -> bool:
            return (await gone.backlog()).due == 1

        await wait_until(expired)
        assert await service.link(data)
        assert (await scraped(service))["lease_takeovers_total", ()] == 1
        journal = [line["what"] for line in (await service.record(data["id"]))["journal"]]
        assert "takeover" in journal


async def test_without_its_store_it_says_so_and_still_answers() -> None:
    async with StoreServer() as store, running(store.url) as service:
        assert (await scraped(service))["store_up", ()] == 1
        store.kill()
        refused = await service.post(body("record.created", record()))
        assert refused.status_code == 503
        seen = await scraped(service)
        assert seen["store_up", ()] == 0
        assert seen["events_total", ("unavailable", "record.created")] == 1
        assert not [name for name, _ in seen if name.endswith(("_records", "oldest_due_seconds"))]
        await store.start()
        assert (await scraped(service))["store_up", ()] == 1


@pytest.mark.parametrize(("state", "value"), [("closed", 0), ("half_open", 1), ("open", 2)])
def test_a_breaker_shows_its_state_while_its_connection_is_there(state: GateState, value: int) -> None:
    metrics = Metrics()
    nothing = Backlog(0, 0, 0.0)
    assert samples(metrics.render(nothing, {"c1": state}).decode())["breaker_state", ("c1",)] == value
    assert ("breaker_state", ("c1",)) not in samples(metrics.render(nothing, {}).decode())


@pytest.mark.parametrize(("state", "value"), [("ready", 0), ("failing", 1), ("reconnect", 2)])
def test_a_connection_shows_its_state_while_it_is_there(state: HealthState, value: int) -> None:
    metrics = Metrics()
    nothing = Backlog(0, 0, 0.0)
    assert samples(metrics.render(nothing, {}, {"c1": state}).decode())["connection_state", ("c1",)] == value
    assert ("connection_state", ("c1",)) not in samples(metrics.render(nothing, {}).decode())


async def test_connections_and_what_is_left_to_their_hosts_are_read_from_the_store(
    store: Store, store_url: str, zoom: ZoomServer
) -> None:
    app = {"provider": "zoom", "account_id": "acc", "client_id": "unknown", "client_secret": "s"}
    async with running(store_url, ZOOM_API_URL=zoom.api_url, ZOOM_OAUTH_URL=zoom.oauth_url) as service:
        made = await service.admin("POST", "/connections", json={**app, "method": "server_to_server"})
        connection = made.json()["id"]
        await store.execute("DEL", "vm:connections:health")
        seen = await scraped(service)
        assert (seen["connection_state", (connection,)], seen["budget_left_ratio", (connection,)]) == (0, 1)
        await Budgets(store).spent(Purse("zoom\0acc", "anna@example.org", Budget(100), "create"))
        dead = {"state": "reconnect", "reason": "The account is gone.", "checked_at": 1}
        await store.execute("HSET", "vm:connections:health", connection, json.dumps(dead))
        seen = await scraped(service)
        assert (seen["connection_state", (connection,)], seen["budget_left_ratio", (connection,)]) == (2, 0)
        figures = (await service.client.get("/metrics")).text
    assert "anna" not in figures
    assert "gone" not in figures


@pytest.mark.parametrize("ahead", [-30, 0, 30])
async def test_a_clock_that_is_wrong_shows(store: Store, ahead: int) -> None:
    assert await skew(store, lambda: time.time() - ahead) == pytest.approx(ahead, abs=5)


async def test_the_stores_clock_is_compared_at_each_scrape(store_url: str) -> None:
    async with running(store_url) as service:
        assert abs((await scraped(service))["clock_skew_seconds", ()]) < 5


def test_two_in_one_process_share_nothing() -> None:
    one, two = everything(), Metrics()
    assert samples(one.render(None, {}).decode())["lease_takeovers_total", ()] == 1
    assert samples(two.render(None, {}).decode())["lease_takeovers_total", ()] == 0


async def test_figures_can_have_a_port_of_their_own(store_url: str) -> None:
    """There they are alone, and the port that is let in from outside has none."""
    port = free_port()
    async with Service("--metrics-port", str(port), REDIS_URL=store_url) as service:
        assert (await service.request("GET", "/metrics")).status_code == 404
        assert (await service.request("GET", "/livez")).status_code == 200
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            assert ("store_up", ()) in samples((await client.get("/metrics")).text)
            assert (await client.get("/livez")).status_code == 404
        assert await service.stop() == 0
