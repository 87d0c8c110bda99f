"""Google Meet: the laws for both kinds and every kind of account, and every trap of Google's own."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from providers.base import (
    BudgetSpent,
    Kinds,
    MeetingNotFound,
    MeetingProvider,
    OutcomeUnknown,
    PermanentError,
    ProviderSettings,
    TemporaryError,
)
from providers.google_account import EVENTS, ROOMS, SPACES, GoogleSettings
from providers.google_calendar import GIVEN_UP, LIVES
from providers.google_meet import PROVIDER, GoogleMeet
from providers.testing import ListingLaws, VendorLaws, a_spec
from tests.fakes.google_server import GoogleServer
from tests.providers.googling import ALL, ANNA, BEN, Chosen, GoogleVendor, connected, delegated, own

CALENDAR = {"mode": "calendar"}


@pytest.fixture
async def rooms(google: GoogleServer) -> AsyncIterator[GoogleMeet]:
    """Anna's account, connected for rooms."""
    async with connected(google, SPACES) as provider:
        yield provider
    assert (await google.state())["junk"] == []


@pytest.fixture
async def entries(google: GoogleServer) -> AsyncIterator[GoogleMeet]:
    """Anna's account, connected for calendar entries alone."""
    async with connected(google, EVENTS) as provider:
        yield provider
    assert (await google.state())["junk"] == []


@pytest.fixture
async def both(google: GoogleServer) -> AsyncIterator[GoogleMeet]:
    """Anna's account with all that can be granted."""
    async with connected(google, *ALL) as provider:
        yield provider
    assert (await google.state())["junk"] == []


@pytest.fixture
async def robot(google: GoogleServer) -> AsyncIterator[GoogleMeet]:
    """The service account."""
    async with delegated(google) as provider:
        yield provider
    assert (await google.state())["junk"] == []


OWNER = "0a1b2c3d"


class GoogleLaws(VendorLaws):
    """The laws for one kind of meeting and account; nothing that Google's documents do not know may be sent."""

    info = PROVIDER
    fields: dict[str, Any]
    calendar: bool

    @pytest.fixture
    def settings(self) -> ProviderSettings:
        return GoogleSettings.model_validate(self.fields)

    @pytest.fixture
    async def provider(self, google: GoogleServer) -> AsyncIterator[MeetingProvider]:
        async with connected(google, *self.fields["granted"]) as provider:
            yield provider
        assert (await google.state())["junk"] == []
        assert (await google.state())["mails"] == []

    @pytest.fixture
    def vendor(self, google: GoogleServer) -> GoogleVendor:
        return GoogleVendor(google, calendar=self.calendar)


class TestSpaces(GoogleLaws):
    """Rooms of their own."""

    fields = own(SPACES)
    calendar = False


class Knocking(GoogleVendor):
    """Guests who get as far as to the door, where somebody must let them in."""

    async def opens(self, join_url: str) -> bool:
        return (await self.server.request("GET", join_url)).status_code in (200, 403)


class TestEntries(GoogleLaws, ListingLaws):
    """Calendar entries at whose rooms guests knock."""

    fields = own(EVENTS)
    calendar = True

    @pytest.fixture
    def vendor(self, google: GoogleServer) -> GoogleVendor:
        return Knocking(google, calendar=True)


class TestOpenEntries(GoogleLaws, ListingLaws):
    """Calendar entries whose rooms are opened and closed."""

    fields = own(EVENTS, ROOMS)
    calendar = True


class TestEntriesOfBoth(GoogleLaws, ListingLaws):
    """An account connected for both, whose office chose entries."""

    fields = own(*ALL)
    calendar = True

    @pytest.fixture
    async def provider(self, google: GoogleServer) -> AsyncIterator[MeetingProvider]:
        async with connected(google, *ALL) as provider:
            yield Chosen(provider, **CALENDAR)
        assert (await google.state())["junk"] == []


class TestDelegatedSpaces(GoogleLaws):
    """Rooms that a service account makes for people of its Workspace."""

    calendar = False

    @pytest.fixture
    async def settings(self, google: GoogleServer) -> ProviderSettings:
        return GoogleSettings.model_validate({"key": await google.key(), "subject": ANNA})

    @pytest.fixture
    def vendor(self, google: GoogleServer) -> GoogleVendor:
        return GoogleVendor(google, calendar=self.calendar, renews=True)

    @pytest.fixture
    async def provider(self, google: GoogleServer) -> AsyncIterator[MeetingProvider]:
        async with delegated(google) as provider:
            yield provider
        assert (await google.state())["junk"] == []


