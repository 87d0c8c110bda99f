"""`/deliveries`: the delivery log, looked through and replayed; `/errands`: what was set going and takes a while."""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from starlette.responses import Response
from starlette.routing import Route

from service.choices import DEFAULT
from service.delivery import UUID, Wanted, is_delivery
from service.vello import CONNECTION_TEST, RECORD_EVENTS
from service.web.api import Api
from service.web.api_deliveries import shown
from service.web.bookings import more
from service.web.cursors import Cursors
from service.web.errors import Problem
from service.web.schema import DeliveryPage, DeliveryRead, ErrandRead, OutlookRead
from service.web.settings import Frame, Visit
from service.web.words import _

_ASKED = ("since", "until", "record", "kind", "type", "verdict", "connection", "failing")
_KINDS = ("event", "call")


class DeliveryPages:
    """The log, one of its lines, and what is under way."""

    def __init__(self, frame: Frame, cursors: Cursors, operations: Api) -> None:
        self._frame = frame
        self._cursors = cursors
        self._deliveries = operations.deliveries
        self._errands = operations.errands
        self._connections = operations.connections
        self._offices = operations.offices

    def routes(self) -> list[Route]:
        """The pages and what their forms do."""
        return [
            self._frame.get("/deliveries", self._list),
            self._frame.post("/deliveries", self._act),
            self._frame.get("/deliveries/{delivery}", self._show),
            self._frame.post("/deliveries/{delivery}", self._replay),
            self._frame.get("/errands", self._under_way),
            self._frame.post("/errands/{errand}", self._stop),
        ]

    async def _list(self, visit: Visit) -> Response:
        return await self._page(visit, {name: visit.asked(name) for name in _ASKED})

    async def _act(self, visit: Visit) -> Response:
        """Say what replaying all that was looked for would do, or do it."""
        asked = {name: visit.text(name) for name in _ASKED}
        wanted = self._wanted(asked, kind="event")
        if wanted is None:
            return await self._page(visit, asked)
        if visit.text("do") == "replay":
            person = visit.session.person
            await self._deliveries.begin(wanted, person.name, person.companies)
            return visit.go("/errands")
        return await self._page(visit, asked, await self._deliveries.outlook(wanted, visit.sees))

    async def _page(self, visit: Visit, asked: Mapping[str, str], outlook: OutlookRead | None = None) -> Response:
        cursor = self._cursors.open(visit.asked("cursor"))
        cursor = cursor if cursor and is_delivery(cursor) else None
        wanted, page = self._wanted(asked), DeliveryPage(deliveries=[], cursor=None)
        if wanted:
            page = await self._deliveries.find(wanted, 50, cursor, sees=visit.sees)
        return visit.show(
            "deliveries.html",
            page=page,
            asked=asked,
            filtered=any(asked.values()),
            outlook=outlook,
            more=None if outlook else more(visit.request, self._cursors.seal(page.cursor)),
            kinds={"event": _("Events"), "call": _("Calls")},
            types=sorted({*RECORD_EVENTS, CONNECTION_TEST}),
            **await self._words(visit),
        )

    async def _show(self, visit: Visit) -> Response:
        return await self._one(visit, await self._known(visit))

    async def _one(self, visit: Visit, line: DeliveryRead, status: int = 200, trouble: str | None = None) -> Response:
        foreseen = None
        if line.replayable:
            with suppress(Problem):  # its content cannot be read any more, or is gone
                foreseen = await self._deliveries.preview_delivery(line.id)
        return visit.show(
            "delivery.html",
            status,
            line=line,
            foreseen=foreseen,
            trouble=trouble,
            did=visit.asked("did"),
            does=_does(),
            **await self._words(visit),
        )

    async def _replay(self, visit: Visit) -> Response:
        line = await self._known(visit)
        try:
            done = await self._deliveries.replay(await self._deliveries.known(line.id), visit.session.person.name)
        except Problem as problem:
            return await self._one(visit, line, problem.status_code, problem.detail)
        return visit.go(f"/deliveries/{line.id}?did={done.verdict}")

    async def _known(self, visit: Visit) -> DeliveryRead:
        id_ = visit.part("delivery")
        line = shown(await self._deliveries.known(id_)) if is_delivery(id_) else None
        if line is None or not visit.sees(line.realm):
            raise Problem(404, "unknown_delivery", "This is not in the delivery log, or not any more.")
        return line

    async def _under_way(self, visit: Visit) -> Response:
        errands = [each for each in (await self._errands.list_errands()).errands if _mine(visit, each)]
        names = {"replay": _("Replay"), "erase": _("Erasure"), "again": _("Upcoming bookings looked at again")}
        return visit.show(
            "errands.html",
            errands=errands,
            names=names,
            states=_states(),
            zone=self._zone(),
            saved=visit.asked("saved"),
        )

    async def _stop(self, visit: Visit) -> Response:
        errand = await self._errands.get_errand(visit.part("errand"))
        if not _mine(visit, errand):
            raise Problem(404, "unknown_errand", "There is nothing under way with this id, or it was long ago.")
        if errand.state == "running":
            await self._errands.stop(errand.id, visit.session.person.name)
        return visit.go("/errands")

    def _wanted(self, asked: Mapping[str, str], kind: str | None = None) -> Wanted | None:
        """What is looked for; None where a part of that cannot be read, which nothing fits."""
        zone = self._zone()
        since, until = (_moment(asked[name], zone) for name in ("since", "until"))
        record = asked["record"].lower() if re.fullmatch(UUID, asked["record"]) else None
        if any(asked[name] and read is None for name, read in (("since", since), ("until", until), ("record", record))):
            return None
        kind = kind or (asked["kind"] if asked["kind"] in _KINDS else None)
        return Wanted(
            since=since or 0,
            until=until,
            record=record,
            kind=kind,
            type=asked["type"] or None,
            verdict=asked["verdict"] or None,
            connection=asked["connection"] or None,
            failing=bool(asked["failing"]),
        )

    async def _words(self, visit: Visit) -> dict[str, Any]:
        rows = (await self._connections.list_connections()).connections
        names = {row.id: row.name for row in rows if visit.owns(row.company)}
        return {"verdicts": _verdicts(), "connections": names, "zone": self._zone()}

    def _zone(self) -> str:
        choice = self._offices.choice(DEFAULT)
        return choice.time_zone if choice else "UTC"


