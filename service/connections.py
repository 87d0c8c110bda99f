"""Connections: provider accounts and servers that somebody connected, with their credentials and health.

Keys: `vm:connections` (id -> what it is, its settings in an envelope) and `vm:connections:health` (id -> state);
neither has a TTL.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from typing import Any, Final, Literal, cast

from pydantic import ValidationError

from providers.base import (
    Account,
    Budget,
    Capabilities,
    Kinds,
    MeetingProvider,
    Options,
    ProviderInfo,
    ProviderSettings,
)
from service.entry import Placement
from service.store import Store, StoreUnavailable, known_of, version_of
from service.vault import Damaged, UnknownKey, Vault

BUILT_IN: Final = "jitsi"
"""Id of the connection that JITSI_URL makes."""
ROBOT: Final = "google"
"""Id of the connection that GOOGLE_SERVICE_ACCOUNT_KEY makes."""

CONNECTIONS: Final = "vm:connections"

_HEALTH = "vm:connections:health"

_RACES = 20  # times somebody else may be faster while an account is connected again
_LOOK_AGAIN = 1.0  # seconds for which the health in memory is believed

HealthState = Literal["ready", "reconnect", "failing"]
Cause = Literal["outage", "probe"]


class UnknownConnection(Exception):
    """No connection has this id: it was removed, or its provider's adapter is not installed."""


class Unreadable(UnknownConnection):
    """A connection's settings cannot be read: damaged, sealed with another key, or its adapter takes them no longer.

    `why` is for the operator.
    """

    def __init__(self, why: str) -> None:
        super().__init__("Its settings cannot be read here: enter them again, or have the operator ask the doctor why.")
        self.why = why


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a connection works, why not, and when that was seen (unix seconds); `since` when it has its state.

    `cause`: the provider does not answer, or a probe found it; None where a booking, a test or a person did.
    """

    state: HealthState = "ready"
    reason: str | None = None
    checked_at: int | None = None
    since: int | None = None
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Connection:
    """One connected account or server; `envelope` holds its settings and never leaves the service.

    `grant` names the grant of an account that a person connected in a browser. `company` is whose it is; None: the
    installation's, for all.
    """

    id: str
    provider: str
    method: str
    name: str
    account: str
    envelope: str = field(repr=False)
    grant: str | None = None
    company: str | None = None


@cache
def _has_kinds(adapter: type[MeetingProvider]) -> bool:
    """Asked once for each class: to look for a protocol's members takes longer than a plan."""
    return issubclass(adapter, Kinds)


def connection_purpose(connection: str) -> str:
    """What the envelope with a connection's settings is bound to."""
    return f"connection:{connection}"


_FIELDS = frozenset(each.name for each in fields(Connection))
_HEALTH_FIELDS = frozenset(each.name for each in fields(Health))