class TestDelegatedEntries(TestDelegatedSpaces, ListingLaws):
    """And calendar entries."""

    calendar = True

    @pytest.fixture
    async def provider(self, google: GoogleServer) -> AsyncIterator[MeetingProvider]:
        await google.delegate(EVENTS, ROOMS)
        async with delegated(google, mode="calendar", open_rooms=True) as provider:
            yield provider
        assert (await google.state())["junk"] == []


class TestASpace:
    """One call makes it, and time does not concern it."""

    async def test_it_is_made_in_one_call_and_lets_everybody_in(self, rooms: GoogleMeet, google: GoogleServer) -> None:
        meeting = await rooms.create(a_spec())
        (space,) = await google.spaces()
        (call,) = await google.calls()
        assert (call["verb"], call["body"]) == ("spaces.create", {"config": {"accessType": "OPEN"}})
        assert (meeting.id, meeting.join_url, meeting.host) == (space["name"], space["meetingUri"], ANNA)
        assert meeting.warnings == ()

    async def test_moving_it_changes_nothing(self, rooms: GoogleMeet, google: GoogleServer) -> None:
        spec = a_spec()
        meeting = await rooms.create(spec)
        assert await rooms.update(meeting, replace(spec, start=spec.start + 3600, title="Other")) == meeting
        assert [call["verb"] for call in await google.calls()] == ["spaces.create", "spaces.get"]

    @pytest.mark.parametrize("access", ["TRUSTED", "RESTRICTED"])
    async def test_an_office_says_who_gets_in_and_may_change_its_mind(
        self, rooms: GoogleMeet, google: GoogleServer, access: str
    ) -> None:
        spec = a_spec(options={"access": access})
        meeting = await rooms.create(spec)
        assert (await google.spaces())[0]["config"]["accessType"] == access
        await rooms.update(meeting, replace(spec, options={}))
        assert (await google.spaces())[0]["config"]["accessType"] == "OPEN"

    async def test_what_the_host_changed_is_set_right(self, rooms: GoogleMeet, google: GoogleServer) -> None:
        spec = a_spec()
        meeting = await rooms.create(spec)
        await google.control("POST", meeting.id, {"accessType": "RESTRICTED"})
        await rooms.update(meeting, spec)
        assert (await google.spaces())[0]["config"]["accessType"] == "OPEN"

    @pytest.mark.parametrize("status", [400, 403])
    async def test_an_account_that_forbids_open_rooms_gets_its_own_kind_and_that_is_said(
        self, rooms: GoogleMeet, google: GoogleServer, status: int
    ) -> None:
        await google.readings(no_open=status)
        await google.user(may_open=False)
        spec = a_spec()
        meeting = await rooms.create(spec)
        (warning,) = meeting.warnings
        assert "must ask to be let in" in warning
        assert (await rooms.update(meeting, spec)).warnings == (warning,)
        assert len(await google.spaces()) == 1

    @pytest.mark.parametrize("live", [True, False])
    async def test_a_removed_one_is_closed_and_everybody_sent_out(
        self, rooms: GoogleMeet, google: GoogleServer, live: bool
    ) -> None:
        meeting = await rooms.create(a_spec())
        await google.control("POST", meeting.id, {"live": live})
        await rooms.delete(meeting)
        (space,) = await google.spaces()
        assert (space["config"]["accessType"], space.get("activeConference")) == ("RESTRICTED", None)

    @pytest.mark.parametrize("status", [403, 404])
    async def test_one_that_is_gone_is_known_however_google_says_it(
        self, rooms: GoogleMeet, google: GoogleServer, status: int
    ) -> None:
        await google.readings(no_space=status)
        spec = a_spec()
        meeting = await rooms.create(spec)
        await google.control("DELETE", meeting.id)
        with pytest.raises(MeetingNotFound):
            await rooms.update(meeting, spec)
        await rooms.delete(meeting)

    async def test_the_eleventh_in_a_minute_waits_a_minute(self, rooms: GoogleMeet) -> None:
        for _ in range(10):
            await rooms.create(a_spec())
        with pytest.raises(BudgetSpent) as caught:
            await rooms.create(a_spec())
        assert (caught.value.retry_after, caught.value.well) == (60, True)

    async def test_a_lost_answer_leaves_an_empty_room_that_nobody_finds(
        self, rooms: GoogleMeet, google: GoogleServer
    ) -> None:
        await google.faults(lose_answers=1)
        spec = a_spec()
        with pytest.raises(OutcomeUnknown):
            await rooms.create(spec)
        assert await rooms.find(spec) is None
        assert len(await google.spaces()) == 1
        assert not rooms.capabilities.finds


