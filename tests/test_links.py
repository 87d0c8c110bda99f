"""Which link Vello is told, and what the page behind the hosted one says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.choices import Choice
from service.entry import Entry, Reason, State, digest
from service.links import GRACE, Moment, link_for, moment, vello_was_told
from service.vello import Rank
from tests.entries import CHOICE, JOIN_URL, TOKEN, asked, capabilities, ready
from tests.events import START

PUBLIC = "https://meetings.example.org"
HOSTED = f"{PUBLIC}/m/{TOKEN}"
GATED = capabilities(mints_link=True, enforces_window=True)


def test_a_direct_office_gets_the_providers_link_once_it_is_there() -> None:
    link = link_for(ready(), CHOICE, capabilities(), PUBLIC)
    assert link is not None
    assert (link.url, link.hosted) == (JOIN_URL, False)


@pytest.mark.parametrize("state", [State.PENDING, State.FAILED])
def test_a_direct_office_gets_the_hosted_link_while_there_is_no_meeting(state: State) -> None:
    link = link_for(asked(state=state), CHOICE, capabilities(), PUBLIC)
    assert link is not None
    assert (link.url, link.hosted) == (HOSTED, True)


def test_who_was_given_the_hosted_link_keeps_it() -> None:
    link = link_for(ready(hosted=True), CHOICE, capabilities(), PUBLIC)
    assert link is not None
    assert link.url == HOSTED


def test_a_hosted_office_and_a_provider_that_mints_links_get_the_hosted_one() -> None:
    hosted = CHOICE.model_copy(update={"link": "hosted"})
    for choice, flags in ((hosted, capabilities()), (CHOICE, GATED)):
        link = link_for(ready(), choice, flags, PUBLIC)
        assert link is not None
        assert link.url == HOSTED


def test_a_meeting_about_to_be_replaced_is_not_handed_out() -> None:
    link = link_for(ready(), Choice(connection="other"), capabilities(), PUBLIC)
    assert link is not None
    assert link.url == HOSTED


@pytest.mark.parametrize(
    ("entry", "choice"),
    [
        (ready(rank=Rank.CANCELLED), CHOICE),
        (ready(foreign="0123456789abcdef"), CHOICE),
        (ready(), None),
        (ready(asked=0), CHOICE),
    ],
)
def test_where_no_meeting_is_wanted_there_is_no_link(entry: Entry, choice: Choice | None) -> None:
    assert link_for(entry, choice, capabilities(), PUBLIC) is None


def test_vello_is_told_only_when_its_last_link_is_the_current_one() -> None:
    link = link_for(ready(), CHOICE, capabilities(), PUBLIC)
    assert link is not None
    assert vello_was_told(ready(told=(digest(HOSTED), digest(JOIN_URL))), link)
    assert not vello_was_told(ready(told=(digest(JOIN_URL), digest(HOSTED))), link)
    assert not vello_was_told(ready(told=()), link)
    assert vello_was_told(ready(told=()), None)


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (START - 901, Moment.EARLY),
        (START - 900, Moment.OPEN),
        (START + 1800 + GRACE - 1, Moment.OPEN),
        (START + 1800 + GRACE, Moment.OVER),
    ],
)
def test_the_window_holds_where_the_provider_enforces_it(now: int, says: Moment) -> None:
    assert moment(ready(), CHOICE, GATED, now) is says
    assert moment(ready(), CHOICE, capabilities(), now) is Moment.OPEN


def test_a_booking_entered_long_after_its_time_is_open_for_a_while() -> None:
    late = ready()._replace(asked=START + 10 * 86_400)
    assert moment(late, CHOICE, GATED, late.asked + GRACE - 1) is Moment.OPEN
    assert moment(late, CHOICE, GATED, late.asked + GRACE) is Moment.OVER


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (asked(), Moment.PENDING),
        (asked(reason=Reason("temporary", "It is down.", "operator")), Moment.LATE),
        (asked(reason=Reason("held", "It is over its limit.", "operator")), Moment.LATE),
        (asked(reason=Reason("reconnect", "It refuses us.", "admin")), Moment.TROUBLE),
        (asked(reason=Reason("permanent", "It refuses the call.", "admin")), Moment.TROUBLE),
        (asked(state=State.FAILED), Moment.TROUBLE),
        (ready(rank=Rank.CANCELLED), Moment.CANCELLED),
        (ready(rank=Rank.DELETED, wish=None), Moment.CANCELLED),
        (ready(foreign="0123456789abcdef"), Moment.NONE),
    ],
)
def test_the_page_tells_the_truth(entry: Entry, says: Moment) -> None:
    assert moment(entry, CHOICE, capabilities(), START) is says


@pytest.mark.parametrize(
    "variant", ["https://Meet.Example.org/room-1", "https://meet.example.org/room-1/", f" {JOIN_URL} "]
)
def test_a_link_is_known_again_after_what_systems_do_to_urls(variant: str) -> None:
    assert digest(variant) == digest(JOIN_URL)


def test_different_links_and_no_link_are_told_apart() -> None:
    assert len({digest(JOIN_URL), digest(JOIN_URL + "2"), digest(JOIN_URL + "?pwd=1"), digest(None)}) == 4


@given(
    st.from_regex(r"https?://[a-z0-9.-]{1,9}(:[0-9]{1,5})?", fullmatch=True),
    st.text("aZ9/._~%- [", max_size=9),
    st.none() | st.text("aZ9=&?#._~%+", max_size=9),
)
def test_a_link_has_one_fingerprint_however_it_is_read(host: str, path: str, query: str | None) -> None:
    """A space in front keeps it from being read the quick way."""
    link = f"{host}/{path}" + (f"?{query}" if query is not None else "")
    assert digest(link) == digest(f" {link}")
    assert digest(host) == digest(f" {host}")
