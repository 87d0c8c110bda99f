"""Probes: what each finding makes of a connection, who asks, and when nobody does."""

from functools import partial
from typing import Any

import pytest

from service.connections import Cause, Health, HealthState
from service.gate import OPENS_AFTER, Gate
from service.store import Store
from service.watch import Finding, Verdict, judged
from tests.events import record
from tests.running import Running, running, together
from tests.servers import MemoryServer

READY = Verdict("ready")
DOWN = Verdict("failing", "outage")
REFUSED = Verdict("failing", "probe")
DEAD = Verdict("reconnect", "probe")

TABLE: dict[tuple[HealthState, Cause | None], dict[Finding, Verdict | None]] = {
    ("ready", None): {"well": None, "busy": None, "outage": DOWN, "refused": REFUSED, "account": DEAD},
    ("failing", "outage"): {"well": READY, "busy": None, "outage": None, "refused": REFUSED, "account": DEAD},
    ("failing", "probe"): {"well": READY, "busy": None, "outage": None, "refused": REFUSED, "account": DEAD},
    ("failing", None): {"well": None, "busy": None, "outage": None, "refused": None, "account": DEAD},
    ("reconnect", "probe"): {"well": READY, "busy": None, "outage": None, "refused": None, "account": None},
    ("reconnect", None): {"well": None, "busy": None, "outage": None, "refused": None, "account": None},
}
CASES = [(state, cause, finding, after) for (state, cause), row in TABLE.items() for finding, after in row.items()]


@pytest.mark.parametrize(("state", "cause", "finding", "after"), CASES, ids=[f"{c[0]}-{c[1]}-{c[2]}" for c in CASES])
def test_what_a_finding_makes_of_a_connection(
    state: HealthState, cause: Cause | None, finding: Finding, after: Verdict | None
) -> None:
    assert judged(Health(state, "why", 1, 1, cause), finding) == after


async def shown(service: Running, connection: str) -> dict[str, Any]:
    answer = (await service.admin("GET", f"/connections/{connection}")).json()
    assert isinstance(answer, dict)
    return answer


async def probed(service: Running, store: Store, connection: str) -> dict[str, Any]:
    """The connection after a round in which its time has come."""
    await store.execute("DEL", f"vm:probe:{connection}")
    await service.app.app.state.watch.round()
    return await shown(service, connection)


async def probes(server: MemoryServer) -> int:
    return sum(call["verb"] == "probe" for call in await server.calls())


async def test_of_all_processes_one_asks_and_not_again_for_a_while(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as one, running(store_url) as two:
        connection = await one.connect(meeting_server.url)
        before = await probes(meeting_server)
        await together(*[each.app.app.state.watch.round() for each in (one, two) for _ in range(3)])
        assert await probes(meeting_server) == before + 1
        left = await store.execute("TTL", f"vm:probe:{connection}")
        assert 600 < left < 1200
        assert (await shown(two, connection))["state"] == "ready"


async def test_one_that_no_office_uses_is_left_alone(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as service:
        await service.connect(meeting_server.url)
        await service.admin("PUT", "/offices/default", json={"connection": None})
        before = await probes(meeting_server)
        await service.app.app.state.watch.round()
        assert await probes(meeting_server) == before


async def test_a_dead_account_shows_before_a_booking_needs_it_and_its_first_reason_stays(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as service:
        connection = await service.connect(meeting_server.url)
        await meeting_server.faults(fail=[{"status": 401, "times": 2}])
        dead = await probed(service, store, connection)
        assert (dead["state"], bool(dead["reason"])) == ("reconnect", True)
        data = record()
        await service.link(data)  # refused too: what a booking found, a probe does not take back
        still = await probed(service, store, connection)
        assert (still["state"], still["since"]) == ("reconnect", dead["since"])


async def test_what_a_probe_found_the_next_one_takes_back_and_what_waited_goes_on(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as service:
        connection = await service.connect(meeting_server.url)
        await meeting_server.faults(fail=[{"status": 401, "times": 1}])
        assert (await probed(service, store, connection))["state"] == "reconnect"
        assert (await probed(service, store, connection))["state"] == "ready"


async def test_an_outage_is_no_dead_account_and_is_asked_for_soon(
    store: Store, store_url: str, meeting_server: MemoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.app.Gate", partial(Gate, first=60.0))  # it stays open for as long as this takes
    async with running(store_url) as service:
        connection = await service.connect(meeting_server.url)
        await meeting_server.faults(fail=[{"status": 503, "times": 999}])
        states = [(await probed(service, store, connection))["state"] for _ in range(OPENS_AFTER)]
        assert states == ["ready"] * (OPENS_AFTER - 1) + ["failing"]
        assert 0 < await store.execute("TTL", f"vm:probe:{connection}") <= 60
        asked = await probes(meeting_server)
        down = await probed(service, store, connection)  # the gate is open: nothing is sent
        assert await probes(meeting_server) == asked
        assert "left alone" in down["reason"]
        assert down["since"] > 0


async def test_a_call_that_waits_says_nothing(store: Store, store_url: str, meeting_server: MemoryServer) -> None:
    async with running(store_url) as service:
        connection = await service.connect(meeting_server.url)
        await meeting_server.faults(fail=[{"status": 429, "times": 20}])
        for _ in range(OPENS_AFTER + 1):
            assert (await probed(service, store, connection))["state"] == "ready"
