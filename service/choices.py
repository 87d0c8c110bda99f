"""What each office chose: which connection makes its meetings, and how. Offices seen in events list themselves.

Keys: `vm:offices` (office -> choice) and `vm:offices:seen` (office -> when first seen, by whose event), without a TTL.
`vm:offices:claims` (office -> another company whose events name it, and when), 30 days after the last such event.
"""

import json
import re
import time
from collections.abc import Mapping
from functools import cache, lru_cache
from string import Formatter
from typing import Annotated, Any, Final, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from service.colour import as_hex
from service.store import Store, known_of, version_of
from service.vello import Record

DEFAULT: Final = "default"
"""The office that serves every office without a choice of its own."""

LOGO: Final = r"^[0-9a-f]{32}-(\d{1,3})x(\d{1,3})$"
"""What names of logos look like: a digest of the picture, and its width and height in pixels."""
CLAIMED: Final = 30 * 86_400
"""Seconds for which a claim is remembered."""

_OFFICES, _SEEN, _CLAIMS = "vm:offices", "vm:offices:seen", "vm:offices:claims"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_NEVER = version_of("")  # of an office without a choice of its own
_TITLE_FIELDS = {"office", "service", "record_number"}
_APPOINTMENT: Final = {
    "da": "Aftale",
    "de": "Termin",
    "et": "Kohtumine",
    "fi": "Tapaaminen",
    "nb": "Avtale",
    "no": "Avtale",
    "sv": "Möte",
}


def _uuid(value: str) -> str:
    if not _UUID.fullmatch(value):
        raise ValueError("a UUID was expected")
    return value.lower()


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())  # it reads hundreds of files


def _zone(value: str) -> str:
    if value not in _zones():
        raise ValueError("an IANA time zone was expected, such as Europe/Helsinki")
    return value


def _line(value: str) -> str:
    if not value.isprintable():
        raise ValueError("one line of text was expected")
    return value


def _title(value: str) -> str:
    try:
        parts = [part for part in Formatter().parse(value) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"the braces do not match: {error}") from None
    if any(spec or how for _, _, spec, how in parts):
        raise ValueError("braces hold nothing but a name")
    fields = {name for _, name, _, _ in parts}
    if unknown := {str(name) for name in fields} - _TITLE_FIELDS:
        raise ValueError(f"unknown {{{sorted(unknown)[0]}}}; known are {{office}}, {{service}} and {{record_number}}")
    return _line(value)


Uuid = Annotated[str, AfterValidator(_uuid)]
Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_line)]
Hosts = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_line)]


class Choice(BaseModel):
    """What an office selected; as the API takes and gives it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Line | None = Field(default=None, description="The office's name, for people and for the title.")
    time_zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="UTC", description="IANA time zone in which times of this office are shown."
    )
    connection: Line | None = Field(default=None, description="Id of the connection; null: no video here.")
    link: Literal["direct", "hosted"] = Field(
        default="direct",
        description="Whether Vello is told the provider's own link or the booking's page at this service.",
    )
    services: tuple[Uuid, ...] | None = Field(
        default=None, description="Services that get a video meeting; null: all of them."
    )
    hosts: dict[Uuid, Hosts] = Field(
        default_factory=dict,
        description="Resource to host, in the provider's words (an e-mail or an id); of several with commas between "
        "them, the first who is free.",
    )
    default_host: Hosts | None = Field(default=None, description="Host of resources that `hosts` does not name.")
    title: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_title)] | None = Field(
        default=None, description="Title of meetings; {office}, {service} and {record_number} are filled in."
    )
    service_names: dict[Uuid, Line] = Field(
        default_factory=dict, description="Names of services, for titles: Vello's events hold ids only."
    )
    tag: Line | None = Field(default=None, description="Tag that Vello gets together with the link.")
    contact: Line | None = Field(
        default=None, description="How customers reach the office, such as a phone number; shown on the booking's page."
    )
    logo: Annotated[str, Field(pattern=LOGO)] | None = Field(
        default=None, description="Name of an uploaded logo, shown on the booking's page."
    )
    colour: Annotated[str, AfterValidator(as_hex)] | None = Field(
        default=None,
        description="Colour of the booking's page, such as #0b5cad; what is written on it is white or black, as can be "
        "read.",
    )
    move: bool = Field(
        default=False,
        description="Meetings that stand on a connection this office chose before are made anew on `connection`, and "
        "get another direct link; else they stay there until their booking ends.",
    )
    options: dict[str, Any] = Field(default_factory=dict, description="What the provider's adapter declares.")

    @property
    def opens_before(self) -> int:
        """Seconds before the start at which the meeting opens."""
        return int(self.options.get("opens_before", 15)) * 60

    def hosts_of(self, resource: str | None) -> tuple[str, ...]:
        """Who may host a resource's meetings, best first."""
        named = self.hosts.get(resource or "", self.default_host) or ""
        return _hosts(named)

    def title_of(self, wish: Record) -> str:
        """The meeting's title; it carries no personal data unless an admin puts some there."""
        service = self.service_names.get(wish.service or "", "")
        return _titled(self.title or "", wish.language or "", self.name or "", service, wish.record_number or "")


@lru_cache(1024)  # a run plans several times
def _hosts(named: str) -> tuple[str, ...]:
    return tuple(host for each in named.split(",") if (host := each.strip()))


