"""Which link Vello is told for a record, and what the page behind the hosted link shows. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from providers.base import Capabilities
from service.choices import Choice
from service.entry import Entry, State, digest
from service.plan import is_to_be_replaced, unwanted
from service.vello import Rank

GRACE: Final = 2 * 3600
"""Seconds after its end for which a meeting whose window is enforced can still be entered."""

_NEEDS_SOMEBODY: Final = {"reconnect", "permanent"}  # codes of reasons that waiting alone does not mend


@dataclass(frozen=True, slots=True)
class Link:
    """A link for Vello; `hosted` when it is the booking's page at this service."""

    url: str
    hosted: bool


class Moment(StrEnum):
    """What the page behind a hosted link has to say."""

    OPEN = "open"
    EARLY = "early"
    OVER = "over"
    PENDING = "pending"
    LATE = "late"
    TROUBLE = "trouble"
    CANCELLED = "cancelled"
    NONE = "none"


def hosted_url(public_url: str, token: str) -> str:
    """The booking's page."""
    return f"{public_url}/m/{token}"


def host_link(public_url: str, token: str) -> str:
    """The page of the booking's host."""
    return f"{public_url}/h/{token}"


def link_for(
    entry: Entry,
    choice: Choice | None,
    capabilities: Capabilities | None,
    public_url: str,
    standing: Capabilities | None = None,
) -> Link | None:
    """The link Vello is to have now; None where no video meeting is wanted. The flags are those that `plan` takes.

    A direct link needs a meeting that is there; once Vello has a hosted link it keeps it, so that what was sent to
    a customer stays the truth.
    """
    if unwanted(entry, choice) is not None or choice is None or entry.token is None:
        return None
    placed = entry.meeting
    meeting = placed.meeting if placed else None
    promised = standing if placed and placed.connection != choice.connection else capabilities
    mints = promised is not None and promised.mints_link
    direct = choice.link == "direct" and not mints and not entry.hosted
    # A meeting that is about to be replaced is no link to hand out.
    if direct and meeting and not is_to_be_replaced(entry, choice, capabilities, standing):
        return Link(meeting.join_url, hosted=False)
    return Link(hosted_url(public_url, entry.token), hosted=True)


def digest_of(link: Link) -> str:
    """The fingerprint by which the ledger remembers a link."""
    return digest(link.url)


def vello_was_told(entry: Entry, link: Link | None) -> bool:
    """Whether the last link Vello was given is the one it would be given now."""
    return link is None or entry.told[-1:] == (digest_of(link),)


def window(entry: Entry, choice: Choice | None) -> tuple[int, int]:
    """From when until when a meeting with an enforced window can be entered, UTC unix seconds.

    A booking that was entered late, or long after, stays open for a while after Vello asked for its link.
    """
    wish = entry.wish
    start, duration = (wish.start or 0, wish.duration or 0) if wish else (0, 0)
    before = choice.opens_before if choice else 0
    return start - before, max(start + duration, entry.asked) + GRACE


def moment(entry: Entry, choice: Choice | None, capabilities: Capabilities | None, now: int) -> Moment:
    """What the page shows at `now`."""
    if entry.rank is not Rank.LIVE:
        return Moment.CANCELLED
    if unwanted(entry, choice) is not None:
        return Moment.NONE
    if entry.meeting is None:
        return _waiting(entry)
    if capabilities is None:  # the connection that holds the meeting was removed
        return Moment.TROUBLE
    if capabilities.enforces_window:
        opens, closes = window(entry, choice)
        if now < opens:
            return Moment.EARLY
        if now >= closes:
            return Moment.OVER
    return Moment.OPEN


def _waiting(entry: Entry) -> Moment:
    """What a page without a meeting says: it comes, it comes late, or somebody has to do something first."""
    if entry.state is State.FAILED or (entry.reason and entry.reason.code in _NEEDS_SOMEBODY):
        return Moment.TROUBLE
    return Moment.LATE if entry.reason else Moment.PENDING
