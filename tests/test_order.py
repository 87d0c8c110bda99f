"""Every order of a record's events, with repeats, ends in the same state: ours and the provider's."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.events import START, record
from tests.running import Running, running
from tests.servers import MemoryServer

EVENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "created": ("record.created", {"version": 1}),
    "metadata": ("record.update_metadata", {"version": 1}),
    "moved": ("record.updated", {"version": 2, "time": START + 3600}),
    "moved again": ("record.updated", {"version": 3, "time": START + 7200, "duration": 3600}),
    "metadata again": ("record.update_metadata", {"version": 3, "time": START + 7200, "duration": 3600}),
    "cancelled": ("record.cancelled", {"version": 4, "time": START + 7200, "canceled": True}),
    "same version, cancelled": ("record.cancelled", {"version": 3, "time": START + 7200, "canceled": True}),
    "same version, later": ("record.updated", {"version": 3, "time": START + 60, "changed": 1_800_000_001}),
    "lives again": ("record.updated", {"version": 5, "time": START + 10_800}),
    "archived": ("record.updated", {"version": 6, "time": START + 10_800, "archived": True}),
    "back again": ("record.updated", {"version": 7, "time": START + 10_800}),
    "deleted": ("record.deleted", {"version": 8}),
    "deleted, bare": ("record.deleted", {}),
}


@dataclass
class Model:
    """What Vello wants of one record, in plain Python: the newest of all that was said."""

    seen: set[str]

    def newest(self) -> dict[str, Any] | None:
        """The words that count."""
        said = [fields for kind, fields in (EVENTS[name] for name in self.seen) if kind != "record.deleted"]
        return max(said, key=_rank) if said else None

    def expected(self) -> tuple[str, int | None]:
        """State and start."""
        if any(EVENTS[name][0] == "record.deleted" for name in self.seen):
            return "gone", None
        newest = self.newest()
        if newest is None:
            return "none", None
        start = int(newest.get("time", START))
        if newest.get("canceled") or newest.get("archived"):
            return "gone", start
        asked = any(EVENTS[name][0] == "record.update_metadata" for name in self.seen)
        return ("ready" if asked else "none"), start


def _rank(fields: dict[str, Any]) -> tuple[int, int, int]:
    ended = bool(fields.get("canceled") or fields.get("archived"))
    return fields["version"], fields.get("changed", 1_800_000_000), int(ended)


class Orders(RuleBasedStateMachine):
    """Says any of the events about one of two records, any number of times."""

    url = ""
    vendor: MemoryServer

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.service: Running = self.runner.run(self._open())
        self.models: dict[int, Model] = {}
        self.records: dict[int, dict[str, Any]] = {}

    async def _open(self) -> Running:
        await self.vendor.reset()
        service = await self.stack.enter_async_context(running(self.url))
        await service.connect(self.vendor.url)
        return service

    @initialize()
    def fresh(self) -> None:
        for which in (0, 1):
            self.models[which], self.records[which] = Model(set()), record()

    @rule(which=st.integers(0, 1), name=st.sampled_from(sorted(EVENTS)), repeats=st.integers(1, 2))
    def said(self, which: int, name: str, repeats: int) -> None:
        kind, fields = EVENTS[name]
        about = self.records[which]
        data = {"id": about["id"], **fields} if kind == "record.deleted" else {**about, **fields}
        for _ in range(repeats):
            self.runner.run(self.service.say(kind, data))
        self.models[which].seen.add(name)

    @rule(which=st.integers(0, 1))
    def long_ago(self, which: int) -> None:
        """A version from before everything changes nothing once anything newer was said."""
        if self.models[which].seen - {"deleted", "deleted, bare"}:
            self.runner.run(
                self.service.say("record.updated", {**self.records[which], "version": 0, "time": START - 60})
            )

    @invariant()
    def as_wanted(self) -> None:
        for which, model in self.models.items():
            if model.seen:
                state, start = model.expected()
                seen = self.runner.run(self.service.settled(self.records[which]["id"]))
                assert seen["state"] == state
                assert seen["start"] == start
                self._at_the_provider(state, seen)

    def _at_the_provider(self, state: str, seen: dict[str, Any]) -> None:
        standing = [
            meeting for meeting in self.runner.run(self.vendor.meetings()) if meeting["id"] == seen["meeting_id"]
        ]
        assert [meeting["start"] for meeting in standing] == ([seen["start"]] if state == "ready" else [])

    @invariant()
    def nothing_left_over(self) -> None:
        wanted = sum(model.expected()[0] == "ready" for model in self.models.values() if model.seen)
        assert len(self.runner.run(self.vendor.meetings())) == wanted

    def teardown(self) -> None:
        self.runner.run(self.stack.aclose())
        self.runner.close()


@pytest.mark.timeout(600)
def test_all_orders_of_a_records_events_end_in_the_same_state(store_url: str, meeting_server: MemoryServer) -> None:
    Orders.url, Orders.vendor = store_url, meeting_server
    run_state_machine_as_test(
        Orders,
        settings=settings(
            max_examples=40, stateful_step_count=16, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
