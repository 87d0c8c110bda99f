"""What needs a person: from the state of everything to a few sentences, each with its cure. Pure.

No sentence holds anything of a customer, of a booking's link, or of what a provider said: they go out by mail.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import gmtime, strftime
from typing import Final, Literal

from service.connections import Health
from service.lacking import Lacking, Shortfall

Code = Literal[
    "connection.reconnect",
    "connection.refused",
    "connection.unusable",
    "connection.outage",
    "connection.scopes",
    "connection.expiring",
    "connection.budget",
    "bookings.missing",
    "bookings.failed",
    "clock",
    "notices.mail",
    "notices.webhook",
]

PATIENCE: Final[Mapping[Code, int]] = {
    "connection.reconnect": 0,
    "connection.refused": 0,
    "connection.unusable": 300,
    "connection.outage": 1800,
    "connection.scopes": 0,
    "connection.expiring": 0,
    "connection.budget": 0,
    "bookings.missing": 300,
    "bookings.failed": 0,
    "clock": 0,
    "notices.mail": 1800,
    "notices.webhook": 1800,
}
"""Seconds a matter must last before anybody is told: what may pass by itself has time to."""
BAD_HEALTH: Final = frozenset[Code]({"connection.reconnect", "connection.refused", "connection.outage"})
"""What ends with a connection that works again, which is worth a word."""
EXPIRES_SOON: Final = 3 * 86_400
"""Seconds before the end of an access at which it is said."""
STALE: Final = 21 * 86_400
"""Seconds without a renewal after which an access is in danger: idle ones are renewed weekly."""
SKEWED: Final = 5.0
"""Seconds by which two clocks may differ."""

_WELL = Health()
_MEND = "See on its page what the provider says, and mend it there."
_AGAIN = "Connect the account again; what waits for it goes on by itself."
_BOOKINGS = "See each of them in settings: it says why, and what helps."


@dataclass(frozen=True, slots=True)
class Matter:
    """One thing that needs a person: what happened, since when (unix seconds), what helps, and where in settings.

    `about` names which one of several: a connection's id, a company's. `company` is whose it is, None: the
    installation's, for all. `items` are digests of the bookings it is about, but for those that wait for an account:
    that one is a matter of its own.
    """

    code: Code
    since: int
    text: str
    cure: str
    path: str
    about: str = ""
    company: str | None = None
    items: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The same for the same matter at any time."""
        return f"{self.code}:{self.about}"


@dataclass(frozen=True, slots=True)
class Condition:
    """How one connection in use is. `ends_at`: when its access ends by itself; `idle_for`: seconds since its renewal.

    `usable` is false when its settings cannot be read here. `left` is which part of the day is left, from 0 to 1.
    """

    id: str
    name: str
    health: Health = _WELL
    company: str | None = None
    usable: bool = True
    waiting: int = 0
    lacking: bool = False
    ends_at: int | None = None
    idle_for: float = 0.0
    left: float = 1.0

    @property
    def mend(self) -> str:
        """Where it is put right."""
        return f"/connections/{self.id}"


@dataclass(frozen=True, slots=True)
class Silence:
    """A way of telling people that does not work, since when (unix seconds), and what it answered."""

    since: int
    text: str


def matters(
    conditions: Iterable[Condition],
    shortfall: Shortfall,
    now: float,
    *,
    skew: float = 0.0,
    silences: Mapping[str, Silence] | None = None,
) -> list[Matter]:
    """Everything that needs a person, the worst first; `silences` are of ways to tell people, by name."""
    found: list[Matter] = []
    for each in conditions:
        found += _of(each, int(now))
    found += _of_bookings(shortfall, int(now))
    if abs(skew) >= SKEWED:
        text = f"The clocks of this service and of its store differ by {abs(skew):.0f} seconds."
        found.append(Matter("clock", int(now), text, "Let both machines set their clocks by NTP.", "/notices"))
    found += undelivered(silences or {})
    return sorted(found, key=lambda each: ([*PATIENCE].index(each.code), each.since, each.about))