class Connections:
    """All connections, held in memory and read again when the settings' revision moves."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        registry: Mapping[str, ProviderInfo],
        connect: Callable[[ProviderInfo, ProviderSettings, Connection], MeetingProvider],
    ) -> None:
        self._store = store
        self._vault = vault
        self._registry = registry
        self._connect = connect
        self._rows: Mapping[str, Connection] = {}
        self._versions: Mapping[str, str] = {}
        self._settings: dict[str, tuple[Connection, ProviderSettings]] = {}
        self._adapters: dict[str, tuple[Connection, MeetingProvider]] = {}
        self._people: dict[tuple[str, str], str] | None = None  # who is known by several names, if anybody asked
        self._health: dict[str, Health] = {}
        self._looked = 0.0

    async def load(self) -> None:
        """Read all connections."""
        rows = await self._store.execute("HGETALL", CONNECTIONS)
        self._rows = {key: Connection(**known_of(row, _FIELDS)) for key, row in rows.items()}
        self._versions = {key: version_of(row) for key, row in rows.items()}
        self._people = None
        self._health, self._looked = await self.health(), time.monotonic()

    @property
    def providers(self) -> Mapping[str, ProviderInfo]:
        """Every provider there is, by name."""
        return self._registry

    def version(self, connection: str) -> str:
        """A name for what is stored of a connection: after a change it is another one."""
        return self._versions.get(connection, "")

    def all(self) -> list[Connection]:
        """Every connection by name."""
        return sorted(self._rows.values(), key=lambda row: (row.name, row.id))

    def get(self, connection: str) -> Connection:
        """Raises UnknownConnection."""
        if connection not in self._rows:
            raise UnknownConnection(connection)
        return self._rows[connection]

    def settings_of(self, connection: Connection) -> ProviderSettings:
        """A connection's settings with its secrets, from their envelope. Raises UnknownConnection, Unreadable."""
        if connection.provider not in self._registry:
            raise UnknownConnection(connection.id)
        kept = self._settings.get(connection.id)
        if kept and kept[0] == connection:
            return kept[1]
        try:
            revealed = json.loads(self._vault.open(connection.envelope, connection_purpose(connection.id)))
            settings = self._registry[connection.provider].settings.model_validate(revealed)
        except (UnknownKey, Damaged) as error:
            raise Unreadable(str(error)) from None
        except ValidationError as error:
            names = {str(each["loc"][0]) for each in error.errors(include_input=False) if each["loc"]}
            which = ", ".join(sorted(names)) or "the fields together"
            raise Unreadable(f"Its adapter no longer takes what is stored: {which}.") from None
        self._settings[connection.id] = (connection, settings)
        return settings

    def provider(self, connection: str) -> MeetingProvider:
        """The adapter that speaks for a connection. Raises UnknownConnection."""
        kept = self._adapters.get(connection)
        if kept and kept[0] is self._rows.get(connection):
            return kept[1]
        row = self.get(connection)
        if kept is None or kept[0] != row:  # not only read again
            settings = self.settings_of(row)
            kept = row, self._connect(self._registry[row.provider], settings, row)
        self._adapters[connection] = row, kept[1]
        return kept[1]

    def capabilities(self, connection: str | None) -> Capabilities | None:
        """What a connection can promise; None when there is no such connection."""
        try:
            return self.provider(connection).capabilities if connection else None
        except UnknownConnection:
            return None

    def promises(self, placed: Placement) -> Capabilities | None:
        """What a connection can promise of one meeting; None when there is no such connection."""
        try:
            provider = self.provider(placed.connection)
        except UnknownConnection:
            return None
        if _has_kinds(type(provider)):
            return cast(Kinds, provider).promises(placed.spec, placed.meeting)
        return provider.capabilities

    def app(self, connection: str) -> str | None:
        """What guests know a connection's provider by, None where they know no name of it."""
        row = self._rows.get(connection)
        info = self._registry.get(row.provider) if row else None
        return info.app if info else None

    def budget(self, connection: str) -> tuple[str, Budget] | None:
        """The account whose hosts are counted, over all its connections; None where the vendor does not count."""
        capabilities = self.capabilities(connection)
        if capabilities is None or capabilities.budget is None:
            return None
        return self._account(self.get(connection)), capabilities.budget

    def host_of(self, connection: str, host: str | None) -> tuple[str, str]:
        """Which account's host it is, and by one name whatever she is called and whichever connection reaches her.

        Raises: UnknownConnection.
        """
        row = self.get(connection)
        account, name = self._account(row), (host or "me").lower()
        if not self.provider(connection).capabilities.needs_host:
            name = next(iter(self.settings_of(row).person), "me").lower()
        if self._people is None:
            self._people = dict(self._named())
        return account, self._people.get((account, name), name)

    def _account(self, row: Connection) -> str:
        """The vendor's account; one that a company only typed counts for that company alone: anybody may type it."""
        account = self._typed(row)
        if row.company is None or row.grant or any(self._grants(other, row, account) for other in self._rows.values()):
            return account
        return f"{account}\0{row.company}"

    def _grants(self, other: Connection, row: Connection, account: str) -> bool:
        """Whether the vendor gave the same company access to an account by another connection."""
        if not other.grant or (other.company, other.provider) != (row.company, row.provider):
            return False
        try:
            return self._typed(other) == account
        except UnknownConnection:
            return False

    def _typed(self, row: Connection) -> str:
        return f"{row.provider}\0{self.settings_of(row).account_key}"

    def _named(self) -> Iterator[tuple[tuple[str, str], str]]:
        """Every name of everybody who connected an account, and the one to call them by."""
        for row in self._rows.values():
            try:
                account, person = self._account(row), [name.lower() for name in self.settings_of(row).person]
            except UnknownConnection:
                continue  # whoever uses it will be told
            yield from (((account, name), person[0]) for name in person)

    def gives_notice(self, connection: str) -> bool:
        """Whether a connection's vendor tells us what people change there."""
        row = self._rows.get(connection)
        info = self._registry.get(row.provider) if row else None
        return info is not None and info.notice is not None

    def options(self, connection: str) -> type[Options]:
        """The options an office may choose with this connection. Raises UnknownConnection."""
        row = self.get(connection)
        if row.provider not in self._registry:
            raise UnknownConnection(connection)
        return self._registry[row.provider].options

    async def add(
        self,
        provider: str,
        name: str,
        settings: ProviderSettings,
        *,
        connection: str | None = None,
        company: str | None = None,
    ) -> Connection:
        """Store a connection; `connection` gives it a fixed id, and then one that exists is kept as it is."""
        key = connection or secrets.token_hex(8)
        envelope = self._vault.seal(json.dumps(settings.reveal()), connection_purpose(key))
        row = Connection(key, provider, settings.method, name, settings.account, envelope, company=company)
        await self._store.execute("HSETNX" if connection else "HSET", CONNECTIONS, key, json.dumps(asdict(row)))
        return row

    async def adopt(
        self,
        provider: str,
        grant: str,
        account: Account,
        before: Connection | None,
        company: str | None = None,
    ) -> Connection:
        """The connection of an account that a person has just connected: `before` if it is there, else a new one."""
        settings = self.validated(provider, account.settings)
        if before is None:
            # The same account at the same time in two browsers is still one connection of a company.
            key = hashlib.sha256(f"{grant}\0{company}".encode()).hexdigest()[:16] if company else grant[:16]
            envelope = self._vault.seal(json.dumps(settings.reveal()), connection_purpose(key))
            row = Connection(key, provider, settings.method, account.name, account.name, envelope, grant, company)
            await self._store.execute("HSET", CONNECTIONS, row.id, json.dumps(asdict(row)))
            return row
        for _ in range(_RACES):
            row = replace(before, account=account.name, grant=grant)
            had = self._had(before)
            wanted = settings.again(had) if had else settings
            if had != wanted:
                envelope = self._vault.seal(json.dumps(wanted.reveal()), connection_purpose(before.id))
                row = replace(row, method=wanted.method, envelope=envelope)
            if await self._store.swap(CONNECTIONS, row.id, self.version(row.id), json.dumps(asdict(row))):
                return row
            await self.load()  # somebody named it otherwise, or connected it as well: that stays as far as it can
            if before.id not in self._rows:
                return await self.adopt(provider, grant, account, None, company)
            before = self._rows[before.id]
        raise StoreUnavailable("The connection is changed again and again.")

    def _had(self, row: Connection) -> ProviderSettings | None:
        try:
            return self.settings_of(row)
        except Unreadable:
            return None

    def holding(self, grant: str) -> list[Connection]:
        """The connections that use a grant."""
        return [row for row in self._rows.values() if row.grant == grant]

    async def change(self, row: Connection, settings: ProviderSettings, version: str) -> bool:
        """Give a connection of `version` other settings; False when somebody changed it meanwhile."""
        envelope = self._vault.seal(json.dumps(settings.reveal()), connection_purpose(row.id))
        changed = replace(row, method=settings.method, account=settings.account, envelope=envelope)
        return await self._store.swap(CONNECTIONS, row.id, version, json.dumps(asdict(changed)))

    async def rename(self, row: Connection, name: str, version: str) -> bool:
        """Give a connection of `version` another name; False when somebody changed it meanwhile."""
        return await self._store.swap(CONNECTIONS, row.id, version, json.dumps(asdict(replace(row, name=name))))

    async def remove(self, connection: str) -> None:
        """Forget a connection and its credentials."""
        await self._store.pipeline([("HDEL", CONNECTIONS, connection), ("HDEL", _HEALTH, connection)])

    async def health(self) -> dict[str, Health]:
        """The health of every connection that has been used."""
        rows = await self._store.execute("HGETALL", _HEALTH)
        return {key: Health(**known_of(row, _HEALTH_FIELDS)) for key, row in rows.items()}

    def state(self, connection: str) -> Health:
        """A connection's health as it was read last."""
        return self._health.get(connection, Health())

    async def mark(
        self, connection: str, state: HealthState, reason: str | None = None, cause: Cause | None = None
    ) -> None:
        """Remember whether a connection works."""
        known = await self._seen(connection)
        if known and (known.state, known.reason, known.cause) == (state, reason, cause):
            return
        now = int(time.time())
        since = known.since or known.checked_at if known and known.state == state else now
        self._health[connection] = health = Health(state, reason, now, since, cause)
        await self._store.execute("HSET", _HEALTH, connection, json.dumps(asdict(health)))

    async def works(self, connection: str) -> bool:
        """Remember that a connection answered; True when it did not before."""
        known = await self._seen(connection)
        if known is None or known.state == "ready":
            return False
        await self.mark(connection, "ready")
        return True

    async def _seen(self, connection: str) -> Health | None:
        if time.monotonic() - self._looked > _LOOK_AGAIN:  # another process may have seen something else since
            self._health, self._looked = await self.health(), time.monotonic()
        return self._health.get(connection)

    def validated(self, provider: str, fields: Mapping[str, Any]) -> ProviderSettings:
        """Settings of a new connection. Raises KeyError for an unknown provider, pydantic's ValidationError."""
        return self._registry[provider].settings.model_validate(dict(fields))


async def ensure_built_in(
    connections: Connections, key: str, provider: str, name: str, fields: Mapping[str, Any]
) -> Literal["new", "changed", "same"]:
    """Make the connection that the environment asks for, or change it to these fields; says what there was to do."""
    try:
        row = connections.get(key)
    except UnknownConnection:
        await connections.add(provider, name, connections.validated(provider, fields), connection=key)
        return "new"
    settings = connections.settings_of(row)
    wanted = connections.validated(provider, {**settings.reveal(), **fields})
    if wanted == settings:
        return "same"
    await connections.change(row, wanted, connections.version(key))  # where not, another process is as new
    return "changed"
