"""`/bookings`: every booking with its story, the failing ones first, and what can be done about each."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.choices import DEFAULT
from service.entry import State
from service.web.api_connections import ConnectionsApi
from service.web.api_offices import OfficesApi
from service.web.api_records import RecordsApi
from service.web.cursors import Cursors
from service.web.errors import Problem
from service.web.schema import ConnectionRead, RecordPage, RecordRead
from service.web.settings import Frame, Visit
from service.web.words import _

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_CURSOR = re.compile(r"\d{1,11}\.[0-9a-f-]{0,36}")
_RUNNING = 12 * 3600  # seconds after its start for which a booking counts as current
_FAILING = 20


@dataclass(frozen=True, slots=True)
class Cure:
    """What helps: a sentence, and the page where it is done if there is one here."""

    text: str
    href: str | None = None
    label: str = ""


class Bookings:
    """The list, a booking's page, and its buttons."""

    def __init__(
        self, frame: Frame, cursors: Cursors, records: RecordsApi, offices: OfficesApi, connections: ConnectionsApi
    ) -> None:
        self._frame = frame
        self._cursors = cursors
        self._records = records
        self._offices = offices
        self._connections = connections

    def routes(self) -> list[Route]:
        """The pages, the way in as host, and the buttons."""
        return [
            self._frame.get("/bookings", self._list),
            self._frame.get("/bookings/{record}", self._show),
            self._frame.get("/bookings/{record}/host", self._host),
            self._frame.post("/bookings/{record}", self._act),
        ]

    async def _list(self, visit: Visit) -> Response:
        asked = visit.asked("q")
        if _UUID.fullmatch(asked):
            return visit.go(f"/bookings/{asked.lower()}")
        state = next((each for each in State if each == visit.asked("state")), None)
        office = visit.asked("office") if _UUID.fullmatch(visit.asked("office")) else None
        zone = self._zone()
        since, until = _day(visit.asked("day"), zone)
        filtered = bool(asked or state or office or until)
        cursor = self._cursors.open(visit.asked("cursor"))
        cursor = cursor if cursor and _CURSOR.fullmatch(cursor) else None
        if not filtered:
            since = int(time.time()) - _RUNNING
        page = await self._records.find(
            state=state,
            office=office,
            number=asked or None,
            since=since,
            until=until,
            limit=50,
            cursor=cursor,
            sees=visit.sees,
        )
        failing = RecordPage(records=[], cursor=None)
        if not filtered and cursor is None:
            failing = await self._records.find(stuck=True, since=since, limit=_FAILING, sees=visit.sees)
        known = {row.id: row for row in (await self._connections.list_connections()).connections}
        shown = {each.id: each for each in [*failing.records, *page.records]}
        return visit.show(
            "bookings.html",
            page=page,
            failing=failing.records,
            cures={id_: self._cure(visit, each, known) for id_, each in shown.items()},
            filtered=filtered,
            asked={"q": asked, "state": state or "", "office": office or "", "day": visit.asked("day")},
            states=_states(),
            offices=await self._names(visit),
            zone=zone,
            more=more(visit.request, self._cursors.seal(page.cursor)),
        )

    async def _show(self, visit: Visit) -> Response:
        record = await self._known(visit)
        if record.state is State.PENDING and visit.asked("was") == str(len(record.journal or [])):
            return Response(None, 204, visit.pages.headers)  # it is as it was, and whoever reads it is not disturbed
        return await self._page(visit, record)

    async def _page(self, visit: Visit, record: RecordRead, status: int = 200, trouble: str | None = None) -> Response:
        choice = self._offices.choice(record.office or DEFAULT, record.realm)
        connections = {row.id: row for row in (await self._connections.list_connections()).connections}
        return visit.show(
            "booking.html",
            status,
            record=record,
            states=_states(),
            cure=self._cure(visit, record, connections),
            connection=connections.get(record.connection or ""),
            office=(await self._names(visit)).get(record.office or ""),
            service=self._service(visit, record),
            zone=choice.time_zone if choice else "UTC",
            trouble=trouble,
            did=visit.asked("did"),
        )

    def _service(self, visit: Visit, record: RecordRead) -> str | None:
        """What the office calls a booking's service; what was chosen for all offices is for admins of all companies."""
        choice = self._offices.choice(record.office or DEFAULT, record.realm)
        told = visit.all_companies or record.chosen_by == "office"
        return choice.service_names.get(record.service or "") if choice and told else None

    def _cure(self, visit: Visit, record: RecordRead, connections: Mapping[str, ConnectionRead]) -> Cure | None:
        """What helps a booking that has no meeting yet although it should."""
        if record.state is not State.FAILED and not (record.state is State.PENDING and record.who_can_fix):
            return None
        choice = self._offices.choice(record.office or DEFAULT, record.realm)
        chosen = connections.get(choice.connection or "") if choice else None
        if chosen and chosen.state != "ready":
            text = _("The account does not work at the moment.")
            if visit.owns(chosen.company):
                return Cure(text, f"/connections/{chosen.id}", _("Mend it"))
            return Cure(f"{text} {_('An admin of all companies can mend it.')}")
        if record.state is State.PENDING and record.who_can_fix == "operator":
            return Cure(_("It is tried again by itself. If this lasts, the operator of this service can look into it."))
        if record.who_can_fix == "operator":
            return Cure(_("The operator of this service can mend that; then press “Look again now”."))
        if record.who_can_fix == "developer":
            return Cure(_("This is a fault of the service. Please tell its maker what stands here."))
        text = _("Mend it in the office's settings or at the provider, then press “Look again now”.")
        if record.office or visit.all_companies:
            return Cure(text, f"/offices/{record.office or DEFAULT}", _("The office's settings"))
        return Cure(text)

    async def _act(self, visit: Visit) -> Response:
        record = await self._known(visit)
        verbs = {
            "reconcile": self._records.reconcile_record,
            "recreate": self._records.recreate_record,
            "release": self._records.release_record,
            "take_back": self._records.take_back_record,
        }
        verb = visit.text("do")
        if verb not in verbs:
            raise Problem(404, "not_found", "There is nothing at this address.")
        try:
            await verbs[verb](record.id)
        except Problem as problem:
            return await self._page(visit, await self._known(visit), problem.status_code, problem.detail)
        return visit.go(f"/bookings/{record.id}?did={verb}")

    async def _host(self, visit: Visit) -> Response:
        # A link, not a form: Chromium holds a form's redirects to form-action. So a page elsewhere could lead here.
        record = await self._known(visit)
        if visit.request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return visit.go(f"/bookings/{record.id}")
        try:
            return visit.leave((await self._records.get_host_link(record.id, Response())).url)
        except Problem as problem:
            return await self._page(visit, record, problem.status_code, problem.detail)

    async def _known(self, visit: Visit) -> RecordRead:
        record = visit.part("record")
        if not _UUID.fullmatch(record):
            raise Problem(404, "unknown_record", "Vello has not told us of this record, or it was long ago.")
        found = await self._records.get_record(record.lower())
        if not visit.sees(found.realm):
            raise Problem(404, "unknown_record", "Vello has not told us of this record, or it was long ago.")
        return found

    async def _names(self, visit: Visit) -> Mapping[str, str]:
        realms = await self._offices.realms()
        offices: Sequence[tuple[str, str | None]] = [
            (each.id, each.name)
            for each in (await self._offices.list_offices()).offices
            if each.id != DEFAULT and (visit.all_companies or visit.sees(realms.get(each.id, "")))
        ]
        return {id_: name or _("Office %(id)s", id=id_[:8]) for id_, name in offices}

    def _zone(self) -> str:
        choice = self._offices.choice(DEFAULT)
        return choice.time_zone if choice else "UTC"


def _states() -> Mapping[str, tuple[str, str]]:
    """Each state's look and words."""
    return {
        State.NONE: ("none", _("No meeting")),
        State.PENDING: ("waits", _("In work")),
        State.READY: ("good", _("Ready")),
        State.FAILED: ("bad", _("Failed")),
        State.GONE: ("none", _("Ended")),
    }


def _day(text: str, zone: str) -> tuple[int, int | None]:
    """The first second of a day, and of the next one."""
    try:
        start = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=ZoneInfo(zone))
        return max(0, int(start.timestamp())), max(0, int((start + timedelta(days=1)).timestamp()))
    except (ValueError, OverflowError):
        return 0, None


def more(request: Request, cursor: str | None) -> str | None:
    """The address of what follows in a list."""
    if cursor is None:
        return None
    return f"{request.url.path}?{request.url.include_query_params(cursor=cursor).query}"
