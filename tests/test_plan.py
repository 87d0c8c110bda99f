"""The plan: every verdict, and what it never says."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Capabilities, Meeting
from service.choices import Choice
from service.entry import Entry
from service.plan import KEPT, Verdict, is_to_be_replaced, key_of, plan, spec_of, unwanted
from service.vello import Rank, Record
from tests.entries import CHOICE, JOIN_URL, RECORD, WISH, asked, capabilities, placed, ready

OTHER = Choice(connection="jitsi-2")
HOSTED = Choice(connection="zoom-1", default_host="b@x")
MOVED = WISH._replace(start=WISH.start + 3600 if WISH.start else 0)
LEFTOVER = placed(spec_of(asked(), WISH, CHOICE, generation=0), "old", "m-0")


@pytest.mark.parametrize(
    ("entry", "choice", "flags", "verdict"),
    [
        (asked(), CHOICE, {}, Verdict.CREATE),
        (asked(asked=0), CHOICE, {}, Verdict.IGNORE),
        (asked(), None, {}, Verdict.IGNORE),
        (asked(), Choice(connection=None), {}, Verdict.IGNORE),
        (asked(foreign="0123456789abcdef"), CHOICE, {}, Verdict.IGNORE),
        (asked(rank=Rank.CANCELLED), CHOICE, {}, Verdict.IGNORE),
        (asked(rank=Rank.DELETED, wish=None), CHOICE, {}, Verdict.IGNORE),
        (asked(wish=WISH._replace(archived=True)), CHOICE, {}, Verdict.IGNORE),
        (asked(), Choice(connection="zoom-1", services=(WISH.service or "",)), {}, Verdict.CREATE),
        (asked(), Choice(connection="zoom-1", services=()), {}, Verdict.IGNORE),
        (
            asked(wish=WISH._replace(service=None)),
            Choice(connection="zoom-1", services=()),
            {},
            Verdict.IGNORE,
        ),
        (ready(), CHOICE, {}, Verdict.KEEP),
        (ready(wish=MOVED), CHOICE, {}, Verdict.UPDATE),
        (ready(), Choice(connection="zoom-1", title="Call {record_number}"), {}, Verdict.UPDATE),
        (ready(), Choice(connection="zoom-1", options={"waiting_room": True}), {}, Verdict.UPDATE),
        (ready(), Choice(connection="zoom-1", options={"opens_before": 30}), {}, Verdict.KEEP),
        (ready(), Choice(connection="zoom-1", options={"opens_before": 30}), {"opens_early": True}, Verdict.UPDATE),
        (ready(), Choice(connection="zoom-1", default_host="b@x"), {}, Verdict.UPDATE),
        (ready(), Choice(connection="zoom-1", default_host="b@x"), {"needs_host": True}, Verdict.REPLACE),
        (ready(wish=MOVED), CHOICE, {"keeps_link": False}, Verdict.REPLACE),
        (ready(), OTHER, {}, Verdict.REPLACE),
        (ready(), Choice(connection=None), {}, Verdict.DELETE),
        (ready(rank=Rank.CANCELLED), CHOICE, {}, Verdict.DELETE),
        (ready(rank=Rank.DELETED, wish=None), CHOICE, {}, Verdict.DELETE),
        (ready(foreign="0123456789abcdef"), CHOICE, {}, Verdict.DELETE),
        (ready(retired=(LEFTOVER,)), CHOICE, {}, Verdict.DELETE),
        (asked(rank=Rank.CANCELLED, retired=(LEFTOVER,)), CHOICE, {}, Verdict.DELETE),
    ],
)
def test_the_plan_says(entry: Entry, choice: Choice | None, flags: dict[str, Any], verdict: Verdict) -> None:
    action = plan(entry, choice, capabilities(**flags))
    assert action.verdict is verdict
    assert action.why
    assert (unwanted(entry, choice) is None) == (
        verdict in (Verdict.CREATE, Verdict.KEEP, Verdict.UPDATE, Verdict.REPLACE)
        or (entry.retired == (LEFTOVER,) and entry.live)
    )


def test_a_replacement_is_made_before_the_old_one_is_removed() -> None:
    entry = ready()
    action = plan(entry, OTHER, capabilities())
    assert (action.verdict, action.target) == (Verdict.REPLACE, entry.meeting)
    assert action.wanted is not None
    assert (action.wanted.connection, action.wanted.spec.generation) == ("jitsi-2", 1)
    replaced = entry._replace(meeting=placed(action.wanted.spec, "jitsi-2", "m-2"), retired=(placed_of(entry),), made=1)
    then = plan(replaced, OTHER, capabilities())
    assert (then.verdict, then.target) == (Verdict.DELETE, entry.meeting)


STAYS = [
    (WISH, {}, Verdict.KEEP),
    (MOVED, {}, Verdict.UPDATE),
    (MOVED, {"keeps_link": False}, Verdict.REPLACE),
    (WISH._replace(office=None), {}, Verdict.REPLACE),
    (WISH, None, Verdict.REPLACE),
]


@pytest.mark.parametrize(("wish", "flags", "verdict"), STAYS)
def test_a_meeting_stays_on_the_connection_its_office_chose_before(
    wish: Record, flags: dict[str, Any] | None, verdict: Verdict
) -> None:
    """As long as that connection is there and can move it; the booking's own change of office is another thing."""
    made = ready()
    assert made.meeting
    entry = made._replace(wish=wish, meeting=made.meeting._replace(office=WISH.office))
    standing = capabilities(**flags) if flags is not None else None
    action = plan(entry, OTHER, capabilities(), standing)
    assert action.verdict is verdict
    assert plan(entry, Choice(connection="jitsi-2", move=True), capabilities(), standing).verdict is Verdict.REPLACE