def health_matter(each: Condition) -> Matter | None:
    """What a connection's health alone says."""
    health, since = each.health, each.health.since or each.health.checked_at or 0

    def matter(code: Code, text: str, cure: str) -> Matter:
        return Matter(code, since, text, cure, each.mend, each.id, each.company)

    if health.state == "reconnect":
        text = f"The account of {each.name} no longer lets this service in."
        if each.waiting:
            text = f"The account of {each.name} no longer lets this service in. Bookings that wait: {each.waiting}."
        return matter("connection.reconnect", text, _AGAIN)
    if health.state == "failing" and health.cause == "outage":
        text = f"The provider of {each.name} does not answer; the account is not to blame."
        cure = (
            "It is tried again by itself, and bookings get their page's link; the provider's status page may say more."
        )
        return matter("connection.outage", text, cure)
    if health.state == "failing":
        return matter("connection.refused", f"The provider of {each.name} refuses what it is asked.", _MEND)
    return None


def undelivered(silences: Mapping[str, Silence]) -> Iterator[Matter]:
    """The ways to tell people that do not work."""
    cure = "The page of notices shows what was answered; send a test notice there when it is mended."
    if mail := silences.get("mail"):
        yield Matter("notices.mail", mail.since, "Notices cannot be mailed.", cure, "/notices", "mail")
    if hook := silences.get("webhook"):
        yield Matter("notices.webhook", hook.since, "The webhook for notices takes none.", cure, "/notices", "webhook")


def _of(each: Condition, now: int) -> Iterator[Matter]:
    def matter(code: Code, text: str, cure: str) -> Matter:
        return Matter(code, now, text, cure, each.mend, each.id, each.company)

    if not each.usable:
        text = f"{each.name} cannot be used: its adapter or the key of its secrets is missing here."
        yield matter("connection.unusable", text, "The operator puts it back; the doctor says which one.")
        return
    if each.lacking:
        text = f"The account of {each.name} does not allow everything that is needed."
        yield matter(
            "connection.scopes", text, "Connect it again and leave every box ticked; its page says what is missing."
        )
    if (poor := health_matter(each)) and not (each.lacking and poor.code == "connection.refused"):
        yield poor
    if each.health.state != "reconnect" and each.ends_at is not None and each.ends_at - now <= EXPIRES_SOON:
        text = f"The access to {each.name} ends by itself on {strftime('%Y-%m-%d', gmtime(each.ends_at))}."
        yield matter(
            "connection.expiring", text, "Connect the account again before; its page says how access is made to last."
        )
    elif each.health.state != "reconnect" and each.idle_for >= STALE:
        text = f"The access to {each.name} could not be renewed for {each.idle_for / 86_400:.0f} days."
        yield matter(
            "connection.expiring", text, "Test the connection on its page, and connect the account again if that fails."
        )
    if each.left <= 0:
        text = f"A host of {each.name} has used up what the provider allows in a day."
        yield matter(
            "connection.budget", text, "Name further hosts for the office, or wait: it begins anew at 00:00 UTC."
        )


def _of_bookings(shortfall: Shortfall, now: int) -> Iterator[Matter]:
    realms = dict.fromkeys(each.realm for each in shortfall.bookings)
    for realm in realms:
        mine = [each for each in shortfall.bookings if each.realm == realm]
        missing = [each for each in mine if each.start <= now + 86_400]
        failed = [each for each in mine if each.start > now + 86_400]
        if missing:
            text = f"Bookings of the next 24 hours without a meeting: {_many(missing, shortfall)}."
            yield _bookings("bookings.missing", now, text, realm, missing, "/bookings")
        if failed:
            text = f"Later bookings whose meetings were given up: {_many(failed, shortfall)}."
            yield _bookings("bookings.failed", now, text, realm, failed, "/bookings?state=failed")


def _many(some: Sequence[Lacking], shortfall: Shortfall) -> str:
    return f"{len(some)}+" if shortfall.unseen else str(len(some))


def _bookings(code: Code, now: int, text: str, realm: str, some: Sequence[Lacking], path: str) -> Matter:
    names = tuple(each.name for each in some if each.parked is None)
    return Matter(code, now, text, _BOOKINGS, path, realm, realm or "own", names)
