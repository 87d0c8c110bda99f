"""What a guest is told of the way in: what to expect at the click, a passcode, telephone numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from babel.core import get_global

from providers.base import Capabilities, DialIn, Entrance
from service.entry import Entry
from service.web.words import _, language

NUMBERS: Final = 3
"""Telephone numbers shown at most: those of the office's country first, then of the reader's."""
_COUNTRIES: Final = {"fi": "FI", "sv": "SE", "nb": "NO", "da": "DK", "et": "EE", "de": "DE"}


@dataclass(frozen=True, slots=True)
class Way:
    """The way into one meeting. Passcode and numbers open it as its link does."""

    expect: tuple[str, ...]
    passcode: str | None = field(repr=False)
    dial_in: tuple[DialIn, ...] = field(repr=False)


def way_of(entry: Entry, capabilities: Capabilities, app: str | None, zone: str) -> Way:
    """What is known of the way into a record's meeting, in the language of the request.

    `app` is what guests know the provider by, `zone` the office's time zone.
    """
    meeting = entry.meeting.meeting if entry.meeting else None
    entrance = (meeting and meeting.entrance) or Entrance()
    return Way(tuple(_expected(capabilities, entrance, app)), entrance.passcode, _nearest(entrance.dial_in, zone))


def _expected(capabilities: Capabilities, entrance: Entrance, app: str | None) -> list[str]:
    """Plain sentences; nothing is said of what nobody knows. What the vendor answered counts before what is usual."""
    logs_in = capabilities.guests_log_in if entrance.guests_log_in is None else entrance.guests_log_in
    waits = capabilities.guests_wait if entrance.guests_wait is None else entrance.guests_wait
    told = []
    if capabilities.opens_in == "app_or_browser":
        named = _("It opens in the app %(app)s or in your browser.", app=app) if app else ""
        told.append(named or _("It opens in an app or in your browser."))
    elif capabilities.opens_in == "browser":
        told.append(_("It opens in your browser."))
    if logs_in:
        told.append(_("You must be logged in to %(app)s.", app=app) if app else _("You must be logged in there."))
    elif logs_in is False:
        told.append(_("No account is needed."))
    if waits:
        told.append(_("You may have to wait until the host lets you in."))
    return told


def _nearest(numbers: Sequence[DialIn], zone: str) -> tuple[DialIn, ...]:
    wanted = [get_global("zone_territories").get(zone), _COUNTRIES.get(language())]
    ranks = {region: rank for rank, region in reversed(list(enumerate(wanted)))}
    return tuple(sorted(numbers, key=lambda each: ranks.get(each.region, len(wanted)))[:NUMBERS])