def test_a_meeting_that_stays_keeps_its_providers_own_words() -> None:
    choice = Choice(connection="zoom-1", default_host="anna@x", options={"waiting_room": True})
    made = ready(choice)
    assert made.meeting
    entry = made._replace(wish=MOVED, meeting=made.meeting._replace(office=WISH.office))
    other = Choice(
        connection="meet-1", default_host="ben@x", options={"access": "OPEN"}, title="Call", time_zone="Asia/Tokyo"
    )
    wanted = plan(entry, other, capabilities(), capabilities(needs_host=True)).wanted
    assert wanted
    assert (wanted.connection, wanted.spec.host, wanted.spec.options) == ("zoom-1", "anna@x", {"waiting_room": True})
    assert (wanted.spec.start, wanted.spec.title, wanted.spec.time_zone) == (MOVED.start, "Call", "Asia/Tokyo")


def test_a_leftover_that_is_the_current_meeting_is_never_removed() -> None:
    entry = ready()
    assert plan(entry._replace(retired=(placed_of(entry),)), CHOICE, capabilities()).verdict is Verdict.KEEP


def test_a_torn_down_meeting_comes_back_under_another_name() -> None:
    action = plan(asked(made=3), CHOICE, capabilities())
    assert action.wanted is not None
    assert action.wanted.spec.generation == 3


def test_the_host_is_the_resources_own_or_the_default() -> None:
    choice = Choice(connection="z", hosts={WISH.resource or "": "anna@x"}, default_host="desk@x")
    assert spec_of(asked(), WISH, choice, generation=0).host == "anna@x"
    assert spec_of(asked(), WISH._replace(resource=None), choice, generation=0).host == "desk@x"


def test_a_provider_is_never_told_vellos_ids() -> None:
    spec = spec_of(asked(), WISH, CHOICE, generation=0)
    ids = [value for value in (WISH.id, WISH.office, WISH.service, WISH.resource) if value]
    assert not any(value in repr(spec) for value in ids)
    assert len(key_of(RECORD)) == 32


@given(
    rank=st.sampled_from(Rank),
    was_asked=st.booleans(),
    foreign=st.sampled_from(("", "0123456789abcdef")),
    stands=st.booleans(),
    chosen=st.sampled_from([None, CHOICE, OTHER, Choice(connection=None)]),
    flags=st.fixed_dictionaries({"keeps_link": st.booleans(), "needs_host": st.booleans()}),
)
def test_nothing_unwanted_is_made_and_nothing_wanted_is_removed(
    rank: Rank, was_asked: bool, foreign: str, stands: bool, chosen: Choice | None, flags: dict[str, bool]
) -> None:
    entry = (ready() if stands else asked())._replace(rank=rank, asked=int(was_asked), foreign=foreign)
    action = plan(entry, chosen, capabilities(**flags))
    if unwanted(entry, chosen) is not None:
        assert action.verdict is (Verdict.DELETE if stands else Verdict.IGNORE)
    else:
        assert action.verdict not in (Verdict.DELETE, Verdict.IGNORE)
        assert stands or action.verdict is Verdict.CREATE


@given(
    flags=st.fixed_dictionaries(
        {"keeps_link": st.booleans(), "needs_host": st.booleans(), "opens_early": st.booleans()}
    ),
    chosen=st.sampled_from([CHOICE, HOSTED, Choice(connection="zoom-1", options={"opens_before": 30})]),
    stands=st.booleans(),
)
def test_what_was_made_as_planned_is_kept(flags: dict[str, bool], chosen: Choice, stands: bool) -> None:
    entry, known = asked(), capabilities(**flags)
    wanted = plan(entry, chosen, known).wanted
    assert wanted
    made = wanted._replace(meeting=Meeting("m-1", JOIN_URL))
    assert plan(entry._replace(meeting=made), chosen, known, known if stands else None) == KEPT


@given(
    moved=st.booleans(),
    chosen=st.sampled_from([CHOICE, OTHER, OTHER.model_copy(update={"move": True}), HOSTED]),
    flags=st.none() | st.fixed_dictionaries({"keeps_link": st.booleans(), "needs_host": st.booleans()}),
    stays=st.booleans(),
)
def test_what_is_to_be_replaced_is_what_the_plan_replaces(
    moved: bool, chosen: Choice, flags: dict[str, bool] | None, stays: bool
) -> None:
    entry = ready(wish=MOVED) if moved else ready()
    known = None if flags is None else capabilities(**flags)
    standing = known if stays else None
    replaces = plan(entry, chosen, known, standing).verdict is Verdict.REPLACE
    assert is_to_be_replaced(entry, chosen, known, standing) == replaces
    assert not is_to_be_replaced(asked(), chosen, known, standing)


def placed_of(entry: Entry) -> Any:
    return entry.meeting


def test_capabilities_of_a_vanished_connection_change_nothing() -> None:
    nothing: Capabilities | None = None
    assert plan(ready(), CHOICE, nothing).verdict is Verdict.KEEP


@pytest.mark.parametrize(
    ("language", "title"),
    [(None, "Appointment"), ("en", "Appointment"), ("fi", "Tapaaminen"), ("sv-FI", "Möte"), ("nb_NO", "Avtale")],
)
def test_a_title_that_nobody_wrote_is_in_the_bookings_language(language: str | None, title: str) -> None:
    assert CHOICE.title_of(WISH._replace(language=language)) == title
    assert CHOICE.model_copy(update={"title": "{service}"}).title_of(WISH._replace(language=language)) == title