class TestAnEntry:
    """Its id is ours, its room comes when it comes."""

    async def test_it_is_private_quiet_and_says_when_it_is(self, entries: GoogleMeet, google: GoogleServer) -> None:
        spec = a_spec(time_zone="Europe/Helsinki")
        meeting = await entries.create(spec)
        (call,) = await google.calls()
        sent, query = dict(call["body"]), dict(call["query"])
        assert query == {"conferenceDataVersion": "1", "sendUpdates": "none"}
        edges = sent.pop("start"), sent.pop("end")
        assert [datetime.fromisoformat(edge["dateTime"]).timestamp() for edge in edges] == [spec.start, spec.end]
        assert {edge["timeZone"] for edge in edges} == {"Europe/Helsinki"}
        key = {"type": "hangoutsMeet"}
        assert sent == {
            "id": f"vello{spec.key}0",
            "summary": spec.title,
            "visibility": "private",
            "guestsCanInviteOthers": False,
            "reminders": {"useDefault": False},
            "extendedProperties": {"private": {"vello_meeting": f"{spec.key}.0"}},
            "conferenceData": {"createRequest": {"requestId": f"vello{spec.key}0-0", "conferenceSolutionKey": key}},
        }
        (event,) = await google.events()
        assert (meeting.id, meeting.join_url, meeting.host) == (event["id"], event["hangoutLink"], ANNA)

    async def test_its_room_is_waited_for(self, entries: GoogleMeet, google: GoogleServer) -> None:
        await google.user(pending_reads=2)
        meeting = await entries.create(a_spec())
        assert meeting.join_url == (await google.events())[0]["hangoutLink"]

    async def test_a_room_that_takes_long_is_found_afterwards_and_nothing_is_unwell(
        self, entries: GoogleMeet, google: GoogleServer
    ) -> None:
        await google.user(pending_reads=7)
        spec = a_spec()
        with pytest.raises(OutcomeUnknown) as unknown:
            await entries.create(spec)
        assert unknown.value.well
        with pytest.raises(TemporaryError) as waiting:
            await entries.find(spec)
        assert waiting.value.well
        found = await entries.find(spec)
        assert found
        assert found.join_url
        assert len(await google.events()) == 1

    async def test_a_failed_room_is_asked_for_anew(self, entries: GoogleMeet, google: GoogleServer) -> None:
        await google.user(failing_conferences=2)
        spec = a_spec()
        meeting = await entries.create(spec)
        assert meeting.join_url
        asked = [call["body"]["conferenceData"]["createRequest"]["requestId"] for call in await google.calls()]
        assert asked == [f"vello{spec.key}0-{number}" for number in range(3)]

    async def test_an_entry_that_gets_no_room_is_taken_back(self, entries: GoogleMeet, google: GoogleServer) -> None:
        await google.user(failing_conferences=3)
        spec = a_spec()
        with pytest.raises(TemporaryError, match="could not make a room"):
            await entries.create(spec)
        assert await google.events() == []
        assert (await entries.create(spec)).join_url

    async def test_an_entry_whose_room_never_comes_is_taken_back(
        self, entries: GoogleMeet, google: GoogleServer
    ) -> None:
        """Else it would stay in the calendar although its booking was cancelled."""
        await google.user(pending_reads=1000)
        spec = a_spec()
        with pytest.raises(OutcomeUnknown):
            await entries.create(spec)
        assert len(await google.events()) == 1
        await google.forward(-GIVEN_UP - 60)
        with pytest.raises(TemporaryError, match="could not make a room"):
            await entries.create(replace(spec, title="Its last change was so long ago"))
        assert await google.events() == []

    @pytest.mark.parametrize("status", [401, 403, 429, 500])
    async def test_what_goes_wrong_after_its_insert_never_says_that_nothing_happened(
        self, entries: GoogleMeet, google: GoogleServer, status: int
    ) -> None:
        """Else nobody would look for it again."""
        await google.user(pending_reads=2)
        await google.faults(only="events.get", fail=[{"status": status, "times": 1}])
        spec = a_spec()
        with pytest.raises(OutcomeUnknown):
            await entries.create(spec)
        found = await entries.find(spec)
        assert found
        assert found.join_url
        await google.faults(only="events.get", fail=[{"status": status, "times": 1}])
        with pytest.raises(OutcomeUnknown):
            await entries.create(spec)

    async def test_one_that_is_there_is_made_what_is_wanted_now(
        self, entries: GoogleMeet, google: GoogleServer
    ) -> None:
        """The booking may have moved between two tries."""
        spec = a_spec()
        first = await entries.create(spec)
        moved = replace(spec, start=spec.start + 3600, title="Later")
        assert await entries.create(moved) == first
        (event,) = await google.events()
        assert datetime.fromisoformat(event["start"]["dateTime"]).timestamp() == moved.start
        assert event["summary"] == "Later"

    async def test_an_entry_that_google_does_not_know_yet_is_looked_for_again(
        self, entries: GoogleMeet, google: GoogleServer
    ) -> None:
        await google.user(pending_reads=1, unseen_reads=2)
        assert (await entries.create(a_spec())).join_url

    @pytest.mark.parametrize("purge", ["false", "true"])
    async def test_a_burnt_id_is_left_behind(self, entries: GoogleMeet, google: GoogleServer, purge: str) -> None:
        spec = a_spec()
        ids = []
        for _ in range(3):
            meeting = await entries.create(spec)
            ids.append(meeting.id)
            await google.control("DELETE", f"events/{meeting.id}?purge={purge}")
        assert ids == [f"vello{spec.key}0", f"vello{spec.key}0v1", f"vello{spec.key}0v2"]
        again = await entries.create(spec)
        if purge == "false":
            assert await entries.find(spec) == again
        assert len(await google.events()) == 1

    async def test_another_generation_is_another_entry(self, entries: GoogleMeet, google: GoogleServer) -> None:
        spec = a_spec()
        meetings = [await entries.create(replace(spec, generation=number)) for number in (0, 1, 31, LIVES)]
        assert len({meeting.id for meeting in meetings}) == 4

    async def test_only_what_changed_is_sent_and_the_link_stays(
        self, entries: GoogleMeet, google: GoogleServer
    ) -> None:
        spec = a_spec()
        meeting = await entries.create(spec)
        assert await entries.update(meeting, spec) == meeting
        assert await google.calls("events.patch") == []
        moved = replace(spec, start=spec.start + 3600)
        assert await entries.update(meeting, moved) == meeting
        (call,) = await google.calls("events.patch")
        assert set(call["body"]) == {"start", "end"}
        await entries.update(meeting, replace(moved, title="Another"))
        assert (await google.calls("events.patch"))[-1]["body"] == {"summary": "Another"}

    async def test_a_change_that_somebody_makes_meanwhile_is_not_written_over(
        self, entries: GoogleMeet, google: GoogleServer
    ) -> None:
        spec = a_spec()
        meeting = await entries.create(spec)
        await google.faults(only="events.patch", fail=[{"status": 412}])
        moved = replace(spec, start=spec.start + 3600)
        await entries.update(meeting, moved)
        (event,) = await google.events()
        assert datetime.fromisoformat(event["start"]["dateTime"]).timestamp() == moved.start

    async def test_what_the_host_wrote_into_it_stays(self, entries: GoogleMeet, google: GoogleServer) -> None:
        spec = a_spec()
        meeting = await entries.create(spec)
        await google.control("POST", f"events/{meeting.id}", {"description": "Bring your papers."})
        await entries.update(meeting, replace(spec, start=spec.start + 3600))
        assert (await google.events())[0]["description"] == "Bring your papers."

    @pytest.mark.parametrize("reading", ["stays", "lives", "forbidden", "gone"])
    async def test_one_that_the_host_deleted_is_gone_however_a_change_would_be_answered(
        self, entries: GoogleMeet, google: GoogleServer, reading: str
    ) -> None:
        await google.readings(patched_when_deleted=reading)
        spec = a_spec()
        meeting = await entries.create(spec)
        await google.control("DELETE", f"events/{meeting.id}")
        with pytest.raises(MeetingNotFound):
            await entries.update(meeting, replace(spec, start=spec.start + 3600))
        assert await google.events() == []

    async def test_a_removed_room_is_asked_for_again(self, entries: GoogleMeet, google: GoogleServer) -> None:
        spec = a_spec()
        meeting = await entries.create(spec)
        await google.control("POST", f"events/{meeting.id}", {"conferenceData": None, "hangoutLink": None})
        after = await entries.update(meeting, spec)
        assert after.join_url not in ("", meeting.join_url)

    async def test_without_the_right_to_open_it_guests_knock_and_that_is_known_beforehand(
        self, entries: GoogleMeet, google: GoogleServer
    ) -> None:
        meeting = await entries.create(a_spec())
        assert (await google.request("GET", meeting.join_url)).status_code == 403
        assert GoogleSettings.model_validate(own(EVENTS)).warnings()
        assert not entries.capabilities.enforces_teardown

    async def test_a_room_that_cannot_be_opened_is_said_and_the_entry_stands(
        self, both: GoogleMeet, google: GoogleServer
    ) -> None:
        await google.user(may_open=False)
        meeting = await both.create(a_spec(options=CALENDAR))
        (warning,) = meeting.warnings
        assert "must ask to be let in" in warning
        await google.faults(only="spaces.get", fail=[{"status": 500}])
        (warning,) = (await both.create(a_spec(options=CALENDAR))).warnings
        assert "guests ask to be let in" in warning

    async def test_a_calendar_without_meet_is_explained(self, entries: GoogleMeet, google: GoogleServer) -> None:
        await google.user(solutions=[])
        with pytest.raises(PermanentError, match="cannot have Google Meet") as caught:
            await entries.create(a_spec())
        assert caught.value.who_can_fix == "admin"

    async def test_a_booking_without_length_is_an_entry_all_the_same(self, entries: GoogleMeet) -> None:
        assert (await entries.create(a_spec(duration=0))).join_url

    async def test_creates_at_the_same_time_after_a_burnt_id_give_one_entry(
        self, entries: GoogleMeet, google: GoogleServer
    ) -> None:
        spec = a_spec()
        await entries.delete(await entries.create(spec))
        meetings = await asyncio.gather(*(entries.create(spec) for _ in range(5)))
        assert len({meeting.id for meeting in meetings}) == 1
        assert len(await google.events()) == 1

    async def test_two_installations_on_one_account_keep_their_hands_off_each_others_entries(
        self, entries: GoogleMeet, google: GoogleServer
    ) -> None:
        """They follow the same booking, so the entries' ids would be the same."""
        theirs = a_spec(owner="ffffffff", title="Theirs")
        made = await entries.create(theirs)
        ours = replace(theirs, owner=OWNER, title="Ours")
        assert await entries.find(ours) is None
        mine = await entries.create(ours)
        assert mine.id != made.id
        assert await entries.find(ours) == mine
        assert await entries.find(theirs) == made
        await entries.delete(mine)
        assert [event["summary"] for event in await google.events() if event["status"] != "cancelled"] == ["Theirs"]


