"""`/offices`: which connection makes the meetings of each office, and how; weighed before it is saved."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from zoneinfo import available_timezones

from pydantic import ValidationError
from starlette.responses import Response
from starlette.routing import Route

from providers.base import Capabilities
from service.changes import since
from service.choices import DEFAULT, Choice
from service.vello import Rank, Record
from service.web.api_connections import ConnectionsApi
from service.web.api_offices import OfficesApi
from service.web.errors import Problem
from service.web.forms import Field, errors_of, fields_of, read, typed
from service.web.schema import ConnectionRead
from service.web.settings import Frame, Visit
from service.web.words import _, said

_LINES = ("name", "time_zone", "title", "tag", "contact", "default_host")
_EXAMPLE = Record(id="", rank=Rank.LIVE, record_number="2027-0042")


@dataclass(frozen=True, slots=True)
class Draft:
    """A choice as a form holds it: what is stored, or what was typed, right or wrong."""

    lines: Mapping[str, str]
    connection: str
    link: str
    services: frozenset[str] | None
    names: Mapping[str, str]
    hosts: Mapping[str, str]
    options: Mapping[str, str]
    move: bool = False
    errors: Mapping[str, str] = field(default_factory=dict)


class Offices:
    """The list, an office's form, and what a change would do."""

    def __init__(self, frame: Frame, offices: OfficesApi, connections: ConnectionsApi) -> None:
        self._frame = frame
        self._offices = offices
        self._connections = connections

    def routes(self) -> list[Route]:
        """The pages and what their forms do."""
        return [
            self._frame.get("/offices", self._list),
            self._frame.get("/offices/{office}", self._show),
            self._frame.post("/offices/{office}", self._save),
            self._frame.post("/offices/{office}/preview", self._preview),
            self._frame.get("/offices/{office}/people", self._people),
        ]

    async def _list(self, visit: Visit) -> Response:
        offices = (await self._offices.list_offices()).offices
        names = {row.id: row.name for row in (await self._connections.list_connections()).connections}
        mine = None if visit.all_companies else await self._mine(visit)
        rest = [each for each in offices if each.id != DEFAULT and (mine is None or each.id in mine)]
        claims = [office for office, realm in (await self._offices.claims()).items() if visit.sees(realm)]
        default = next((each for each in offices if each.id == DEFAULT), None)
        companies = await self._frame.companies() if visit.all_companies else {}
        return visit.show(
            "offices.html",
            offices=rest,
            default=default,
            names=names,
            companies=companies,
            refused=[] if visit.all_companies else claims,
            saved=visit.asked("saved"),
        )

    async def _show(self, visit: Visit) -> Response:
        office = await self._known(visit)
        return await self._form(visit, office, _stored(self._begun(visit, office)), saved=visit.asked("saved"))

    def _begun(self, visit: Visit, office: str) -> Choice:
        return begun(self._offices, visit, office)

    async def _save(self, visit: Visit) -> Response:
        office, who = await self._known(visit), visit.session.person.name
        version = visit.text("version")
        if visit.text("do") == "give":
            return await self._give(visit, office)
        if visit.text("do") == "forget":
            if self._offices.own(office) is None:
                raise Problem(404, "unknown_office", "This office has no choice and was not seen in an event.")
            try:
                await self._offices.forget(office, who, version)
            except Problem as problem:
                return await self._refused(visit, office, _stored(self._begun(visit, office)), problem)
            return visit.go("/offices?saved=1")
        draft, choice = await self._sent(visit, office)
        if choice is None:
            return await self._form(visit, office, draft, 422)
        if visit.text("do") != "save":
            return await self._form(visit, office, draft, choice=choice)
        try:
            await self._offices.choose(office, choice, who, version)
        except Problem as problem:
            return await self._refused(visit, office, draft, problem)
        if visit.text("carry_out"):
            await self._offices.carry_out(office, who)
            return visit.go("/errands?saved=1")  # which says how many
        return visit.go(f"/offices/{office}?saved=1")

    async def _give(self, visit: Visit, office: str) -> Response:
        """Make it another company's."""
        visit.demand_all()
        try:
            await self._offices.give(office, visit.text("company"), visit.session.person.name, visit.text("version"))
        except Problem as problem:
            return await self._refused(visit, office, _stored(self._begun(visit, office)), problem)
        return visit.go(f"/offices/{office}?saved=given")

    async def _preview(self, visit: Visit) -> Response:
        office = await self._known(visit)
        draft, choice = await self._sent(visit, office)
        weighed = await self._offices.weigh(office, choice) if choice else None
        changed = visit.text("options_of") != draft.connection
        return visit.show(
            "office_preview.html",
            office=office,
            draft=draft,
            impact=weighed,
            title=_title(choice),
            options=self._option_fields(draft) if changed else None,
        )

    async def _people(self, visit: Visit) -> Response:
        """Whom the host fields propose; they take what is typed as well, so a provider that fails is no obstacle."""
        await self._known(visit)
        rows, people = (await self._connections.list_connections()).connections, list[str]()
        mine = {row.id for row in rows if visit.owns(row.company)}
        if visit.asked("connection") in mine:
            with suppress(Problem):
                people = (await self._connections.list_people(visit.asked("connection"))).people
        return visit.show("office_people.html", people=people)

    async def _refused(self, visit: Visit, office: str, draft: Draft, problem: Problem) -> Response:
        """The form again with what was typed; if somebody else was faster, with what they chose."""
        return await self._form(visit, office, draft, problem.status_code, trouble=said(problem.detail))

    async def _form(
        self,
        visit: Visit,
        office: str,
        draft: Draft,
        status: int = 200,
        *,
        choice: Choice | None = None,
        trouble: str | None = None,
        saved: str = "",
    ) -> Response:
        seen, connections = await self._offices.seen(office), await self._connected(visit, office)
        history = await self._offices.history(office, everything=visit.all_companies)
        companies = await self._frame.companies() if visit.all_companies else {}
        return visit.show(
            "office.html",
            status,
            office=office,
            default=office == DEFAULT,
            own=self._offices.own(office) is not None,
            draft=draft,
            connections=connections,
            called={row.id: row.name for row in connections} | {id_: name for id_, name in draft.names.items() if name},
            options=self._option_fields(draft),
            services=sorted(seen.services | (draft.services or frozenset()) | set(draft.names)),
            resources=sorted(seen.resources | set(draft.hosts)),
            zones=sorted(available_timezones()),
            stood=visit.stood(self._offices.version(office), status),
            impact=await self._offices.weigh(office, choice) if choice else None,
            title=_title(choice or self._begun(visit, office)),
            row=None if office == DEFAULT else await self._offices.office(office),
            companies=companies,
            history=history,
            meanwhile=since(history, visit.text("read_at")) if status == 412 else [],
            trouble=trouble,
            saved=saved,
        )

    def _option_fields(self, draft: Draft) -> list[Field]:
        errors = {name.removeprefix("options."): text for name, text in draft.errors.items()}
        fields = fields_of(self._offices.options(draft.connection or None), "options.", draft.options, errors)
        held = _held(self._offices.promises(draft.connection or None))
        return [
            replace(each, hint=f"{each.hint} {held}".strip()) if each.name == "options.opens_before" else each
            for each in fields
        ]

    async def _sent(self, visit: Visit, office: str) -> tuple[Draft, Choice | None]:
        """What was typed, and the choice it makes if nothing is wrong with it."""
        sent = {name: value for name, value in visit.form.multi_items() if isinstance(value, str)}
        connection = visit.text("connection")
        hosts = {name.removeprefix("host."): text for name, text in sent.items() if name.startswith("host.")}
        names = {name.removeprefix("name."): text for name, text in sent.items() if name.startswith("name.")}
        some = visit.text("which_services") == "some"
        services = frozenset(str(each) for each in visit.form.getlist("service")) if some else None
        model = self._offices.options(connection or None)
        draft = Draft(
            lines={name: visit.text(name) for name in _LINES},
            connection=connection,
            link=visit.text("link"),
            services=services,
            names=names,
            hosts=hosts,
            options={name: sent.get(f"options.{name}", "") for name in model.model_fields},
            move=visit.text("move") == "yes",
        )
        fields: dict[str, Any] = {name: text for name, text in draft.lines.items() if text}
        fields |= {"connection": connection or None, "link": draft.link or "direct", "move": draft.move}
        fields["services"] = sorted(services) if services is not None else None
        fields["hosts"] = {resource: host.strip() for resource, host in hosts.items() if host.strip()}
        fields["service_names"] = {service: name.strip() for service, name in names.items() if name.strip()}
        fields["options"] = read(model, "options.", sent)
        stands = self._begun(visit, office)  # what another page sets stays as it is
        fields |= {"logo": stands.logo, "colour": stands.colour}
        try:
            choice = Choice.model_validate(fields)
        except ValidationError as error:
            return _wrong(draft, errors_of(error)), None
        mine = {row.id for row in await self._connected(visit, office)}
        problem = self._offices.problems(choice)
        if choice.connection is not None and choice.connection not in mine:
            problem = Problem(422, "invalid", "`connection`: no connection has this id.")
        if isinstance(problem, ValidationError):
            return _wrong(draft, errors_of(problem, "options")), None
        if problem:
            return _wrong(draft, {"connection": _("This connection is gone. Choose another one.")}), None
        return draft, choice

    async def _known(self, visit: Visit) -> str:
        return await known(self._offices, visit)

    async def _mine(self, visit: Visit) -> set[str]:
        return await mine(self._offices, visit)

    async def _connected(self, visit: Visit, office: str) -> list[ConnectionRead]:
        """The connections from which this admin may choose for an office: what another one gave it may stay."""
        rows, own = (await self._connections.list_connections()).connections, self._offices.own(office)
        theirs = [row for row in rows if await self._offices.may_use(office, row.id)]
        return [row for row in theirs if visit.owns(row.company) or (own and row.id == own.connection)]


