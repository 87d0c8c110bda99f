"""When hosts are taken, for vendors that let a host hold one meeting at a time: they fail when the second is joined.

Key: `vm:agenda:<host>`, our bookings of a host; a day longer than the last of them. It is a hint: what it lacks costs a
warning, never a meeting.
"""

import contextlib
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from typing import Final

from providers.base import MeetingSpec
from service.connections import Connections
from service.entry import Placement
from service.plan import Action
from service.store import Script, Store, StoreUnavailable

_SCRIPT: Final = Script(resources.files("service").joinpath("agenda.lua").read_text())


class Agendas:
    """The agendas of all hosts."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def hosted(self, connections: Connections, action: Action, hosts: Sequence[str]) -> Action:
        """The action with the first of `hosts` who is free at that time; with the first of all if nobody is.

        Raises: StoreUnavailable.
        """
        wanted = action.wanted
        if wanted is None or not hosts:
            return action
        by_hosts = [wanted._replace(spec=replace(wanted.spec, host=host)) for host in hosts]
        for by_host in by_hosts:
            key = _key(connections, by_host)
            if key and not await self._ask(key, "take", by_host):
                return action._replace(wanted=by_host)
        return action._replace(wanted=by_hosts[0])

    async def noted(self, connections: Connections, placed: Placement) -> tuple[tuple[str, str], ...]:
        """Write a meeting down; a line for the journal if its host has another one then."""
        key, other = _key(connections, placed), 0
        if key:
            with contextlib.suppress(StoreUnavailable):  # the meeting is made, and that must be remembered first
                other = await self._ask(key, "note", placed)
        return (("warning", _busy(other)),) if other else ()

    async def warnings(self, connections: Connections, placed: Sequence[Placement]) -> list[str | None]:
        """For each of several meetings that its host has another one then, None where not; in one round trip."""
        keys = [_key(connections, each) for each in placed]
        named = sorted({key for key in keys if key})
        rows = await self._store.pipeline([("HGETALL", key) for key in named]) if named else []
        agendas = dict(zip(named, rows, strict=True))
        return [_warning(agendas[key], each.spec) if key else None for key, each in zip(keys, placed, strict=True)]

    async def gone(self, connections: Connections, placed: Placement, standing: Placement | None) -> None:
        """Strike a meeting out, unless the host has the booking's other one, which is `standing`."""
        key = _key(connections, placed)
        if key and not (standing and _key(connections, standing) == key):
            with contextlib.suppress(StoreUnavailable):
                await self._ask(key, "drop", placed)

    async def _ask(self, key: str, verb: str, placed: Placement) -> int:
        spec = placed.spec
        return int(await self._store.call(_SCRIPT, (key,), (verb, spec.key, spec.start, spec.end)))


def _warning(agenda: Mapping[str, str], spec: MeetingSpec) -> str | None:
    times = [tuple(map(int, row.split())) for booking, row in agenda.items() if booking != spec.key]
    others = [till for begin, till in times if begin < spec.end and till > spec.start]
    return _busy(max(others)) if others and spec.end > time.time() else None


def _busy(till: int) -> str:
    until = time.strftime("%Y-%m-%d %H:%M", time.gmtime(till))
    text = f"The host has another meeting at that time, until {until} UTC: joining the second one may fail."
    return f"{text} Give each resource a host of its own, or name several."


def _key(connections: Connections, placed: Placement) -> str | None:
    capabilities = connections.capabilities(placed.connection)
    if capabilities is None or not capabilities.one_at_a_time:
        return None
    named = "\0".join(connections.host_of(placed.connection, placed.spec.host))
    return f"vm:agenda:{hashlib.sha256(named.encode()).hexdigest()[:16]}"
