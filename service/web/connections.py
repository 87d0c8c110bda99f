"""`/connections`: accounts and servers that make meetings: connect, try, rename, mend, take out of use."""

from collections.abc import Mapping, Sequence

from pydantic import ValidationError
from starlette.responses import Response
from starlette.routing import Route

from providers.base import Remark
from service.changes import Change, since
from service.swept import Swept
from service.vendors import inspects
from service.web.api_connections import ConnectionsApi
from service.web.api_offices import OfficesApi
from service.web.connection_forms import (
    ConnectionForms,
    fields_shown,
    may_store,
    show_check,
    trouble_of,
    typed_fields,
)
from service.web.errors import Problem, meanwhile
from service.web.forms import errors_of
from service.web.schema import ConnectionRead, Disconnecting, Disconnection
from service.web.settings import Frame, Visit
from service.web.words import _, said


class ConnectionPages:
    """The list, a connection's page, and the forms that make and change one."""

    def __init__(self, frame: Frame, connections: ConnectionsApi, offices: OfficesApi, swept: Swept) -> None:
        self._frame = frame
        self._swept = swept
        self._connections = connections
        self._offices = offices
        self._forms = ConnectionForms(frame, connections)

    def routes(self) -> list[Route]:
        """The pages and what their forms do."""
        return [
            self._frame.get("/connections", self._list),
            *self._forms.routes(),
            self._frame.get("/connections/{connection}", self._show),
            self._frame.post("/connections/{connection}", self._act),
            self._frame.get("/connections/{connection}/test", self._tested),
            self._frame.get("/connections/{connection}/leave", self._leaving),
            self._frame.post("/connections/{connection}/leave", self._leave),
        ]

    async def _list(self, visit: Visit) -> Response:
        rows = await self._rows(visit)
        return visit.show(
            "connections.html",
            connections=rows,
            titles=self._titles(),
            offered=self._forms.offered(),
            vendors=self._connections.vendors,
            offices=await self._names(),
            states=_states(),
            sweep=await self._swept.last() if visit.all_companies else None,
            done=visit.asked("done"),
        )

    async def _show(self, visit: Visit) -> Response:
        return await self._page(visit)

    async def _page(
        self,
        visit: Visit,
        status: int = 200,
        *,
        trouble: str | None = None,
        sent: Mapping[str, str] | None = None,
        errors: Mapping[str, str] | None = None,
        remarks: Sequence[Remark] | None = None,
    ) -> Response:
        """The page; `sent` is what was typed as other settings and may be shown, with what is wrong with it."""
        row = await self._known(visit)
        info = self._connections.providers.get(row.provider)
        browser = info is not None and row.method == "oauth" and row.provider in self._connections.vendors
        main, more = fields_shown(info, sent or {}, errors or {}) if info and not browser else ([], [])
        return visit.show(
            "connection.html",
            status,
            row=row,
            title=said(info.title) if info else row.provider,
            browser=browser,
            mending=[*main, *more],
            mended=sent is not None,
            checks=info is not None and inspects(info),
            remarks=remarks,
            anyway=bool(visit.text("anyway")),
            name=visit.text("name") or row.name,
            stood=visit.stood(self._connections.version(row.id), status),
            states=_states(),
            offices=await self._names(),
            trouble=trouble,
            meanwhile=await self._meanwhile(visit, status),
            test=await self._connections.tested(row.id),
            broken=False,
            steps=_steps(),
            done=visit.asked("done"),
            history=await self._connections.history(row.id),
        )

    async def _meanwhile(self, visit: Visit, status: int) -> list[Change]:
        """What others changed since the form that was refused was shown."""
        if status != 412:
            return []
        return since(await self._connections.history(visit.part("connection")), visit.text("read_at"))

    async def _act(self, visit: Visit) -> Response:
        connection, who = (await self._known(visit)).id, visit.session.person.name
        act = visit.text("do")
        try:
            if act == "test":
                return await self._test(visit, connection)
            if act in ("mend", "check"):
                return await self._mend(visit, connection, store=act == "mend")
            if act != "rename":
                raise Problem(404, "not_found", "There is nothing at this address.")
            name = visit.text("name")[:200]
            if not name or not name.isprintable():
                return await self._page(visit, 422, trouble=_("A connection needs a name of one line."))
            await self._connections.rename(connection, name, who, visit.text("version"))
        except Problem as problem:
            if problem.status_code == 404:
                raise
            return await self._page(visit, problem.status_code, trouble=said(problem.detail))
        return visit.go(f"/connections/{connection}?done={act}")

    async def _mend(self, visit: Visit, connection: str, *, store: bool) -> Response:
        """Give it other settings, or only ask its server about them."""
        info = self._connections.providers.get((await self._connections.connection(connection)).provider)
        fields, sent = await typed_fields(visit, info) if info else ({}, {})
        try:
            settings = self._connections.mended(connection, fields)
            remarks = await self._connections.look(info.name, settings) if info else []
            if not store:
                return show_check(visit, remarks)
            if not may_store(visit, remarks):
                return await self._page(visit, 422, trouble=trouble_of({}, remarks), sent=sent, remarks=remarks)
            await self._connections.mend(connection, fields, visit.session.person.name, visit.text("version"))
        except ValidationError as error:
            if not store:
                return show_check(visit, None)
            errors = errors_of(error)
            return await self._page(visit, 422, trouble=trouble_of(errors, None), sent=sent, errors=errors)
        except Problem as problem:
            if problem.status_code == 404:
                raise
            return await self._page(visit, problem.status_code, trouble=said(problem.detail), sent=sent)
        return visit.go(f"/connections/{connection}?done=mend")

    async def _test(self, visit: Visit, connection: str) -> Response:
        """Begin a test that the page follows; without a script its end is waited for."""
        if "hx-request" in visit.request.headers:
            await self._connections.begin_test(connection)
            return await self._tested(visit)
        await self._connections.test_connection(connection)
        return visit.go(f"/connections/{connection}#try")

    async def _tested(self, visit: Visit) -> Response:
        """How far a test is, or nothing while there is nothing new; at its end with what it says of the connection."""
        row = await self._known(visit)
        if "hx-request" not in visit.request.headers:
            return visit.go(f"/connections/{row.id}#try")
        test, was = await self._connections.tested(row.id), visit.asked("was")
        if test and test.mark == was:
            return Response(None, 204, visit.pages.headers)
        return visit.show(
            "connection_tested.html", row=row, states=_states(), steps=_steps(), test=test, broken=test is None
        )

    async def _leaving(self, visit: Visit) -> Response:
        """What taking it out of use would do; or, while that goes on, how far it is."""
        connection, row = visit.part("connection"), None
        try:
            row = await self._known(visit)
        except Problem:
            if not visit.asked("was"):  # else it was being taken out of use a moment ago, and now it is gone
                raise
        going = await self._connections.going(connection) if row else None
        if going and visit.asked("was") == f"{going.left}.{going.stuck}":
            return Response(None, 204, visit.pages.headers)
        return await self._leave_page(visit, going)

    async def _leave_page(
        self, visit: Visit, going: Disconnecting | None, status: int = 200, trouble: str | None = None
    ) -> Response:
        connection, rows = visit.part("connection"), await self._rows(visit)
        row = next((each for each in rows if each.id == connection), None)
        theirs = (None, row.company if row else None)
        return visit.show(
            "connection_leave.html",
            status,
            row=row,
            going=going,
            others=[each for each in rows if each.id != connection and each.company in theirs],
            offices=await self._names(),
            upcoming=await self._connections.upcoming(connection) if row and not going else 0,
            connection=connection,
            stood=visit.stood(self._connections.version(connection), status),
            how="" if visit.text("idle") else visit.text("how"),
            to=visit.text("to"),
            trouble=trouble,
            meanwhile=await self._meanwhile(visit, status),
        )

    async def _leave(self, visit: Visit) -> Response:
        row, who = await self._known(visit), visit.session.person.name
        connection = row.id
        if visit.text("how") == "now":
            await self._connections.finish(connection, who)
            return visit.go("/connections?done=removed")
        try:
            wanted = Disconnection.model_validate({"how": visit.text("how"), "to": visit.text("to") or None})
        except ValidationError:
            return await self._leave_page(visit, None, 422, _("Choose what is to become of the meetings."))
        if visit.text("idle") and (row.in_use_by or await self._connections.upcoming(connection)):
            return await self._leave_page(visit, None, 412, said(meanwhile().detail))
        if wanted.to is not None and not visit.owns((await self._connections.connection(wanted.to)).company):
            raise Problem(404, "unknown_connection", "No connection has this id.")
        try:
            going = await self._connections.disconnect(connection, wanted, who, visit.text("version"))
        except Problem as problem:
            under_way = await self._connections.going(connection) if problem.status_code == 412 else None
            return await self._leave_page(visit, under_way, problem.status_code, said(problem.detail))
        if going.left:
            return visit.go(f"/connections/{connection}/leave")
        return visit.go("/connections?done=removed")

    async def _rows(self, visit: Visit) -> list[ConnectionRead]:
        rows = (await self._connections.list_connections()).connections
        return [row for row in rows if visit.owns(row.company)]

    async def _known(self, visit: Visit) -> ConnectionRead:
        row = await self._connections.connection(visit.part("connection"))
        if not visit.owns(row.company):
            raise Problem(404, "unknown_connection", "No connection has this id.")
        return row

    def _titles(self) -> Mapping[str, str]:
        return {name: said(info.title) for name, info in self._connections.providers.items()}

    async def _names(self) -> Mapping[str, str]:
        offices = (await self._offices.list_offices()).offices
        names = {each.id: each.name or _("Office %(id)s", id=each.id[:8]) for each in offices}
        return {**names, "default": _("All other offices")}


def _states() -> Mapping[str, tuple[str, str]]:
    """Each state's look and words."""
    return {
        "ready": ("good", _("Works")),
        "reconnect": ("bad", _("Connect it again")),
        "failing": ("bad", _("Does not work")),
    }


def _steps() -> Mapping[str, str]:
    """What a test's steps are called."""
    return {
        "probe": _("Ask the account"),
        "create": _("Make a meeting"),
        "move": _("Move it"),
        "find": _("Find it again"),
        "delete": _("Remove it"),
    }