@lru_cache(1024)
def _titled(wanted: str, language: str, office: str, service: str, record_number: str) -> str:
    usual = _APPOINTMENT.get(language.replace("_", "-").partition("-")[0].lower(), "Appointment")
    text = (wanted or usual).format(office=office, service=service, record_number=record_number)
    return " ".join(text.split()) or usual


class Choices:
    """All offices' choices, held in memory and read again when the settings' revision moves."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._choices: Mapping[str, Choice] = {}
        self._versions: Mapping[str, str] = {}
        self._seen: dict[str, str] = {}  # office -> whose it is, of those that events named since the last load
        self._owners: Mapping[str, str] = {}

    async def load(self) -> None:
        """Read all choices."""
        rows, seen = await self._store.pipeline([("HGETALL", _OFFICES), ("HGETALL", _SEEN)])
        self._seen.clear()  # another process may have had one forgotten
        self._owners = _realms(seen)
        self._choices = {
            office: Choice.model_validate(known_of(row, Choice.model_fields)) for office, row in rows.items()
        }
        self._versions = {office: version_of(row) for office, row in rows.items()}

    def of(self, office: str | None, realm: str | None = None) -> Choice | None:
        """The choice that serves `office`: its own, else the default's, else None.

        Its own serves no booking of another company's `realm`, which may stand there from before it changed hands.
        """
        own = self._choices.get(office or DEFAULT)
        foreign = realm is not None and office is not None and self._owners.get(office, realm) != realm
        return self._choices.get(DEFAULT) if own is None or foreign else own

    def own(self, office: str) -> Choice | None:
        """The choice `office` made itself."""
        return self._choices.get(office)

    def logos(self) -> set[str]:
        """The logos that offices chose."""
        return {choice.logo for choice in self._choices.values() if choice.logo}

    def using(self, connection: str) -> list[str]:
        """The offices that chose `connection`."""
        return sorted(office for office, choice in self._choices.items() if choice.connection == connection)

    def version(self, office: str) -> str:
        """A name for what an office chose itself: another choice has another one."""
        return self._versions.get(office, _NEVER)

    async def put(self, office: str, choice: Choice, *, only_new: bool = False) -> None:
        """Store a choice; with `only_new` an existing one stays."""
        await self._store.execute("HSETNX" if only_new else "HSET", _OFFICES, office, choice.model_dump_json())

    async def replace(self, office: str, choice: Choice, version: str) -> bool:
        """Store a choice in place of the one of `version`; False when there is another one by now."""
        return await self._store.swap(_OFFICES, office, version, choice.model_dump_json())

    async def remove(self, office: str, version: str | None = None) -> bool | None:
        """Forget an office's own choice, or where it has none that it was seen; False when there was neither.

        With `version` only while that is the choice; None when it is another one.
        """
        if version is None:
            had = bool(await self._store.execute("HDEL", _OFFICES, office))
        else:
            had = version != _NEVER
            if not await self._store.swap(_OFFICES, office, version, ""):
                return None
        if had:
            return True
        self._seen.pop(office, None)
        gone = await self._store.pipeline([("HDEL", _SEEN, office), ("HDEL", _CLAIMS, office)])
        return bool(gone[0])

    async def saw(self, office: str | None, realm: str = "") -> bool:
        """Remember an office that an event of a company named, so that it lists itself.

        False when it is another company's, whose event named it first; that this one claims it is remembered.
        """
        if office is None:
            return True
        owner = self._seen.get(office)
        if owner is None:
            mine = json.dumps({"at": int(time.time()), "realm": realm})
            _, row = await self._store.pipeline([("HSETNX", _SEEN, office, mine), ("HGET", _SEEN, office)])
            owner = self._seen[office] = _realm(row or mine)
        if owner == realm:
            return True
        row = await self._store.execute("HGET", _SEEN, office)  # another process may have seen it change hands
        self._seen[office] = _realm(row) if row else owner
        if self._seen[office] == realm:
            return True
        claim = json.dumps({"at": int(time.time()), "realm": realm})
        await self._store.pipeline([("HSET", _CLAIMS, office, claim), ("EXPIRE", _CLAIMS, CLAIMED)])
        return False

    async def claims(self) -> dict[str, str]:
        """The company whose events name an office in vain, for it is another one's; the last one of several."""
        return _realms(await self._store.execute("HGETALL", _CLAIMS))

    async def dismiss(self, office: str) -> None:
        """Forget that another company claims an office, until it does so again."""
        await self._store.execute("HDEL", _CLAIMS, office)

    async def give(self, office: str, realm: str) -> None:
        """Make an office a company's, whoever's it was; what was chosen for it is forgotten."""
        row = json.dumps({"at": int(time.time()), "realm": realm})
        commands = [("HSET", _SEEN, office, row), ("HDEL", _OFFICES, office), ("HDEL", _CLAIMS, office)]
        await self._store.pipeline(commands)

    async def realms(self) -> dict[str, str]:
        """Whose each office is that was seen in an event."""
        return _realms(await self._store.execute("HGETALL", _SEEN))

    async def listed(self) -> list[str]:
        """Every office with a choice or seen in an event."""
        chosen, seen = await self._store.pipeline([("HKEYS", _OFFICES), ("HKEYS", _SEEN)])
        return sorted({*chosen, *seen})


def _realm(row: str) -> str:
    return str(json.loads(row).get("realm", ""))


def _realms(rows: Mapping[str, str]) -> dict[str, str]:
    return {office: _realm(row) for office, row in rows.items()}
