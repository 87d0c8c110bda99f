"""`/api/v1/offices`: what admins choose for offices; the API and the pages call the same."""

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Path, Response
from pydantic import ValidationError

from providers.base import DAY, Capabilities, Options
from service.again import KIND, serves
from service.changes import Change, Changes, difference
from service.choices import DEFAULT, Choice, Choices
from service.companies import Companies
from service.connections import Connections, UnknownConnection
from service.entry import Entry
from service.errands import Errands
from service.impact import Impact, impact
from service.ledger import Ledger
from service.logos import Logos
from service.moving import moved
from service.settings import Settings
from service.web.api_errands import begun
from service.web.errors import BY_API, IfMatch, Problem, invalid, meanwhile, version_in
from service.web.schema import ErrandRead, Office, OfficeCompany, OfficePage

SCAN = 5_000
"""Bookings that one request looks at, however many there are."""
PAST = (1, 3, 10, 30)
"""Days back for which resources and services of an office are looked for, the latest first."""

_PAGE = 200

OfficeId = Annotated[str, Path(pattern=r"^(default|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$")]


@dataclass(slots=True)
class Seen:
    """What events of an office named: resources and services, by id."""

    resources: set[str] = field(default_factory=set)
    services: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Look:
    left: int  # bookings that may still be looked at
    complete: bool = False  # it came to the end of all bookings


