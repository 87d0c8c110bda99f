"""What a provider can promise, as flags that the core and the pages read in place of its name."""

from dataclasses import dataclass
from typing import Literal

DAY = 86_400  # seconds


@dataclass(frozen=True, slots=True)
class Budget:
    """How often a vendor lets one host be served in `seconds`: a day begins at 00:00 UTC, a shorter while at any time.

    `verbs` draw from it; the last `reserve` calls are for `create` alone, so that moved bookings never cost a new one
    its meeting.
    """

    per_host: int
    reserve: int = 0
    seconds: int = DAY
    verbs: tuple[Literal["create", "update", "delete"], ...] = ("create", "update")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can promise. The core and the pages read these flags, never a provider's name."""

    keeps_link: bool
    """`update` leaves the join URL as it was; without it a moved booking gets a new meeting."""
    enforces_teardown: bool
    """After `delete` nobody gets in through the old link; without it the room only loses its booking."""
    enforces_window: bool
    """Nobody gets in before `opens_before` or long after the end."""
    mints_link: bool
    """The link people use is made at the click by `join_url`; what `Meeting.join_url` says opens nothing."""
    idempotent_create: bool
    """A second `create` with the same key and generation, even at once, answers the first one's meeting."""
    needs_host: bool
    """A meeting belongs to one person's account; another host needs another meeting."""
    max_duration: int | None = None
    """Longest meeting in seconds, None if unlimited."""
    opens_early: bool = False
    """The meeting itself knows `opens_before`, so another value is a change of the meeting."""
    one_at_a_time: bool = False
    """A host's second meeting at the same time is made, and fails when it is joined."""
    budget: Budget | None = None
    """How often the vendor lets each host be served in a while, None if it does not count."""
    burns_keys: bool = False
    """What was removed never comes back under its key and generation, although its link may still open something."""
    finds: bool = True
    """What a lost answer made can be found again; without it such a meeting stays behind, empty, its link unknown."""
    opens_in: Literal["browser", "app_or_browser"] | None = None
    """Where a guest's link opens. This and the next two are what guests are told; None: nobody can say, so nothing."""
    guests_wait: bool | None = None
    """Guests may have to wait until the host lets them in."""
    guests_log_in: bool | None = None
    """Guests need an account at the vendor."""
