"""What a vendor can tell of meetings that stand: those with our marker, a page at a time.

An optional ability beside `MeetingProvider`'s verbs. It is asked by the sweep, which holds what stands at a vendor
against the ledger.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from providers.base import Meeting


@dataclass(frozen=True, slots=True)
class Listed:
    """A meeting with our marker, as a vendor's list shows it.

    `key`, `generation` and `owner` are those of the spec it was made by; `owner` is '' where the marker names none.
    `start` and `made_at` are UTC unix seconds, `start` None where the meeting has no one time any more; `duration` is
    seconds. `whole`: its link is what a guest needs; else a list shows less of it than the meeting has.
    """

    meeting: Meeting
    key: str
    generation: int
    owner: str
    start: int | None
    duration: int
    title: str
    made_at: float = 0.0
    whole: bool = True


@dataclass(frozen=True, slots=True)
class ListedPage:
    """Some of a host's meetings. `following` asks for the next page, None at the end.

    `complete`: what is on none of the pages does not stand; without it nothing follows from a meeting that is missing.
    """

    meetings: tuple[Listed, ...]
    following: str | None = None
    complete: bool = True


@runtime_checkable
class Listing(Protocol):
    """A provider whose meetings can be listed."""

    async def upcoming(self, host: str | None, owner: str, since: int, page: str | None) -> ListedPage:
        """One page of the meetings of `host` that carry our marker and are not over at `since` (UTC unix seconds).

        It may show others besides, and meetings of other installations than `owner`; their `owner` says so. `host` is
        a name as in `MeetingSpec.host`, None for the connection's own account. A page that is out of date is refused.

        Raises: TemporaryError, ReconnectRequired, PermanentError.
        """