class OfficesApi:
    """The API's operations on offices."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        companies: Companies,
        changes: Changes,
        logos: Logos,
        errands: Errands,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._companies = companies
        self._changes = changes
        self._logos = logos
        self._errands = errands

    @property
    def _choices(self) -> Choices:
        return self._settings.choices

    @property
    def _connections(self) -> Connections:
        return self._settings.connections

    async def list_offices(self) -> OfficePage:
        """Every office with a choice, or seen in an event."""
        realms, claims = await self._choices.realms(), await self._choices.claims()
        return OfficePage(offices=[self._office(each, realms, claims) for each in await self._choices.listed()])

    async def get_office(self, office: OfficeId, response: Response) -> Office:
        """One office; 404 when it neither chose anything nor was seen in an event."""
        response.headers["ETag"] = f'"{self.version(office)}"'
        return await self.office(office)

    async def put_office(
        self, office: OfficeId, choice: Choice, response: Response, if_match: IfMatch = None
    ) -> Office:
        """Store an office's choice: it holds for a booking from its next event, with `move` for all from now on."""
        chosen = await self.choose(office, choice, BY_API, version_in(if_match))
        response.headers["ETag"] = f'"{self.version(office)}"'
        return chosen

    async def give_office(
        self, office: OfficeId, to: OfficeCompany, response: Response, if_match: IfMatch = None
    ) -> Office:
        """Make an office another company's; what was chosen for it is forgotten."""
        given = await self.give(office, to.company, BY_API, version_in(if_match))
        response.headers["ETag"] = f'"{self.version(office)}"'
        return given

    async def delete_office(self, office: OfficeId, if_match: IfMatch = None) -> Response:
        """Forget an office's own choice; the default serves it from now on."""
        await self.forget(office, BY_API, version_in(if_match))
        return Response(status_code=204)

    async def preview_office(self, office: OfficeId, choice: Choice) -> Impact:
        """What a choice would do to upcoming bookings; nothing is stored."""
        self._check(choice)
        return await self.weigh(office, choice)

    def choice(self, office: str, realm: str | None = None) -> Choice | None:
        """The choice that serves an office, or its bookings of a company."""
        return self._choices.of(office.lower(), realm)

    async def realms(self) -> Mapping[str, str]:
        """Whose each office is that was seen in an event; '' is the installation's own company."""
        return await self._choices.realms()

    async def claims(self) -> Mapping[str, str]:
        """The company whose events name an office of another one, and are refused."""
        return await self._choices.claims()

    async def may_use(self, office: str, connection: str) -> bool:
        """Whether a connection is there for an office: it is for all or of its company, or the office has it.

        What is one company's serves neither all other offices nor one of which nobody knows whose it is.
        """
        own, company = self._choices.own(office), self._connections.get(connection).company
        if company is None or (own and own.connection == connection):
            return True
        realm = (await self._choices.realms()).get(office)
        return realm is not None and company == (realm or "own")

    def own(self, office: str) -> Choice | None:
        """The choice an office made itself."""
        return self._choices.own(office.lower())

    def version(self, office: str) -> str:
        """What another admin's change to the office's own choice changes as well."""
        return self._choices.version(office.lower())

    async def office(self, office: str) -> Office:
        """One office; 404 when it neither chose anything nor was seen in an event."""
        if office.lower() not in await self._choices.listed():
            raise Problem(404, "unknown_office", "This office has no choice and was not seen in an event.")
        return self._office(office.lower(), await self._choices.realms(), await self._choices.claims())

    async def give(self, office: str, company: str, who: str, version: str | None = None) -> Office:
        """Make an office another company's, with `version` only while that is its choice."""
        office, realm = office.lower(), "" if company == "own" else company.lower()
        before = await self.office(office)
        if before.company is None:
            raise Problem(404, "unknown_office", "No event named this office yet, so it is nobody's.")
        if realm and await self._companies.get(realm) is None:
            raise Problem(404, "unknown_company", "No company with this id has been added.")
        if version is not None and version != self.version(office):
            raise meanwhile()
        if before.company == (realm or "own"):
            await self._choices.dismiss(office)
            return await self.office(office)
        await self._choices.give(office, realm)
        await self._changes.note(who, "office", office, "given", {"company": (before.company, company.lower())})
        await self._settings.announce(self._ledger)
        return await self.office(office)

    async def choose(self, office: str, choice: Choice, who: str, version: str | None = None) -> Office:
        """Store an office's choice, with `version` only in place of that one."""
        office = office.lower()
        self._check(choice)
        before, own = self._choices.of(office), self._choices.own(office)
        if choice.connection is not None and not await self.may_use(office, choice.connection):
            raise Problem(422, "invalid", "`connection`: this connection is another company's, or only for one.")
        if choice.logo is not None and not await self._logos.use(choice.logo):
            raise Problem(422, "invalid", "`logo`: no logo has this name; upload it first.")
        if version is None:
            await self._choices.put(office, choice)
        elif not await self._choices.replace(office, choice, version):
            await self._settings.load()
            raise meanwhile()
        fields = difference(own.model_dump(mode="json") if own else {}, choice.model_dump(mode="json"))
        if fields:
            await self._changes.note(who, "office", office, "set", fields)
        await self._settings.announce(self._ledger, before)
        if choice.move:
            await moved(self._ledger, self._settings, office)
        return await self.office(office)

    async def forget(self, office: str, who: str, version: str | None = None) -> None:
        """Forget an office's own choice, with `version` only that one."""
        office = office.lower()
        before = self._choices.own(office)
        gone = await self._choices.remove(office, version)
        if gone is None:
            await self._settings.load()
            raise meanwhile()
        if not gone:
            raise Problem(404, "unknown_office", "This office has no choice and was not seen in an event.")
        await self._changes.note(who, "office", office, "removed")
        await self._settings.announce(self._ledger, before)

    async def weigh(self, office: str, choice: Choice | None) -> Impact:
        """What a choice would do to upcoming bookings; None weighs that the office has none of its own any more."""
        office = office.lower()
        after = choice or (self._choices.of(DEFAULT) if office != DEFAULT else None)
        look = _Look(SCAN)
        entries = [entry async for entry in self._upcoming(office, int(time.time()), look)]
        before, able = self._choices.of(office), self._connections.capabilities
        return impact(entries, before, after, able, self._connections.promises, complete=look.complete)

    async def carry_out(self, office: str, who: str) -> ErrandRead:
        """Have all upcoming bookings of an office looked at again, however many there are."""
        return await begun(self._errands, KIND, {"office": office.lower()}, who)

    async def seen(self, office: str) -> Seen:
        """Resources and services of an office's bookings: of those to come first, then of what was lately."""
        found, look, now = Seen(), _Look(SCAN), int(time.time())
        edges = [now - days * DAY for days in (0, *PAST)]
        for since, until in [(now, None), *zip(edges[1:], edges, strict=False)]:
            async for entry in self._upcoming(office.lower(), since, look, until):
                if entry.wish and entry.wish.resource:
                    found.resources.add(entry.wish.resource)
                if entry.wish and entry.wish.service:
                    found.services.add(entry.wish.service)
        return found

    async def history(self, office: str, limit: int = 20, *, everything: bool = True) -> list[Change]:
        """Who changed an office's choice, the latest first; else only since it is the company's that has it now."""
        found = await self._changes.of("office", office.lower(), limit)
        mine = next((at for at, change in enumerate(found) if change.did == "given"), None)
        return found if everything else found[:mine]

    def problems(self, choice: Choice) -> ValidationError | Problem | None:
        """What is wrong with a choice beyond its form: its connection must exist, and declare its options."""
        declared: type[Options] = Options
        if choice.connection is not None:
            try:
                declared = self._connections.options(choice.connection)
            except UnknownConnection:
                return Problem(422, "invalid", "`connection`: no connection has this id.")
        try:
            declared.model_validate(choice.options)
        except ValidationError as error:
            return error
        return None

    def options(self, connection: str | None) -> type[Options]:
        """What an office may choose with a connection."""
        try:
            return self._connections.options(connection) if connection else Options
        except UnknownConnection:
            return Options

    def promises(self, connection: str | None) -> Capabilities | None:
        """What a connection can promise, None when it is not there."""
        return self._connections.capabilities(connection)

    async def _upcoming(self, office: str, since: int, look: _Look, until: int | None = None) -> AsyncIterator[Entry]:
        """Entries of the bookings that an office's choice serves, by their start, which is before `until`."""
        after = (since, "")
        realm = (await self._choices.realms()).get(office)
        while look.left > 0:
            rows = await self._ledger.page(after, _PAGE)
            for at, entry in rows.entries:
                if until is not None and at >= until:
                    return
                look.left -= 1
                if serves(self._settings, office, realm, entry):
                    yield entry
            if rows.last is None:
                look.complete = True
                return
            after = rows.last

    def _check(self, choice: Choice) -> None:
        problem = self.problems(choice)
        if isinstance(problem, ValidationError):
            raise invalid(problem, "options") from None
        if problem:
            raise problem

    def _office(self, office: str, realms: Mapping[str, str], claims: Mapping[str, str]) -> Office:
        own = self._choices.own(office)
        shown = own or (self._choices.of(office) if office != DEFAULT else None) or Choice()
        fields = shown.model_dump() if own else {**shown.model_dump(), "name": None}
        company = realms[office] or "own" if office in realms else None
        claim = claims[office] or "own" if office in claims else None
        return Office(id=office, own=own is not None, company=company, claimed_by=claim, **fields)