class TestUpcoming:
    """What a calendar's list tells of our entries."""

    async def test_nothing_else_in_the_calendar_is_asked_for(self, entries: GoogleMeet, google: GoogleServer) -> None:
        await entries.create(a_spec())
        await entries.create(a_spec(owner="ffffffff"))
        assert (await entries.upcoming(None, OWNER, 0, None)).meetings == ()
        (call,) = await google.calls("events.list")
        assert call["query"]["privateExtendedProperty"] == f"vello_installation={OWNER}"

    async def test_all_pages_hold_every_entry_once(self, entries: GoogleMeet) -> None:
        made = [await entries.create(a_spec(owner=OWNER)) for _ in range(3)]
        found, page = list[str](), None
        while page or not found:
            part = await entries.upcoming(None, OWNER, int(time.time()), page)
            found, page = [*found, *(each.meeting.id for each in part.meetings)], part.following
        assert sorted(found) == sorted(each.id for each in made)

    async def test_the_past_is_not_told_of(self, entries: GoogleMeet) -> None:
        spec = a_spec(owner=OWNER)
        await entries.create(spec)
        assert (await entries.upcoming(None, OWNER, spec.end, None)).meetings == ()
        assert len((await entries.upcoming(None, OWNER, spec.end - 1, None)).meetings) == 1

    async def test_a_host_without_a_calendar_is_named_as_one(self, entries: GoogleMeet, google: GoogleServer) -> None:
        await google.faults(only="events.list", fail=[{"status": 404}])
        with pytest.raises(PermanentError, match="no Google calendar"):
            await entries.upcoming(None, OWNER, 0, None)

    async def test_a_link_that_is_still_being_made_is_not_whole(
        self, entries: GoogleMeet, google: GoogleServer
    ) -> None:
        await google.user(ANNA, pending_reads=99)
        with pytest.raises(OutcomeUnknown):
            await entries.create(a_spec(owner=OWNER))
        assert [each.whole for each in (await entries.upcoming(None, OWNER, 0, None)).meetings] == [False]

    async def test_rooms_of_their_own_cannot_be_listed_and_nothing_follows_from_that(
        self, rooms: GoogleMeet, robot: GoogleMeet, google: GoogleServer
    ) -> None:
        for provider in (rooms, robot):
            await provider.create(a_spec(owner=OWNER))
            page = await provider.upcoming(None, OWNER, 0, None)
            assert (page.meetings, page.complete) == ((), False)
        assert await google.calls("events.list") == []


