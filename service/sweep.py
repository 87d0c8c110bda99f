"""One sweep: what stands at the providers with our marker is held against the ledger, both ways.

1. Write down which upcoming bookings have which meeting, by the ledger.
2. List what stands (`lookout`).
3. Judge every difference (`drift`); a record that changed since step 1 is left to its own run.
4. Carry out what was judged. A record's meeting is changed by that record's own run under its lease, never from here;
   only a meeting whose record nobody knows is removed directly.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import structlog

from providers.base import ProviderError
from service.agenda import Agendas
from service.calls import Calls
from service.connections import UnknownConnection
from service.drift import Finding, Surroundings, judged, unknown
from service.entry import Entry, State
from service.findings import SweepResult
from service.found import Found
from service.gate import Held
from service.ledger import Ledger
from service.lookout import Beat, Lookout, Seen
from service.meetings import Meetings
from service.plan import key_of, plan
from service.settings import Settings
from service.sightings import Sighting, is_at, keys_of
from service.swept import GLANCE, Kind, Lock, SweepReport, Swept
from service.vello import MAX_DURATION, Rank, Record
from service.verbs import JournalLine

SCAN: Final = 500_000
"""Upcoming bookings that one sweep knows of."""
MOST: Final = 5_000
"""Differences that one sweep sets right; the next one goes on."""
SETTLES: Final = 86_400
"""Seconds for which a store that was away may know less of a booking than Vello has said: nothing is undone by it."""
PACE: Final = 0.05
"""Seconds between two things that are set right, so that no account is run over."""
_BATCH: Final = 200
_SHOWN: Final = 50  # things that are set right between two reports
_MENDING: Final = frozenset({Kind.ADOPT, Kind.REMOVE, Kind.REPAIR, Kind.AGAIN})

_log = structlog.get_logger(__name__)


class SweepElsewhere(Exception):
    """Another process sweeps."""

    def __init__(self) -> None:
        super().__init__("Another process is sweeping just now: wait until it is done")


class Expected(NamedTuple):
    """What the ledger had of an upcoming record before anything was listed; '' and 0 for one without a meeting.

    `listed`: its meeting carries this installation's name, so a list must show it. `given_up`: nobody works on it.
    """

    key: str
    generation: int
    connection: str = ""
    meeting: str = ""
    host: str | None = None
    start: int = 0
    duration: int = 0
    title: str = ""
    listed: bool = False
    given_up: bool = False


class Sweep:
    """Sweeps. All raise StoreUnavailable when the store cannot be used."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        calls: Calls,
        agendas: Agendas,
        meetings: Meetings,
        found: Found,
        swept: Swept,
        owner: str,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._calls = calls
        self._agendas = agendas
        self._meetings = meetings
        self._found = found
        self._swept = swept
        self._owner = owner
        self._lookout = Lookout(settings, calls, owner)

    async def connections(self) -> list[str]:
        """The connections whose meetings can be listed."""
        await self._settings.load()
        return [each.row.id for each in self._lookout.listable()]

    async def run(self, only: str | None = None, *, remove_unknown: bool = False) -> SweepResult:
        """Look at everything, or at one connection, and set right what is not as it should be.

        `remove_unknown`: an admin says that meetings whose bookings are not known here shall go.

        Raises: UnknownConnection, SweepElsewhere.
        """
        async with self._swept.lock() as lock:
            if lock is None:
                raise SweepElsewhere
            return await self._run(only, lock, remove_unknown=remove_unknown)

    async def look(self, only: str | None = None, *, remove_unknown: bool = False) -> SweepResult:
        """What `run` would find and do; nothing is changed, here or at a provider. Raises UnknownConnection."""
        return await self._run(only, None, remove_unknown=remove_unknown)

    async def _run(self, only: str | None, lock: Lock | None, *, remove_unknown: bool) -> SweepResult:
        report = SweepReport(int(time.time()), only=only)

        async def beat() -> None:
            if lock and not await lock.renew():
                raise SweepElsewhere

        await self._settings.load()
        if only is not None:
            self._settings.connections.get(only)
        if lock:
            await self._swept.report(report)
        listable = self._lookout.listable(only)
        names = [each.row.id for each in listable]
        expected = await self._expected(only, beat)
        seen = await self._lookout.look(listable, self._hosts(expected, names), beat)
        findings = [each async for each in self._judged(expected, seen, beat, remove_unknown=remove_unknown)]
        counts = Counter(str(each.kind) for each in findings)
        report = replace(report, meetings=seen.meetings, counts=dict(counts), left=seen.left)
        if lock:
            await self._note(findings, report.began, names, seen, everything=only is None)
            mending = [each for each in findings if each.kind in _MENDING][:MOST]
            report = replace(await self._mend(mending, lock, report), ended=int(time.time()))
            await self._swept.report(report)
            _log.info("swept", meetings=seen.meetings, left=len(seen.left), **counts)
        return SweepResult(replace(report, ended=int(time.time())), findings)

    async def _expected(self, only: str | None, beat: Beat) -> dict[str, Expected]:
        """What the ledger has of every record whose meeting is not over. Raises what `beat` raises."""
        found, after, now = dict[str, Expected](), (int(time.time()) - MAX_DURATION, ""), time.time()
        while len(found) < SCAN:
            await beat()
            page = await self._ledger.page(after, _BATCH)
            for at, entry in page.entries:
                ends = at + ((entry.wish.duration or 0) if entry.wish else 0)
                row = _expected(entry, self._owner)
                if ends > now and only in (None, row.connection):
                    found[entry.record] = row
            if page.last is None:
                break
            after = page.last
        return found

    def _hosts(self, expected: dict[str, Expected], names: Sequence[str]) -> dict[str, list[str]]:
        """Each connection's hosts: first those that offices chose, by their words, then those who have meetings."""
        hosts: dict[str, dict[str, None]] = {name: {} for name in names}
        for name in names:
            for office in self._settings.choices.using(name):
                choice = self._settings.choices.own(office)
                for named in (choice.default_host, *choice.hosts.values()) if choice else ():
                    hosts[name] |= dict.fromkeys(each for host in (named or "").split(",") if (each := host.strip()))
        for row in expected.values():
            if row.connection in hosts and row.host:
                hosts[row.connection][row.host] = None
        return {name: list(each) for name, each in hosts.items()}

    async def _judged(
        self, expected: dict[str, Expected], seen: Seen, beat: Beat, *, remove_unknown: bool
    ) -> AsyncIterator[Finding]:
        """Every difference between the ledger and the lists. Raises what `beat` raises."""
        records = {key: record for key, record in keys_of(expected).items() if key in seen.by_key}
        if len(records) < len(seen.by_key):
            async for ids in self._ledger.records():
                await beat()
                records |= {key: record for key, record in keys_of(ids).items() if key in seen.by_key}
        asked = set(records.values())
        asked |= {record for record, row in expected.items() if row.given_up or self._misses(row, seen)}
        soonest = sorted(asked, key=lambda each: expected[each].start if each in expected else 0)
        for place, record in enumerate(soonest):
            if place % _BATCH == 0:
                await beat()
            row, sightings = expected.get(record), seen.by_key.get(key_of(record), [])
            if row is None or row.given_up or not _is_as_expected(row, sightings):
                for finding in await self._of(
                    record, row, sightings, missing=row is not None and self._misses(row, seen)
                ):
                    yield finding
        strangers = [key for key in seen.by_key if key not in records]
        erased, now = await self._found.were_erased(strangers), time.time()
        for key in strangers:
            for each in seen.by_key[key]:
                yield unknown(each, self._owner, erased=key in erased, remove=remove_unknown, now=now)

    def _misses(self, row: Expected, seen: Seen) -> bool:
        """Whether a list that was read to its end should show a record's meeting, and does not."""
        if not row.listed or (row.connection, self._lookout.host_of(row.connection, row.host)) not in seen.whole:
            return False
        return all(each.listed.meeting.id != row.meeting for each in seen.by_key.get(row.key, []))

    async def _of(
        self, record: str, row: Expected | None, sightings: Sequence[Sighting], *, missing: bool
    ) -> list[Finding]:
        """What is to be done about one record, by what the ledger says of it now."""
        found = await self._ledger.get(record)
        if found is None or (row is not None and found[0].generation != row.generation):
            return []  # a run has been at it since
        entry = found[0]
        wish = entry.wish or Record(record)
        choice = self._settings.choice_of(entry)
        has = [each.connection for each in (entry.meeting, entry.intent, *entry.retired) if each]
        sightings = self._found.within(sightings, entry.realm, *has, choice.connection if choice else None)
        own = [each for each in sightings if each.listed.owner in ("", self._owner)]
        longest = self._settings.connections.promises(entry.meeting) if entry.meeting else None
        around = Surroundings(
            owner=self._owner,
            now=time.time(),
            action=plan(entry, choice, *self._settings.promises(entry, choice)),
            recalled=self._found.recalled(wish._replace(rank=entry.rank), entry.realm, own) if own else None,
            longest=longest.max_duration if longest else None,
            missing=missing,
            unheard=await self._is_unheard(found[1]),
        )
        return list(judged(entry, sightings, around))

    async def _is_unheard(self, journal: Sequence[JournalLine]) -> bool:
        """Whether Vello said nothing of a record since the store is whole, which is so since less than `SETTLES`."""
        since, _ = await self._swept.glance()
        return time.time() - since < SETTLES and not any(
            line.what in ("event", "stale") and line.at >= since for line in journal
        )

    async def _note(
        self, findings: Sequence[Finding], began: int, names: Sequence[str], seen: Seen, *, everything: bool
    ) -> None:
        """Remember what waits for Vello's next event, and which connections were read to their end."""
        notes: dict[str, list[Sighting]] = {}
        for each in findings:
            if each.kind is Kind.NOTE and each.sighting:
                notes.setdefault(each.sighting.listed.key, []).append(each.sighting)
                await self._agendas.noted(self._settings.connections, each.sighting.placement)
        keys = sorted(notes)
        for at in range(0, len(keys), _BATCH):
            await self._found.note({key: notes[key] for key in keys[at : at + _BATCH]}, began)
        whole = [name for name in names if name not in seen.broken]
        if notes or (everything and len(whole) == len(names)):
            await self._swept.found(any_=bool(notes))
        await asyncio.sleep(1.2 * GLANCE if notes else 0)  # until every process sees that there are notes
        for name in whole:
            await self._swept.done(name, began)

    async def _mend(self, findings: Sequence[Finding], lock: Lock, report: SweepReport) -> SweepReport:
        """Set right what was found, a little at a time."""
        for done, finding in enumerate(findings):
            if done % _SHOWN == 0:
                if not await lock.renew():
                    raise SweepElsewhere
                await self._swept.report(replace(report, done=done, to_do=len(findings)))
                home = await self._brought_home(findings[done : done + _SHOWN])
            if finding.record is not None or (finding.sighting and finding.sighting.listed.key not in home):
                await self._mended(finding)
            await asyncio.sleep(PACE)
        return replace(report, done=len(findings), to_do=len(findings))

    async def _brought_home(self, findings: Sequence[Finding]) -> set[str]:
        """Keys of meetings that are to go because nobody knew them, and whose bookings are known by now.

        From here on no event takes such a meeting on.
        """
        keys = {each.sighting.listed.key for each in findings if each.record is None and each.sighting}
        await self._found.forget(keys)
        home = set[str]()
        if keys:
            async for ids in self._ledger.records():
                home |= keys & keys_of(ids).keys()
        return home

    async def _mended(self, finding: Finding) -> None:
        record, sighting = finding.record, finding.sighting
        text = f"The meetings at the provider were compared with the bookings: {finding.why}."
        if record is None:
            if sighting:
                await self._removed(sighting)
        elif finding.kind is Kind.REMOVE and sighting:
            text = f"A meeting at the provider that carries this booking's name is removed: {finding.why}."
            await self._ledger.orphan(record, sighting.placement, text)
        elif finding.kind is Kind.ADOPT and finding.recalled and finding.entry:
            placed = finding.recalled.placement
            if await self._ledger.adopt(finding.entry, placed, text, doubt=finding.recalled.doubt):
                await self._agendas.noted(self._settings.connections, placed)
                if self._settings.connections.gives_notice(placed.connection):
                    await self._meetings.touched(record, placed)
        else:
            await self._ledger.nudge(record, text, doubt=finding.kind is Kind.REPAIR)

    async def _removed(self, sighting: Sighting) -> None:
        """Remove a meeting whose record nobody knows."""
        connections = self._settings.connections
        placed = sighting.placement
        try:
            provider, row = connections.provider(sighting.connection), connections.get(sighting.connection)
            async with self._calls.permit(sighting.connection, None, inline=False) as permit:
                permit.begun()
                await self._calls.probe(row.id, row.provider, provider.delete(sighting.listed.meeting), "delete")
                await self._calls.well(permit)
        except (ProviderError, Held, UnknownConnection) as error:
            _log.warning("unknown_meeting_left", connection=sighting.connection, reason=type(error).__name__)
            return
        await self._agendas.gone(connections, placed, None)


def _expected(entry: Entry, owner: str) -> Expected:
    placed = entry.meeting
    given_up = entry.state is State.FAILED and entry.rank is Rank.LIVE
    if placed is None or placed.meeting is None:
        return Expected(key_of(entry.record), entry.generation, given_up=given_up)
    spec = placed.spec
    return Expected(
        key_of(entry.record),
        entry.generation,
        placed.connection,
        placed.meeting.id,
        spec.host,
        spec.start,
        spec.duration,
        spec.title,
        listed=spec.owner == owner,
        given_up=given_up,
    )


def _is_as_expected(row: Expected, sightings: Sequence[Sighting]) -> bool:
    """Whether there is one meeting, which is the record's, at the time and with the title that it is to have."""
    if len(sightings) != 1:
        return False
    listed = sightings[0].listed
    return listed.meeting.id == row.meeting and listed.title == row.title and is_at(listed, row.start, row.duration)