async def known(offices: OfficesApi, visit: Visit) -> str:
    """The office that a visit names; raises Problem for one that this admin may not see."""
    office = visit.part("office").lower()
    if office != DEFAULT:
        await offices.office(office)
    if not visit.all_companies and office not in await mine(offices, visit):
        raise Problem(404, "unknown_office", "This office has no choice and was not seen in an event.")
    return office


async def mine(offices: OfficesApi, visit: Visit) -> set[str]:
    """The offices of the companies that this admin may see."""
    return {office for office, realm in (await offices.realms()).items() if visit.sees(realm)}


def begun(offices: OfficesApi, visit: Visit, office: str) -> Choice:
    """What an office's form begins with: its own choice, or what serves it as far as this admin may see that."""
    choice = offices.choice(office) or Choice()
    if offices.own(office) or office == DEFAULT:
        return choice
    return choice.model_copy(update={"name": None}) if visit.all_companies else Choice(time_zone=choice.time_zone)


def _stored(choice: Choice) -> Draft:
    fields = choice.model_dump(mode="json")
    return Draft(
        lines={name: fields[name] or "" for name in _LINES},
        connection=choice.connection or "",
        link=choice.link,
        services=frozenset(choice.services) if choice.services is not None else None,
        names=choice.service_names,
        hosts=choice.hosts,
        options=typed(choice.options),
        move=choice.move,
    )


def _held(promised: Capabilities | None) -> str:
    """Whether a connection's provider holds to `opens_before`."""
    if promised is None:
        return ""
    if promised.enforces_window:
        return _("With this account nobody gets in before.")
    if promised.opens_early:
        return _(
            "This account's provider is told, and lets people in by its own rules; the booking's page opens at once."
        )
    return _("This account's provider cannot hold to it: who has the link may get in at any time.")


def _wrong(draft: Draft, errors: Mapping[str, str]) -> Draft:
    return replace(draft, errors=errors)


def _title(choice: Choice | None) -> str:
    """How a meeting's title would read."""
    choice = choice or Choice()
    return choice.title_of(_EXAMPLE._replace(service=next(iter(choice.service_names), None)))
