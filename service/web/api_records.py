"""`/api/v1/records`: bookings, what became of them, and what can be done; the API and the pages call the same."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

from fastapi import Path, Query, Response

from service.entry import Entry, State
from service.ledger import Ledger
from service.links import host_link
from service.settings import Settings
from service.verbs import JournalLine
from service.web.errors import Problem
from service.web.host import host_url
from service.web.schema import HostLink, JournalRead, RecordPage, RecordRead
from service.web.views import Views

SCAN = 5_000
"""Records one request looks at, however few of them match."""
_BATCH = 500

RecordId = Annotated[str, Path(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")]


class RecordsApi:
    """The API's operations on records."""

    def __init__(self, ledger: Ledger, settings: Settings, views: Views, public_url: str) -> None:
        self._ledger = ledger
        self._settings = settings
        self._views = views
        self._public_url = public_url

    async def list_records(
        self,
        state: State | None = None,
        office: str | None = None,
        number: Annotated[str | None, Query(max_length=64, description="The booking's number in Vello.")] = None,
        since: Annotated[int, Query(ge=0, le=99_999_999_999, description="Starts then or later.")] = 0,
        until: Annotated[int | None, Query(ge=0, le=99_999_999_999, description="Starts before then.")] = None,
        warned: Annotated[bool | None, Query(description="Only records with warnings, or only those without.")] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(pattern=r"^\d{1,11}\.[0-9a-f-]{0,36}$")] = None,
    ) -> RecordPage:
        """Records by the start of their meeting, the soonest first."""
        return await self.find(state, office, number, since, until, warned, limit, cursor)

    async def find(
        self,
        state: State | None = None,
        office: str | None = None,
        number: str | None = None,
        since: int = 0,
        until: int | None = None,
        warned: bool | None = None,
        limit: int = 50,
        cursor: str | None = None,
        *,
        sees: Callable[[str], bool] = lambda _: True,
        stuck: bool = False,
    ) -> RecordPage:
        """Records by their start, of companies that somebody `sees`; only those that are `stuck`."""
        found: list[RecordRead] = []
        start, _, last = (cursor or f"{since}.").partition(".")
        after, looked, batch = (int(start), last), 0, limit
        while looked < SCAN:
            rows = await self._ledger.page(after, batch)
            looked += batch  # those that have vanished count too
            batch = min(batch * 4, _BATCH)  # where few match, more are looked at in one go
            wanted = [row for row in rows.entries if until is None or row[0] < until]
            mine = [
                (at, each)
                for at, each in wanted
                if (state is None or each.state is state)
                and sees(each.realm)
                and (not stuck or _is_stuck(each))
                and _is_of(each, office, number)
            ]
            for (at, each), read in zip(mine, await self._views.records([each for _, each in mine]), strict=True):
                if warned is None or bool(read.warnings) == warned:
                    found.append(read)
                if len(found) == limit:
                    return RecordPage(records=found, cursor=f"{at}.{each.record}")
            if rows.last is None or len(wanted) < len(rows.entries):
                return RecordPage(records=found, cursor=None)
            after = rows.last
        return RecordPage(records=found, cursor=f"{after[0]}.{after[1]}")

    async def get_record(self, record: RecordId) -> RecordRead:
        """One record with its journal."""
        entry, journal, next_at = await self._found(record)
        shown = (await self._views.records([entry]))[0]
        token = await self._ledger.host_token(entry) if shown.link else None
        return shown.model_copy(
            update={
                "journal": [JournalRead(**asdict(line), code=self._views.code(line.text)) for line in journal],
                "next_attempt_at": int(next_at) if next_at is not None else None,
                "host_link": host_link(self._public_url, token) if token else None,
            }
        )

    async def get_host_link(self, record: RecordId, response: Response) -> HostLink:
        """The link by which the host starts the meeting, fetched now: a secret, kept and logged nowhere."""
        entry, _, _ = await self._found(record)
        response.headers["Cache-Control"] = "no-store"
        return HostLink(url=await host_url(entry, self._settings))

    async def reconcile_record(self, record: RecordId) -> RecordRead:
        """Look at a record again now, and at its meeting; the answer is the record as it is before that."""
        entry, _, _ = await self._found(record)
        wish = entry.wish
        coming = wish is not None and (wish.start or 0) + (wish.duration or 0) > time.time()
        text = "An admin asked to look at this again."
        await self._ledger.nudge(entry.record, text, doubt=coming and entry.meeting is not None)
        return await self.get_record(record)

    async def recreate_record(self, record: RecordId) -> RecordRead:
        """Have another meeting made in place of the one that stands, which is removed afterwards."""
        entry, _, _ = await self._found(record)
        if entry.meeting is None:
            raise Problem(409, "no_meeting", "The booking has no meeting now; its `state` and `reason` say why.")
        self._unless_busy(await self._ledger.recreate(entry, "An admin asked for another meeting."))
        return await self.get_record(record)

    async def release_record(self, record: RecordId) -> RecordRead:
        """Let go of a record: its meeting stays where it is, and nothing is done about it here any more."""
        entry, _, _ = await self._found(record)
        self._unless_busy(await self._ledger.release(entry.record, "An admin let go of this booking."))
        return await self.get_record(record)

    async def take_back_record(self, record: RecordId) -> RecordRead:
        """Take a record back that was let go of; it gets a new meeting if Vello wants one."""
        entry, _, _ = await self._found(record)
        text = "An admin took this booking back."
        self._unless_busy(await self._ledger.release(entry.record, text, take_back=True))
        return await self.get_record(record)

    def _unless_busy(self, done: bool) -> None:
        if not done:
            raise Problem(409, "busy_record", "Somebody works on this booking right now; try again in a moment.")

    async def _found(self, record: str) -> tuple[Entry, list[JournalLine], float | None]:
        found = await self._ledger.get(record.lower())
        if found is None:
            raise Problem(404, "unknown_record", "Vello has not told us of this record, or it was long ago.")
        return found


def _is_stuck(entry: Entry) -> bool:
    """Whether a record goes on only when an admin does something: it failed, or waits for an account."""
    waits = entry.state is State.PENDING and entry.reason is not None and entry.reason.who_can_fix == "admin"
    return entry.state is State.FAILED or waits


def _is_of(entry: Entry, office: str | None, number: str | None) -> bool:
    wish = entry.wish
    if office is not None and (wish is None or wish.office != office.lower()):
        return False
    return number is None or (wish is not None and wish.record_number == number)
