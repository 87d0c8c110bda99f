"""What an error leaves: how long a record waits, what counts, what its journal says."""

import re

import pytest

from providers.base import OutcomeUnknown, PermanentError, ReconnectRequired, TemporaryError
from service.entry import Reason, State
from service.outcome import REFUSALS, Step, back_off, failed, held
from tests.entries import asked

AGAIN = {"intent": "sealed"}


def left(error: TemporaryError | OutcomeUnknown | PermanentError | ReconnectRequired, **fields: int) -> Step:
    """What an error leaves of a record that was being given a meeting."""
    return failed(asked(**fields), "Making", "zoom-1", error, "7", ("intent",), AGAIN)


def test_the_wait_doubles_up_to_a_quarter_of_an_hour_and_is_never_the_same() -> None:
    for attempts, most in ((0, 1), (1, 2), (5, 32), (9, 512), (10, 900), (1000, 900)):
        waits = [back_off(attempts) for _ in range(200)]
        assert most / 2 <= min(waits) < max(waits) <= most
        assert len(set(waits)) > 100


def test_a_vendors_time_is_honoured_and_a_shorter_one_does_not_shorten_the_wait() -> None:
    waits = [left(TemporaryError("Busy.", 60.0)).change.delay for _ in range(50)]
    assert 60 <= min(waits) < max(waits) <= 66
    assert left(TemporaryError("Busy.", 0.1), attempts=10).change.delay > 400


def test_only_what_may_have_happened_keeps_its_intent() -> None:
    temporary, unknown = left(TemporaryError("Busy.")).change, left(OutcomeUnknown("Lost.")).change
    assert (temporary.mode, temporary.drop, "intent" in temporary.set) == ("retry", ("intent",), False)
    assert (unknown.mode, unknown.drop, unknown.set["intent"]) == ("retry", (), "sealed")


def test_a_dead_account_parks_its_record() -> None:
    change = left(ReconnectRequired("Refused.")).change
    assert (change.mode, change.park, change.drop) == ("park", "zoom-1", ("intent",))


@pytest.mark.parametrize("before", range(REFUSALS))
def test_refusals_are_given_up_after_a_few(before: int) -> None:
    change = left(PermanentError("No.", "admin"), refusals=before).change
    assert change.mode == ("retry" if before + 1 < REFUSALS else "done")
    assert change.set.get("state") == (None if before + 1 < REFUSALS else State.FAILED)


def test_what_is_held_costs_no_attempt_and_is_told_once() -> None:
    first = held(asked(), "It is busy", 3600.0, "7").change
    assert (first.mode, first.delay, first.set["state"]) == ("back", 3600.0, State.PENDING)
    assert [what for what, _ in first.journal] == ["held"]
    assert re.fullmatch(r"It is busy; tried again at \d\d:\d\d:\d\d UTC\.", first.journal[0][1])
    again = held(
        asked(reason=Reason("held", "It is busy; tried again at 00:00:00 UTC.", "operator")), "It is", 1.0, "7"
    )
    assert again.change.journal == ()
