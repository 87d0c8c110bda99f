"""What a provider's error means for a record: what is written, and when it is tried again."""

import math
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog

from providers.base import (
    Capabilities,
    Fixer,
    Meeting,
    OutcomeUnknown,
    PermanentError,
    ProviderError,
    ReconnectRequired,
    TemporaryError,
)
from service.entry import Entry, Placement, Reason, State, reason_text
from service.verbs import Change

REFUSALS: Final = 3
"""Permanent errors in a row after which a record is given up, loudly, until something about it changes."""
LONGEST_WAIT: Final = 900.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did: the entry as it is afterwards, and what of it is to be written."""

    entry: Entry
    change: Change

    @property
    def failed(self) -> bool:
        """It did not do what it was to do."""
        return self.change.mode in ("retry", "park")

    @property
    def made(self) -> Placement | None:
        """The meeting it leaves, or the one it may have made when nobody knows."""
        if self.failed and self.entry.intent is not None and "intent" not in self.change.drop:
            return self.entry.intent
        return self.entry.meeting

    @property
    def settled(self) -> Entry:
        """The entry once a step that settles it is committed."""
        return self.entry._replace(
            state=State(self.change.set["state"]),
            settled=self.entry.generation,
            reason=None if "reason" in self.change.drop else self.entry.reason,
            attempts=0,
            refusals=0,
            leased_until=0,
        )


def back_off(attempts: int) -> float:
    """Seconds until the next try: doubled each time, capped, with jitter."""
    return float(min(LONGEST_WAIT, 2 ** min(attempts, 12))) * random.uniform(0.5, 1.0)  # noqa: S311


def warned(meeting: Meeting) -> tuple[tuple[str, str], ...]:
    """The journal's lines for what is not quite as it was asked for."""
    return tuple(("warning", text) for text in meeting.warnings)


def again(entry: Entry, why: str) -> Change:
    """Hand the record back to be tried again, for a reason that is ours."""
    wait = back_off(entry.attempts)
    return Change("retry", journal=(("again", f"{why} Tried again in {_about(wait)}."),), delay=wait)


def held(entry: Entry, why: str, wait: float, revision: str, drop: tuple[str, ...] = ()) -> Step:
    """Put the record back for `wait` seconds: nothing was tried, so nothing counts. Its journal says so once."""
    text = f"{why}; tried again at {time.strftime('%H:%M:%S', time.gmtime(time.time() + wait))} UTC."
    sets = {"state": State.PENDING, "reason": reason_text(Reason("held", text, "operator")), "settings": revision}
    told = entry.reason is not None and entry.reason.code == "held"
    return Step(entry, Change("back", sets, drop, () if told else (("held", text),), wait))


def failed(
    entry: Entry,
    doing: str,
    connection: str,
    error: ProviderError,
    revision: str,
    closes: tuple[str, ...],
    anew: Mapping[str, str],
) -> Step:
    """What a call on `connection` that ended in `error` leaves; `doing` the meeting is what it was for.

    `closes` are fields to drop when nothing happened, `anew` fields to write once more when something may have: the
    age of an intent counts from then.
    """
    match error:
        case PermanentError():
            return refused(entry, doing, error, revision, closes)
        case ReconnectRequired():
            return _later(entry, doing, error, "reconnect", revision, Change("park", drop=closes, park=connection))
        case OutcomeUnknown():
            return _later(entry, doing, error, "unknown", revision, Change("retry", dict(anew)))
        case _:
            return _later(entry, doing, error, "temporary", revision, Change("retry", drop=closes))


def _later(entry: Entry, doing: str, error: ProviderError, code: str, revision: str, change: Change) -> Step:
    wait = back_off(entry.attempts)
    if isinstance(error, TemporaryError) and error.retry_after:
        wait = max(wait, error.retry_after * random.uniform(1.0, 1.1))  # noqa: S311 - not all who were told at once
    who: Fixer = "admin" if change.park else "operator"
    sets = {"state": State.PENDING, "reason": reason_text(Reason(code, error.text, who)), "settings": revision}
    then = "It goes on when the account works again." if change.park else f"Tried again in {_about(wait)}."
    journal = ((code, f"{doing} the meeting did not work: {error.text} {then}"),)
    return Step(entry, replace(change, set={**change.set, **sets}, journal=journal, delay=wait))


def refused(entry: Entry, doing: str, error: PermanentError, revision: str, drop: tuple[str, ...]) -> Step:
    """Try again a few times, because vendors err too, then give up."""
    refusals = entry.refusals + 1
    sets = {
        "reason": reason_text(Reason("permanent", error.text, error.who_can_fix)),
        "refusals": str(refusals),
        "settings": revision,
    }
    if refusals < REFUSALS:
        wait = back_off(refusals)
        text = f"{doing} the meeting was refused: {error.text} Tried again in {_about(wait)}."
        return Step(entry, Change("retry", sets, drop, (("refused", text),), wait))
    _log.error("given_up", reason=error.text, who_can_fix=error.who_can_fix)
    text = f"{doing} the meeting was refused {refusals} times and is given up: {error.text}"
    return Step(entry, Change("done", {**sets, "state": State.FAILED}, drop, (("failed", text),)))


def gone_for_good(capabilities: Capabilities | None) -> bool:
    """Whether a removed meeting's name must not be used again: a process that was slow could remove it once more."""
    return capabilities is None or capabilities.enforces_teardown or capabilities.burns_keys


def _about(seconds: float) -> str:
    return f"about {math.ceil(seconds)} s" if seconds <= 120 else f"about {math.ceil(seconds / 60)} min"