def _mine(visit: Visit, errand: ErrandRead) -> bool:
    return visit.all_companies or errand.who == visit.session.person.name


def _moment(text: str, zone: str) -> float | None:
    """Unix seconds of what a field for a date and a time holds."""
    try:
        return max(0.0, datetime.strptime(text[:16], "%Y-%m-%dT%H:%M").replace(tzinfo=ZoneInfo(zone)).timestamp())
    except (ValueError, OverflowError):
        return None


def _verdicts() -> Mapping[str, tuple[str, str]]:
    """The look and the words of what became of an event or a call."""
    return {
        "new": ("good", _("Taken")),
        "same": ("none", _("Repeats what is known")),
        "old": ("none", _("Overtaken")),
        "no_record": ("none", _("About no booking")),
        "erased": ("none", _("About an erased booking")),
        "refused": ("bad", _("Refused")),
        "unavailable": ("bad", _("The store was away")),
        "disconnected": ("bad", _("Vello hung up")),
        "failed": ("bad", _("A fault of this service")),
        "ok": ("good", _("Worked")),
        "MeetingNotFound": ("none", _("The meeting was gone")),
        "TemporaryError": ("bad", _("Did not work, tried again later")),
        "OutcomeUnknown": ("bad", _("The answer was lost")),
        "ReconnectRequired": ("bad", _("The account refuses us")),
        "PermanentError": ("bad", _("The provider refused it")),
    }


def _does() -> Mapping[str, str]:
    """What becomes of a meeting."""
    return {
        "nothing": _("nothing happens"),
        "made": _("a meeting is made"),
        "changed": _("the meeting is changed"),
        "replaced": _("the meeting is replaced by another one"),
        "removed": _("the meeting is removed"),
    }


def _states() -> Mapping[str, tuple[str, str]]:
    return {
        "running": ("waits", _("Under way")),
        "done": ("good", _("Done")),
        "stopped": ("none", _("Stopped")),
        "failed": ("bad", _("Failed")),
    }
