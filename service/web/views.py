"""Connections and records as they may be shown: to programs by the API, to people by pages."""

from collections.abc import Sequence

from providers.base import Scope
from service.agenda import Agendas
from service.budget import Budgets
from service.connections import Connection, Health, UnknownConnection, Unreadable
from service.endpoint import lacks
from service.entry import Entry
from service.errors import Catalogue
from service.grants import Source
from service.ledger import Ledger
from service.links import link_for, vello_was_told
from service.oauth import Broker
from service.settings import Settings
from service.web.schema import ConnectionRead, RecordRead


class Views:
    """What is known of connections and records, put together in a few round trips."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        broker: Broker,
        budgets: Budgets,
        agendas: Agendas,
        public_url: str,
        catalogue: Catalogue,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._choices = settings.choices
        self._connections = settings.connections
        self._broker = broker
        self._budgets = budgets
        self._agendas = agendas
        self._public_url = public_url
        self._catalogue = catalogue

    async def connections(self, rows: Sequence[Connection]) -> list[ConnectionRead]:
        """Connections with their health, scopes and what is left of the day."""
        health, sources = await self._connections.health(), {row.id: self.source(row) for row in rows}
        allowed = await self._broker.allowed(*(source.grant for source in sources.values() if source))
        counted = {row.id: account for row in rows if (account := self._connections.budget(row.id))}
        left = dict(zip(counted, await self._budgets.left(list(counted.values())), strict=True))
        shown, waiting = [], await self._ledger.waiting([row.id for row in rows])
        for row, waits in zip(rows, waiting, strict=True):
            source = sources[row.id]
            granted = allowed[source.grant].scopes if source else ()
            lacking = allowed[source.grant].missing(source.vendor.oauth) if source else ()
            read = self._connection(row, health.get(row.id, Health()), granted, lacking)
            said = [lacks(source.vendor, lacking)] if source and lacking else []
            budget = self._own(row, left.get(row.id))
            changes = {"budget": budget, "warnings": [*said, *read.warnings], "waiting": waits}
            shown.append(read.model_copy(update=changes))
        return shown

    async def records(self, entries: Sequence[Entry]) -> list[RecordRead]:
        """Records with what to know about their meetings, without their journals."""
        placed = [entry.meeting for entry in entries if entry.meeting]
        taken = await self._agendas.warnings(self._connections, placed)
        warnings = {each.name: text for each, text in zip(placed, taken, strict=True)}
        return [self._record(entry, warnings.get(entry.meeting.name) if entry.meeting else None) for entry in entries]

    def code(self, text: str | None) -> str | None:
        """The code of what a text tells, None where that is no trouble, or one that only its provider knows."""
        found = self._catalogue.find(text)
        return found.code if found else None

    def source(self, row: Connection) -> Source | None:
        """Where a connection's tokens come from, None if it needs none."""
        try:
            return self._broker.source(row, self._connections.settings_of(row))
        except UnknownConnection:
            return None

    def _own(self, row: Connection, left: dict[str, int] | None) -> dict[str, int] | None:
        """Of what is left of an account's hosts, theirs whom this connection serves."""
        capabilities = self._connections.capabilities(row.id)
        if left is None or capabilities is None or capabilities.needs_host:
            return left
        _, own = self._connections.host_of(row.id, None)
        return {host: count for host, count in left.items() if host == own}

    def _connection(
        self, row: Connection, now: Health, granted: tuple[str, ...], lacking: tuple[Scope, ...]
    ) -> ConnectionRead:
        try:
            warnings = self._connections.settings_of(row).warnings()
        except Unreadable as error:
            now, warnings = Health("failing", str(error)), []
        except UnknownConnection:
            now, warnings = Health("failing", f"No adapter called {row.provider!r} is installed."), []
        return ConnectionRead(
            id=row.id,
            provider=row.provider,
            method=row.method,
            name=row.name,
            account=row.account,
            state=now.state,
            reason=now.reason,
            reason_code=self.code(now.reason),
            scopes=list(granted),
            missing_scopes=[scope.any_of[0] for scope in lacking],
            warnings=warnings,
            budget=None,
            checked_at=now.checked_at,
            since=now.since or now.checked_at,
            in_use_by=self._choices.using(row.id),
            waiting=0,
            company=row.company,
        )

    def _record(self, entry: Entry, taken: str | None) -> RecordRead:
        wish, placed = entry.wish, entry.meeting
        choice = self._settings.choice_of(entry)
        chosen, standing = self._settings.promises(entry, choice)
        link = link_for(entry, choice, chosen, self._public_url, standing)
        connection = placed.connection if placed else None
        try:
            provider = self._connections.get(connection).provider if connection else None
        except UnknownConnection:
            provider = None
        own = choice is not None and wish is not None and choice is self._choices.own(wish.office or "")
        named = choice is not None and wish is not None and (wish.resource or "") in choice.hosts
        return RecordRead(
            id=entry.record,
            company=wish.company if wish else None,
            realm=entry.realm,
            office=wish.office if wish else None,
            resource=wish.resource if wish else None,
            service=wish.service if wish else None,
            number=wish.record_number if wish else None,
            version=entry.version,
            start=wish.start if wish else None,
            duration=wish.duration if wish else None,
            state=entry.state,
            reason=entry.reason.text if entry.reason else None,
            reason_code=self.code(entry.reason.text) if entry.reason else None,
            who_can_fix=entry.reason.who_can_fix if entry.reason else None,
            released=entry.released,
            chosen_by="office" if own else "default" if choice else None,
            host_by="resource" if named else "default_host" if choice and choice.default_host else None,
            link=link.url if link else None,
            vello_told=vello_was_told(entry, link),
            provider=provider,
            connection=connection,
            host=placed.meeting.host if placed and placed.meeting else None,
            meeting_id=placed.meeting.id if placed and placed.meeting else None,
            join_url=placed.meeting.join_url if placed and placed.meeting else None,
            attempts=entry.attempts,
            next_attempt_at=None,
            warnings=[*(placed.meeting.warnings if placed and placed.meeting else ()), *([taken] if taken else [])],
        )