class TestKinds:
    """An office chooses a kind; a meeting keeps its own."""

    def test_each_kind_has_its_own_promises(self, both: GoogleMeet) -> None:
        assert isinstance(both, Kinds)
        space, entry = both.promises(a_spec(), None), both.promises(a_spec(options=CALENDAR), None)
        assert (space.idempotent_create, space.finds, space.enforces_teardown) == (False, False, True)
        assert (entry.idempotent_create, entry.finds, entry.enforces_teardown) == (True, True, True)
        assert (space.burns_keys, entry.burns_keys) == (False, True)
        assert space.budget
        assert (space.budget.per_host, space.budget.seconds, space.budget.verbs) == (10, 60, ("create",))
        assert entry.budget is None

    async def test_a_meeting_keeps_its_kind_when_the_office_chooses_another(
        self, both: GoogleMeet, google: GoogleServer
    ) -> None:
        spec = a_spec()
        space = await both.create(spec)
        assert await both.update(space, replace(spec, options=CALENDAR)) == space
        assert not both.promises(replace(spec, options=CALENDAR), space).idempotent_create
        await both.delete(space)
        assert await google.events() == []

    async def test_what_an_account_was_not_connected_for_is_said_without_a_call(
        self, rooms: GoogleMeet, entries: GoogleMeet, google: GoogleServer
    ) -> None:
        with pytest.raises(PermanentError, match="not connected for calendar entries"):
            await rooms.create(a_spec(options=CALENDAR))
        with pytest.raises(PermanentError, match="not connected for rooms"):
            await entries.create(a_spec(options={"mode": "space"}))
        assert await google.calls() == []

    async def test_an_account_connected_for_entries_alone_makes_entries(
        self, entries: GoogleMeet, google: GoogleServer
    ) -> None:
        await entries.create(a_spec())
        assert len(await google.events()) == 1


