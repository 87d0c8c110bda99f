"""What a provider's error means for a record: what is written, and when it is tried again."""

import random
from dataclasses import dataclass
from typing import Final

import structlog

from providers.base import Fixer, PermanentError, ProviderError, TemporaryError
from service.entry import Entry, Reason, State
from service.ledger import Change, reason_text

REFUSALS: Final = 3
"""Permanent errors in a row after which a record is given up, loudly, until something about it changes."""
_LONGEST_WAIT: Final = 900.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did: the entry as it is afterwards, and what of it is to be written."""

    entry: Entry
    change: Change


def back_off(attempts: int) -> float:
    """Seconds until the next try: doubled each time, capped, with jitter."""
    return float(min(_LONGEST_WAIT, 2 ** min(attempts, 12))) * random.uniform(0.5, 1.0)  # noqa: S311


def later(
    entry: Entry, error: ProviderError, code: str, revision: str, drop: tuple[str, ...], *, park: str = ""
) -> Step:
    """Try again after a while, or with `park` when that connection works again."""
    wait = back_off(entry.attempts)
    if isinstance(error, TemporaryError) and error.retry_after:
        wait = max(wait, error.retry_after)
    who: Fixer = "admin" if park else "operator"
    sets = {"state": State.PENDING, "reason": reason_text(Reason(code, error.text, who)), "settings": revision}
    return Step(entry, Change("park" if park else "retry", sets, drop, ((code, error.text),), wait, park))


def refused(entry: Entry, error: PermanentError, revision: str, drop: tuple[str, ...]) -> Step:
    """Try again a few times, because vendors err too, then give up."""
    refusals = entry.refusals + 1
    sets = {
        "reason": reason_text(Reason("permanent", error.text, error.who_can_fix)),
        "refusals": str(refusals),
        "settings": revision,
    }
    if refusals < REFUSALS:
        return Step(entry, Change("retry", sets, drop, (("refused", error.text),), back_off(refusals)))
    _log.error("given_up", reason=error.text, who_can_fix=error.who_can_fix)
    text = f"Given up after {refusals} refusals: {error.text}"
    return Step(entry, Change("done", {**sets, "state": State.FAILED}, drop, (("failed", text),)))
