"""`/connections`: accounts and servers that make meetings: connect, try, rename, mend, take out of use."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import Response
from starlette.routing import Route

from providers.base import ProviderInfo
from service.swept import Swept
from service.web.api_connections import ConnectionsApi
from service.web.api_offices import OfficesApi
from service.web.errors import Problem
from service.web.forms import Field, errors_of, fields_of, read, sent_of
from service.web.schema import ConnectionNew, ConnectionRead, Disconnection, Rehearsal
from service.web.settings import Frame, Visit
from service.web.words import _, said

_PREFIX = "settings."
_LONGEST_FILE = 64 * 1024


class ConnectionPages:
    """The list, a connection's page, and the forms that make and change one."""

    def __init__(self, frame: Frame, connections: ConnectionsApi, offices: OfficesApi, swept: Swept) -> None:
        self._frame = frame
        self._swept = swept
        self._connections = connections
        self._offices = offices

    def routes(self) -> list[Route]:
        """The pages and what their forms do."""
        return [
            self._frame.get("/connections", self._list),
            self._frame.get("/connections/new/{provider}", self._new),
            self._frame.post("/connections/new/{provider}", self._add),
            self._frame.get("/connections/{connection}", self._show),
            self._frame.post("/connections/{connection}", self._act),
            self._frame.get("/connections/{connection}/leave", self._leaving),
            self._frame.post("/connections/{connection}/leave", self._leave),
        ]

    async def _list(self, visit: Visit) -> Response:
        rows = await self._rows(visit)
        offered = [info for info in self._connections.providers.values() if _is_offered(info)]
        return visit.show(
            "connections.html",
            connections=rows,
            titles=self._titles(),
            offered=offered,
            vendors=self._connections.vendors,
            offices=await self._names(),
            states=_states(),
            sweep=await self._swept.last() if visit.all_companies else None,
            done=visit.asked("done"),
        )

    async def _new(self, visit: Visit) -> Response:
        return await self._form(visit, self._offered(visit), {}, {})

    async def _add(self, visit: Visit) -> Response:
        info = self._offered(visit)
        fields, sent = await _fields(visit, info)
        try:
            info.settings.model_validate(fields)
            new = ConnectionNew.model_validate(
                {**fields, "provider": info.name, "name": visit.text("name") or None, "method": None}
            )
            row = await self._connections.add(new, visit.session.person.name, visit.company(visit.text("company")))
        except ValidationError as error:
            return await self._form(visit, info, sent, errors_of(error), 422)
        except Problem as problem:
            return await self._form(visit, info, sent, {"": said(problem.detail)}, problem.status_code)
        return visit.go(f"/connections/{row.id}?done=added")

    async def _form(
        self, visit: Visit, info: ProviderInfo, sent: Mapping[str, str], errors: Mapping[str, str], status: int = 200
    ) -> Response:
        main, more = _split(info, sent, errors)
        return visit.show(
            "connection_new.html",
            status,
            info=info,
            name=visit.text("name"),
            owners=await self._frame.owners(visit),
            company=visit.text("company"),
            fields=main,
            more=more,
            trouble=errors.get("") or (_("Something in the form is not right yet.") if errors else None),
        )

    async def _show(self, visit: Visit) -> Response:
        return await self._page(visit)

    async def _page(
        self,
        visit: Visit,
        status: int = 200,
        *,
        trouble: str | None = None,
        rehearsal: Rehearsal | None = None,
        errors: Mapping[str, str] | None = None,
    ) -> Response:
        row = await self._known(visit)
        info = self._connections.providers.get(row.provider)
        browser = info is not None and row.method == "oauth" and row.provider in self._connections.vendors
        main, more = _split(info, {}, errors or {}) if info and not browser else ([], [])
        return visit.show(
            "connection.html",
            status,
            row=row,
            title=said(info.title) if info else row.provider,
            browser=browser,
            mending=[*main, *more],
            mended=bool(errors),
            version=self._connections.version(row.id),
            states=_states(),
            offices=await self._names(),
            trouble=trouble,
            rehearsal=rehearsal,
            steps=_steps(),
            done=visit.asked("done"),
            history=await self._connections.history(row.id),
        )

    async def _act(self, visit: Visit) -> Response:
        connection, who = (await self._known(visit)).id, visit.session.person.name
        act = visit.text("do")
        try:
            if act == "test":
                return await self._page(visit, rehearsal=await self._connections.test_connection(connection))
            if act == "rename":
                name = visit.text("name")[:200]
                if not name or not name.isprintable():
                    return await self._page(visit, 422, trouble=_("A connection needs a name of one line."))
                await self._connections.rename(connection, name, who, visit.text("version"))
            elif act == "mend":
                row = await self._connections.connection(connection)
                info = self._connections.providers.get(row.provider)
                fields = (await _fields(visit, info))[0] if info else {}
                await self._connections.mend(connection, fields, who)
            else:
                raise Problem(404, "not_found", "There is nothing at this address.")
        except ValidationError as error:
            errors = errors_of(error)
            return await self._page(visit, 422, trouble=errors.get(""), errors=errors)
        except Problem as problem:
            if problem.status_code == 404:
                raise
            return await self._page(visit, problem.status_code, trouble=said(problem.detail))
        return visit.go(f"/connections/{connection}?done={act}")

    async def _leaving(self, visit: Visit) -> Response:
        """What taking it out of use would do; or, while that goes on, how far it is."""
        connection, row, going = visit.part("connection"), None, None
        try:
            row = await self._known(visit)
        except Problem:
            if not visit.asked("was"):  # else it was being taken out of use a moment ago, and now it is gone
                raise
        if row:
            going = await self._connections.going(connection)
            if going and visit.asked("was") == f"{going.left}.{going.stuck}":
                return Response(None, 204, visit.pages.headers)
            row = next((each for each in await self._rows(visit) if each.id == connection), None)
        theirs = (None, row.company if row else None)
        others = [each for each in await self._rows(visit) if each.id != connection and each.company in theirs]
        return visit.show(
            "connection_leave.html",
            row=row,
            going=going,
            others=others,
            offices=await self._names(),
            upcoming=await self._connections.upcoming(connection) if row and not going else 0,
            connection=connection,
        )

    async def _leave(self, visit: Visit) -> Response:
        connection, who = (await self._known(visit)).id, visit.session.person.name
        if visit.text("how") == "now":
            await self._connections.finish(connection, who)
            return visit.go("/connections?done=removed")
        try:
            wanted = Disconnection.model_validate({"how": visit.text("how"), "to": visit.text("to") or None})
        except ValidationError:
            raise Problem(422, "invalid", "Choose what is to become of the meetings.") from None
        if wanted.to is not None and not visit.owns((await self._connections.connection(wanted.to)).company):
            raise Problem(404, "unknown_connection", "No connection has this id.")
        going = await self._connections.disconnect(connection, wanted, who)
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

    def _offered(self, visit: Visit) -> ProviderInfo:
        info = self._connections.providers.get(visit.part("provider"))
        if info is None or not _is_offered(info):
            raise Problem(404, "not_found", "There is nothing at this address.")
        return info

    def _titles(self) -> Mapping[str, str]:
        return {name: said(info.title) for name, info in self._connections.providers.items()}

    async def _names(self) -> Mapping[str, str]:
        offices = (await self._offices.list_offices()).offices
        names = {each.id: each.name or _("Office %(id)s", id=each.id[:8]) for each in offices}
        return {**names, "default": _("All other offices")}


async def _fields(visit: Visit, info: ProviderInfo) -> tuple[dict[str, Any], dict[str, str]]:
    """What was typed or uploaded as an adapter's settings, and what of it may be shown again."""
    sent = {name: value for name, value in visit.form.multi_items() if isinstance(value, str)}
    for name, value in visit.form.multi_items():
        if isinstance(value, UploadFile) and (value.size or 0) > 0:
            raw = await value.read(_LONGEST_FILE)
            sent[name.removesuffix(".file")] = raw.decode("utf-8", "replace")
    return read(info.settings, _PREFIX, sent, [*(info.asks or ()), *info.asks_more]), sent_of(
        info.settings, _PREFIX, sent
    )


def _split(info: ProviderInfo, sent: Mapping[str, str], errors: Mapping[str, str]) -> tuple[list[Field], list[Field]]:
    main = fields_of(info.settings, _PREFIX, sent, errors, info.asks)
    return main, fields_of(info.settings, _PREFIX, sent, errors, info.asks_more)


def _is_offered(info: ProviderInfo) -> bool:
    return info.asks is None or bool(info.asks)


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