class TestHosts:
    """Whose meeting it is."""

    async def test_one_persons_connection_says_that_it_is_not_the_chosen_host(self, rooms: GoogleMeet) -> None:
        assert not rooms.capabilities.needs_host
        meeting = await rooms.create(a_spec(host=BEN))
        assert (meeting.host, len(meeting.warnings)) == (ANNA, 1)
        assert (await rooms.create(a_spec(host="Anna@Example.org"))).warnings == ()

    async def test_a_service_account_acts_for_each_host(self, robot: GoogleMeet, google: GoogleServer) -> None:
        assert robot.capabilities.needs_host
        for host in (BEN, ANNA, None):
            meeting = await robot.create(a_spec(host=host))
            assert meeting.host == (host or ANNA)
            await robot.delete(meeting)
        ids = {user["id"]: user["email"] for user in (await google.state())["users"]}
        assert [ids.get(space["owner"], space["owner"]) for space in await google.spaces()] == [BEN, ANNA, ANNA]

    async def test_a_service_account_asks_for_what_it_needs_alone(
        self, robot: GoogleMeet, google: GoogleServer
    ) -> None:
        """What was not delegated must not be asked for, or nothing is given."""
        await google.delegate(SPACES)
        meeting = await robot.create(a_spec())
        await robot.update(meeting, a_spec())
        await robot.delete(meeting)

    @pytest.mark.parametrize("host", ["ben", "123", "spaces/x"])
    async def test_a_host_that_is_no_address_is_not_sent(
        self, robot: GoogleMeet, google: GoogleServer, host: str
    ) -> None:
        with pytest.raises(PermanentError, match="by e-mail"):
            await robot.create(a_spec(host=host))
        assert await google.calls() == []
