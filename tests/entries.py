"""Ledger entries made up for tests of pure functions."""

from typing import Any

from providers.base import Capabilities, Meeting, MeetingSpec
from service.choices import Choice
from service.entry import Entry, Placement, State
from service.plan import spec_of
from service.vello import Rank, Record
from tests.events import START

RECORD = "639e9909-db32-4b5b-8159-42e1cabd7f24"
WISH = Record(
    id=RECORD,
    office="1aeef479-7c49-40e2-9ab6-09fd454fa226",
    service="74df9d2b-4ba3-45ef-a2be-30f87cf52e81",
    resource="f58c2d1e-b77f-439f-b7e5-d43c3265c65a",
    start=START,
    duration=1800,
    record_number="b264c6ff",
)
CHOICE = Choice(connection="zoom-1")
TOKEN = "A" + "b" * 22
JOIN_URL = "https://meet.example.org/room-1"


def capabilities(**flags: Any) -> Capabilities:
    """A provider that keeps its link and can be closed, unless `flags` say otherwise."""
    plain: dict[str, Any] = {
        "keeps_link": True,
        "enforces_teardown": True,
        "enforces_window": False,
        "mints_link": False,
        "idempotent_create": True,
        "needs_host": False,
    }
    return Capabilities(**{**plain, **flags})


def placed(spec: MeetingSpec, connection: str = "zoom-1", meeting: str = "m-1") -> Placement:
    """A meeting that stands somewhere."""
    return Placement(connection, spec, Meeting(meeting, JOIN_URL, spec.host))


def asked(**fields: Any) -> Entry:
    """A live record for which Vello asked for a link, without a meeting."""
    plain: dict[str, Any] = {"wish": WISH, "asked": START - 86_400, "token": TOKEN, "generation": 1}
    return Entry(**{"record": RECORD, "rank": Rank.LIVE, **plain, **fields})


def ready(choice: Choice = CHOICE, **fields: Any) -> Entry:
    """The same with the meeting it wants."""
    entry = asked()
    meeting = placed(spec_of(entry, WISH, choice, generation=0), choice.connection or "")
    return entry._replace(**{"meeting": meeting, "state": State.READY, "settled": 1, **fields})
