"""One booking's words in the order Vello wrote them, and what must stand at the end."""

import random
import uuid
from dataclasses import dataclass, field
from typing import Any

from service.vello import CANCELLED, DELETED, UPDATE_METADATA
from tests.events import START, record

UPDATED = "record.updated"
_KINDS = ("moved", "moved", "longer", "cancelled", "asked", "asked", "elsewhere")


@dataclass(frozen=True, slots=True)
class Office:
    """An office, the vendor it chose (its place in the world's list), the links it wants and who hosts."""

    vendor: int
    link: str
    host: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, slots=True)
class Word:
    """One thing Vello says about a booking."""

    kind: str
    data: dict[str, Any]


class Booking:
    """The words are numbered by their version, so that in whatever order they arrive the last one counts."""

    def __init__(self, chance: random.Random, offices: list[Office], most: int = 6) -> None:
        self._chance = chance
        self._offices = {office.id: office for office in offices}
        self.data = record(office=chance.choice(offices).id)
        self.asked = chance.random() < 0.95
        self.deleted = chance.random() < 0.12
        self.words = [Word(UPDATE_METADATA if self.asked else UPDATED, dict(self.data))]
        for version in range(2, chance.randint(2, most) + 1):
            self.words.append(self._next(version))
        if self.deleted:
            self.words.append(Word(DELETED, {"id": self.data["id"]}))
        self.link: str | None = None
        """What Vello was told last."""
        self.told: dict[str, float] = {}
        """All it was told, and when last (unix seconds)."""

    def _next(self, version: int) -> Word:
        chance, kind = self._chance, self._chance.choice(_KINDS)
        changes: dict[str, Any] = {"version": version, "changed": 1_800_000_000 + version}
        changes["canceled"] = kind == "cancelled"
        if kind == "moved":
            changes["time"] = START + 60 * chance.randint(1, 10_000)
        elif kind == "longer":
            changes["duration"] = 60 * chance.randint(10, 120)
        elif kind == "elsewhere":
            changes["office"] = chance.choice(list(self._offices))
        self.data |= changes
        told = {"cancelled": CANCELLED, "asked": UPDATE_METADATA if self.asked else UPDATED}
        return Word(told.get(kind, UPDATED), dict(self.data))

    @property
    def id(self) -> str:
        """Vello's id of it."""
        return str(self.data["id"])

    @property
    def office(self) -> Office:
        """Where it takes place in the end."""
        return self._offices[self.data["office"]]

    @property
    def live(self) -> bool:
        """It takes place."""
        return not self.deleted and not self.data["canceled"]

    @property
    def wanted(self) -> bool:
        """A meeting is to stand."""
        return self.asked and self.live

    def arriving(self) -> list[Word]:
        """The words as they arrive: some twice, half of the bookings' in any order."""
        arriving = [*self.words, *(word for word in self.words if self._chance.random() < 0.25)]
        if self._chance.random() < 0.5:
            self._chance.shuffle(arriving)
        return arriving
