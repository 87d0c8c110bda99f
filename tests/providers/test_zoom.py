"""Zoom: the laws for every kind of connection, and every trap of Zoom's own."""

import json
import logging
import string
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from providers.base import (
    HostLinks,
    Meeting,
    MeetingNotFound,
    MeetingProvider,
    OutcomeUnknown,
    PermanentError,
    ProviderSettings,
    TemporaryError,
)
from providers.http import Http
from providers.testing import ListingLaws, a_spec
from providers.zoom import PROVIDER, Zoom
from providers.zoom_account import ZoomSettings
from tests.fakes.zoom_server import ZoomServer
from tests.providers.zooming import ADMIN, ANNA, BEN, OWN, S2S, Hosted, ZoomVendor, connected
from tests.servers import RawServer, http


@pytest.fixture
async def anna(zoom: ZoomServer) -> AsyncIterator[Zoom]:
    """Anna's own account."""
    async with connected(zoom) as provider:
        yield provider
    assert (await zoom.state())["junk"] == []


@pytest.fixture
async def company(zoom: ZoomServer) -> AsyncIterator[Zoom]:
    """A Server-to-Server connection."""
    async with connected(zoom, S2S) as provider:
        yield provider
    assert (await zoom.state())["junk"] == []


async def held(zoom: ZoomServer) -> dict[str, Any]:
    """The one meeting there is."""
    (meeting,) = await zoom.meetings()
    return meeting


OWNER = "0a1b2c3d"


def seconds(stamp: str) -> int:
    return int(datetime.fromisoformat(stamp).timestamp())


class ZoomLaws(ListingLaws):
    """The laws for one kind of connection; nothing that Zoom's documents do not know may be sent."""

    info = PROVIDER
    fields: dict[str, Any]

    @pytest.fixture
    def settings(self) -> ProviderSettings:
        return ZoomSettings.model_validate(self.fields)

    @pytest.fixture
    async def provider(self, zoom: ZoomServer) -> AsyncIterator[MeetingProvider]:
        async with connected(zoom, self.fields) as provider:
            yield provider if self.fields == OWN else Hosted(provider, BEN)
        assert (await zoom.state())["junk"] == []
        assert (await zoom.state())["mails"] == []

    @pytest.fixture
    def vendor(self, zoom: ZoomServer) -> ZoomVendor:
        return ZoomVendor(zoom)


class TestUserManaged(ZoomLaws):
    """One person's account."""

    fields = OWN


class TestAdminManaged(ZoomLaws):
    """An account connected by its admin."""

    fields = ADMIN


class TestServerToServer(ZoomLaws):
    """An account with an app of its own."""

    fields = S2S


class TestCreate:
    """What a meeting is made with."""

    async def test_a_meeting_is_a_scheduled_one_without_mails_and_with_everything_said(
        self, anna: Zoom, zoom: ZoomServer
    ) -> None:
        spec = a_spec(time_zone="Europe/Helsinki", duration=1801)
        meeting = await anna.create(spec)
        (call,) = await zoom.calls("create")
        sent = call["body"]
        assert 8 <= len(sent.pop("password")) <= 10
        assert sent == {
            "topic": spec.title,
            "type": 2,
            "start_time": f"{datetime.fromisoformat(sent['start_time']):%Y-%m-%dT%H:%M:%SZ}",
            "timezone": "Europe/Helsinki",
            "duration": 31,
            "agenda": f"ref:{spec.key}.0",
            "settings": {
                "waiting_room": False,
                "join_before_host": True,
                "jbh_time": 15,
                "auto_recording": "none",
                "alternative_hosts": "",
                "meeting_authentication": False,
                "mute_upon_entry": False,
                "email_notification": False,
                "alternative_hosts_email_notification": False,
                "use_pmi": False,
                "approval_type": 2,
            },
        }
        assert seconds(sent["start_time"]) == spec.start
        assert (meeting.host, meeting.warnings) == (ANNA, ())

    async def test_ids_beyond_32_bits_stay_whole(self, anna: Zoom, zoom: ZoomServer) -> None:
        meeting = await anna.create(a_spec())
        assert int(meeting.id) > 2**31
        assert int(meeting.id) == (await held(zoom))["id"]

    async def test_every_passcode_is_its_own(self, anna: Zoom, zoom: ZoomServer) -> None:
        for _ in range(5):
            await anna.create(a_spec())
        passcodes = {meeting["password"] for meeting in await zoom.meetings()}
        assert len(passcodes) == 5
        for passcode in passcodes:
            kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits, "@-_*")
            assert all(set(passcode) & set(kind) for kind in kinds)

    async def test_a_passcode_that_the_accounts_rules_refuse_is_left_to_zoom(
        self, anna: Zoom, zoom: ZoomServer
    ) -> None:
        await zoom.user(numeric_passcodes=True)
        meeting = await anna.create(a_spec())
        assert (await held(zoom))["password"].isdigit()
        assert "pwd=" in meeting.join_url
        assert meeting.warnings == ()

    async def test_an_account_that_wants_no_passcode_and_refuses_ours_forces_the_waiting_room_which_is_said(
        self, anna: Zoom, zoom: ZoomServer
    ) -> None:
        await zoom.user(numeric_passcodes=True, require_passcode=False)
        meeting = await anna.create(a_spec())
        (warning,) = meeting.warnings
        assert "waiting room" in warning

    async def test_a_host_whose_meetings_share_one_id_gets_one_for_each_all_the_same(
        self, anna: Zoom, zoom: ZoomServer
    ) -> None:
        user = await zoom.user(use_pmi=True)
        meetings = [await anna.create(a_spec()) for _ in range(2)]
        assert len({meeting.join_url for meeting in meetings}) == 2
        assert str(user["pmi"]) not in {meeting.id for meeting in meetings}

    async def test_a_personal_meeting_id_that_is_forced_is_refused(self, anna: Zoom, zoom: ZoomServer) -> None:
        await zoom.user(use_pmi=True, locked={"use_pmi": True})
        with pytest.raises(PermanentError, match="personal meeting id") as caught:
            await anna.create(a_spec())
        assert caught.value.who_can_fix == "admin"

    @pytest.mark.parametrize(
        "removed", [http(204, ""), http(400, '{"code": 3018, "message": "Not allow to delete PMI."}')]
    )
    async def test_what_was_refused_for_its_personal_meeting_id_is_removed(self, removed: bytes) -> None:
        made = '{"id": 987654321, "join_url": "https://zoom.us/j/3", "pmi": "3", "settings": {"use_pmi": true}}'
        async with RawServer(http(201, made), removed) as server:
            client = Http(server.url)
            with pytest.raises(PermanentError, match="personal meeting id"):
                await Zoom(ZoomSettings.model_validate(OWN), client).create(a_spec())
            await client.close()
        assert server.requests[1].startswith(b"DELETE /meetings/987654321?")

    async def test_nothing_is_removed_by_a_persons_own_id(self, anna: Zoom, zoom: ZoomServer) -> None:
        """Another meeting of that person may have it as well."""
        await zoom.user(use_pmi=True, locked={"use_pmi": True})
        with pytest.raises(PermanentError, match="personal meeting id"):
            await anna.create(a_spec())
        assert await zoom.calls("delete") == []

    async def test_a_personal_meeting_id_is_known_although_zoom_does_not_call_it_so(self) -> None:
        body = '{"id": 3123456789, "join_url": "https://zoom.us/j/3123456789"}'
        async with RawServer(http(201, body)) as server:
            client = Http(server.url)
            with pytest.raises(PermanentError, match="personal meeting id"):
                await Zoom(ZoomSettings.model_validate({**OWN, "pmi": "3123456789"}), client).create(a_spec())
            await client.close()

    @pytest.mark.parametrize(
        ("locked", "said"),
        [
            ({"waiting_room": True}, "waiting room"),
            ({"join_before_host": False}, "before the host"),
            ({"meeting_authentication": True}, "Zoom login"),
            ({"mute_upon_entry": True}, "`mute_upon_entry` is True"),
        ],
    )
    async def test_what_the_account_forces_is_said_once(
        self, anna: Zoom, zoom: ZoomServer, locked: dict[str, Any], said: str
    ) -> None:
        await zoom.user(locked=locked)
        (warning,) = (await anna.create(a_spec())).warnings
        assert said in warning

    async def test_an_account_that_keeps_passcodes_out_of_links_is_warned_about(
        self, anna: Zoom, zoom: ZoomServer
    ) -> None:
        await zoom.user(embeds_passcode=False)
        (warning,) = (await anna.create(a_spec())).warnings
        assert "asked for it" in warning

    async def test_a_start_in_the_past_is_no_reason_to_refuse(self, anna: Zoom, zoom: ZoomServer) -> None:
        spec = a_spec(start=1_500_000_000)
        meeting = await anna.create(spec)
        assert abs(seconds((await held(zoom))["start_time"]) - time.time()) < 60
        assert await anna.find(spec) == meeting

    async def test_a_long_title_is_cut_between_characters(self, anna: Zoom, zoom: ZoomServer) -> None:
        await anna.create(a_spec(title="a" * 199 + "👩 and more"))
        assert (await held(zoom))["topic"] == "a" * 199

    @pytest.mark.parametrize(("minutes", "type_", "warned"), [(41, 1, True), (40, 1, False), (41, 2, False)])
    async def test_a_basic_accounts_forty_minutes_are_warned_about(
        self, company: Zoom, zoom: ZoomServer, minutes: int, type_: int, warned: bool
    ) -> None:
        await zoom.user(BEN, type=type_)
        meeting = await company.create(a_spec(host=BEN, duration=minutes * 60))
        assert any("after 40 minutes" in text for text in meeting.warnings) == warned

    async def test_a_warning_is_worth_no_meeting(self, anna: Zoom, zoom: ZoomServer) -> None:
        await zoom.faults(only="user", fail=[{"status": 503, "times": 3}])
        assert (await anna.create(a_spec(duration=7200))).warnings == ()

    async def test_more_than_a_day_is_cut_and_said(self, anna: Zoom, zoom: ZoomServer) -> None:
        meeting = await anna.create(a_spec(duration=2 * 86_400))
        assert (await held(zoom))["duration"] == 1440
        assert any("24 hours" in text for text in meeting.warnings)


class TestHosts:
    """Whose meeting it is."""

    async def test_a_company_names_the_host_by_address_or_id(self, company: Zoom, zoom: ZoomServer) -> None:
        ben = await zoom.user(BEN)
        assert (await company.create(a_spec(host=BEN))).host == BEN
        assert (await company.create(a_spec(host=ben["id"]))).host == BEN

    @pytest.mark.parametrize("fields", [ADMIN, S2S], ids=["admin", "s2s"])
    async def test_without_a_host_a_company_is_told_to_choose_one(
        self, zoom: ZoomServer, fields: dict[str, Any]
    ) -> None:
        async with connected(zoom, fields) as provider:
            assert provider.capabilities.needs_host
            with pytest.raises(PermanentError, match="No Zoom user is chosen") as caught:
                await provider.create(a_spec())
        assert caught.value.who_can_fix == "admin"
        assert await zoom.calls() == []

    @pytest.mark.parametrize("host", ["me", ".", "..", "anna@example.org/settings", "a?b", "a#b", "an na"])
    async def test_a_host_that_is_none_is_not_sent(self, company: Zoom, zoom: ZoomServer, host: str) -> None:
        with pytest.raises(PermanentError, match="is no Zoom user"):
            await company.create(a_spec(host=host))
        assert await zoom.calls() == []

    async def test_one_persons_connection_hosts_itself_and_says_that_it_is_not_the_chosen_host(
        self, anna: Zoom
    ) -> None:
        assert not anna.capabilities.needs_host
        meeting = await anna.create(a_spec(host=BEN))
        assert meeting.host == ANNA
        assert len(meeting.warnings) == 1
        for own in (ANNA, "Anna@Example.org", OWN["user_id"]):
            assert (await anna.create(a_spec(host=own))).warnings == ()


class TestUpdate:
    """Only what is ours and differs is sent."""

    async def test_nothing_is_sent_when_nothing_changed(self, anna: Zoom, zoom: ZoomServer) -> None:
        spec = a_spec()
        meeting = await anna.create(spec)
        assert await anna.update(meeting, spec) == meeting
        assert await zoom.calls("update") == []

    @pytest.mark.parametrize(
        ("changes", "sent"),
        [
            ({"title": "Another"}, {"topic"}),
            ({"duration": 3600}, {"duration"}),
            ({"time_zone": "Asia/Tokyo"}, {"timezone"}),
            ({"time_zone": "Etc/UTC"}, set()),
            ({"options": {"mute_upon_entry": True}}, {"settings"}),
            ({"options": {"mute_upon_entry": False}}, set()),
        ],
    )
    async def test_only_what_changed_is_sent(
        self, anna: Zoom, zoom: ZoomServer, changes: dict[str, Any], sent: set[str]
    ) -> None:
        spec = a_spec()
        await anna.update(await anna.create(spec), replace(spec, **changes))
        assert {name for call in await zoom.calls("update") for name in call["body"]} == sent

    async def test_a_moved_meeting_is_sent_its_time_alone_and_read_again(self, anna: Zoom, zoom: ZoomServer) -> None:
        spec = a_spec()
        meeting = await anna.create(spec)
        await anna.update(meeting, replace(spec, start=spec.start + 60))
        assert [call["verb"] for call in await zoom.calls()] == ["create", "get", "update", "get"]
        (call,) = await zoom.calls("update")
        assert set(call["body"]) == {"start_time", "timezone"}
        assert seconds((await held(zoom))["start_time"]) == spec.start + 60

    async def test_what_the_host_changed_in_zoom_stays(self, anna: Zoom, zoom: ZoomServer) -> None:
        spec = a_spec()
        meeting = await anna.create(spec)
        human = {"agenda": "Bring your papers.", "settings": {"waiting_room": True, "host_video": True}}
        await zoom.control("POST", f"meetings/{meeting.id}", human)
        await anna.update(meeting, replace(spec, start=spec.start + 3600))
        stands = await held(zoom)
        assert stands["agenda"] == "Bring your papers."
        assert (stands["settings"]["waiting_room"], stands["settings"]["host_video"]) == (True, True)

    async def test_what_the_office_chose_is_set_right_again(self, anna: Zoom, zoom: ZoomServer) -> None:
        spec = a_spec(options={"waiting_room": False})
        meeting = await anna.create(spec)
        await zoom.control("POST", f"meetings/{meeting.id}", {"settings": {"waiting_room": True}})
        await anna.update(meeting, spec)
        assert not (await held(zoom))["settings"]["waiting_room"]

    async def test_a_passcode_the_host_changed_changes_the_link_that_is_answered(
        self, anna: Zoom, zoom: ZoomServer
    ) -> None:
        spec = a_spec()
        meeting = await anna.create(spec)
        await zoom.control("POST", f"meetings/{meeting.id}", {"password": "12345678"})
        after = await anna.update(meeting, spec)
        assert after.join_url != meeting.join_url
        assert await ZoomVendor(zoom).opens(after.join_url)

    async def test_a_move_into_the_past_is_not_tried_and_said(self, anna: Zoom, zoom: ZoomServer) -> None:
        spec = a_spec()
        meeting = await anna.create(spec)
        past = replace(spec, start=int(time.time()) - 3600)
        after = await anna.update(meeting, past)
        assert after.join_url == meeting.join_url
        assert past.end < time.time()
        assert any("into the past" in text for text in after.warnings)
        assert await zoom.calls("update") == []
        assert await ZoomVendor(zoom).opens(after.join_url)

    async def test_a_meeting_moved_into_the_past_still_gets_its_title(self, anna: Zoom, zoom: ZoomServer) -> None:
        spec = a_spec()
        meeting = await anna.create(spec)
        await anna.update(meeting, replace(spec, start=int(time.time()) - 3600, title="Late"))
        (call,) = await zoom.calls("update")
        assert set(call["body"]) == {"topic"}

    @pytest.mark.parametrize("ago", [0, 600, 1790])
    async def test_a_booking_pulled_to_a_start_that_passed_begins_at_the_next_full_minute_as_long_as_it_is_not_over(
        self, anna: Zoom, zoom: ZoomServer, ago: int
    ) -> None:
        """Guests get in a quarter of an hour before the start that Zoom knows: the old one kept them outside."""
        spec, now = a_spec(), int(time.time())
        meeting = await anna.create(spec)
        after = await anna.update(meeting, replace(spec, start=now - ago))
        (call,) = await zoom.calls("update")
        assert set(call["body"]) == {"start_time", "timezone"}
        begins = seconds((await held(zoom))["start_time"])
        assert begins % 60 == 0
        assert now + 60 <= begins <= time.time() + 120
        assert (after.join_url, after.warnings) == (meeting.join_url, ())

    async def test_a_booking_that_has_begun_is_moved_once_and_never_later(self, anna: Zoom, zoom: ZoomServer) -> None:
        spec = a_spec()
        meeting = await anna.create(spec)
        begun = replace(spec, start=int(time.time()) - 600)
        await anna.update(meeting, begun)
        begins = seconds((await held(zoom))["start_time"])
        for at in (begins - 5, begins + 5):
            async with connected(zoom, clock=lambda at=at: at) as again:
                await again.update(meeting, begun)
        assert len(await zoom.calls("update")) == 1

    async def test_a_move_to_now_that_zoom_ignored_is_not_believed(self, zoom: ZoomServer) -> None:
        async with connected(zoom) as provider:
            spec = a_spec(start=int(time.time()) + 7200)
            meeting = await provider.create(spec)
            await zoom.control("POST", "clock", {"advance": 3000})
            with pytest.raises(OutcomeUnknown, match="did not"):
                await provider.update(meeting, replace(spec, start=int(time.time()) - 60))

    async def test_a_move_that_zoom_ignored_is_not_believed(self, zoom: ZoomServer) -> None:
        """Zoom's clock is ahead of ours: what is in the future here is in the past there."""
        async with connected(zoom) as provider:
            spec = a_spec(start=int(time.time()) + 7200)
            meeting = await provider.create(spec)
            await zoom.control("POST", "clock", {"advance": 3000})
            with pytest.raises(OutcomeUnknown, match="did not"):
                await provider.update(meeting, replace(spec, start=int(time.time()) + 1200))

    async def test_a_meeting_its_host_made_a_recurring_one_keeps_its_times_and_is_said(
        self, anna: Zoom, zoom: ZoomServer
    ) -> None:
        spec = a_spec()
        meeting = await anna.create(spec)
        await zoom.control("POST", f"meetings/{meeting.id}", {"type": 3})
        after = await anna.update(meeting, replace(spec, start=spec.start + 3600, duration=600))
        assert any("recurring" in text for text in after.warnings)
        assert after == meeting
        assert await zoom.calls("update") == []

    async def test_a_change_whose_answer_is_lost_may_have_happened(self, anna: Zoom, zoom: ZoomServer) -> None:
        spec = a_spec()
        meeting = await anna.create(spec)
        later = replace(spec, start=spec.start + 3600)
        await zoom.faults(only="update", lose_answers=1)
        with pytest.raises(OutcomeUnknown):
            await anna.update(meeting, later)
        assert seconds((await held(zoom))["start_time"]) == later.start
        await anna.update(meeting, later)
        assert len(await zoom.calls("update")) == 1

    async def test_a_change_that_cannot_be_read_again_may_have_happened(self, anna: Zoom, zoom: ZoomServer) -> None:
        """A first GET and a PATCH go well, then the account's calls of the day are used up."""
        spec = a_spec()
        meeting = await anna.create(spec)
        await zoom.control("PUT", "limits", {"daily": {"Light": 2}})
        with pytest.raises(OutcomeUnknown, match="read again"):
            await anna.update(meeting, replace(spec, title="Changed"))
        assert (await held(zoom))["topic"] == "Changed"


class TestOptions:
    """What an office chose, in Zoom's words."""

    @pytest.mark.parametrize(
        ("options", "settings"),
        [
            ({"waiting_room": True}, {"waiting_room": True, "join_before_host": False}),
            ({"join_before_host": False}, {"waiting_room": False, "join_before_host": False}),
            ({"opens_before": 0}, {"jbh_time": 5}),
            ({"opens_before": 10}, {"jbh_time": 10}),
            ({"opens_before": 11}, {"jbh_time": 15}),
            ({"opens_before": 60}, {"jbh_time": 0}),
            ({"auto_recording": "cloud"}, {"auto_recording": "cloud"}),
            ({"meeting_authentication": True}, {"meeting_authentication": True}),
            ({"alternative_hosts": [BEN]}, {"alternative_hosts": BEN}),
        ],
    )
    async def test_an_option_holds_for_new_and_for_standing_meetings(
        self, anna: Zoom, zoom: ZoomServer, options: dict[str, Any], settings: dict[str, Any]
    ) -> None:
        await anna.create(a_spec(options=options))
        new = (await held(zoom))["settings"]
        assert {name: new[name] for name in settings} == settings
        await zoom.control("DELETE", f"meetings/{(await held(zoom))['id']}")
        spec = a_spec()
        meeting = await anna.create(spec)
        after = await anna.update(meeting, replace(spec, options=options))
        standing = (await held(zoom))["settings"]
        assert {name: standing[name] for name in settings} == settings
        assert after.warnings == ()
        assert (await zoom.state())["mails"] == []

    async def test_other_hosts_get_no_mail_although_the_host_wanted_one_for_them(
        self, anna: Zoom, zoom: ZoomServer
    ) -> None:
        spec = a_spec()
        meeting = await anna.create(spec)
        wanted = {"settings": {"alternative_hosts_email_notification": True}}
        await zoom.control("POST", f"meetings/{meeting.id}", wanted)
        await anna.update(meeting, replace(spec, options={"alternative_hosts": [BEN]}))
        assert (await held(zoom))["settings"]["alternative_hosts"] == BEN
        assert (await zoom.state())["mails"] == []


class TestFind:
    """What a lost answer made."""

    @pytest.mark.parametrize("start", [86_400 * 40, -3600, -86_400 * 3, -86_400 * 400])
    async def test_the_days_in_which_it_can_be_are_asked_for_alone(
        self, anna: Zoom, zoom: ZoomServer, start: int
    ) -> None:
        """A booking of the past was made at the time it was made."""
        spec = a_spec(start=int(time.time()) + start)
        meeting = await anna.create(spec)
        assert await anna.find(spec) == meeting
        (call,) = await zoom.calls("list")
        assert {"from", "to", "timezone"} <= set(call["query"])

    async def test_a_marker_is_not_mistaken_for_one_that_begins_like_it(self, anna: Zoom) -> None:
        spec = a_spec(generation=1)
        await anna.create(replace(spec, generation=10))
        assert await anna.find(spec) is None

    async def test_what_was_moved_meanwhile_is_found_all_the_same(self, anna: Zoom, zoom: ZoomServer) -> None:
        spec = a_spec()
        meeting = await anna.create(spec)
        await zoom.control("POST", f"meetings/{meeting.id}", {"start_time": "2099-01-01T00:00:00Z"})
        assert await anna.find(spec) == meeting

    async def test_what_a_host_wrote_before_the_marker_hides_it_not(self, anna: Zoom, zoom: ZoomServer) -> None:
        spec = a_spec()
        meeting = await anna.create(spec)
        agenda = {"agenda": f"Bring papers. ref:{spec.key}.0 Thanks"}
        await zoom.control("POST", f"meetings/{meeting.id}", agenda)
        assert await anna.find(spec) == meeting

    async def test_all_pages_are_read(self, anna: Zoom, zoom: ZoomServer) -> None:
        await zoom.control("PUT", "limits", {"plan": None, "per_user": 1000})
        late = a_spec()
        await zoom.control("POST", "fill", {"user": ANNA, "count": 310, "start": late.start - 3600})
        meeting = await anna.create(late)
        assert await anna.find(late) == meeting
        assert len(await zoom.calls("list")) == 2

    async def test_the_other_hosts_meetings_are_not_searched(self, company: Zoom) -> None:
        spec = a_spec(host=BEN)
        await company.create(spec)
        assert await company.find(replace(spec, host=ANNA)) is None

    async def test_one_that_is_gone_when_it_is_read_is_none(self, anna: Zoom, zoom: ZoomServer) -> None:
        spec = a_spec()
        await anna.create(spec)
        await zoom.faults(only="get", fail=[{"status": 404}])
        assert await anna.find(spec) is None


class TestUpcoming:
    """What a list tells of our meetings."""

    async def test_all_pages_hold_ours_among_other_peoples(self, anna: Zoom, zoom: ZoomServer) -> None:
        await zoom.control("PUT", "limits", {"plan": None, "per_user": 2000})
        late = a_spec(owner=OWNER)
        await zoom.control("POST", "fill", {"user": ANNA, "count": 610, "start": late.start - 3600})
        meeting = await anna.create(late)
        found, page, pages = list[str](), None, 0
        while page or not pages:
            part = await anna.upcoming(None, OWNER, int(time.time()), page)
            found, page, pages = [*found, *(each.meeting.id for each in part.meetings)], part.following, pages + 1
        assert (found, pages) == ([meeting.id], 3)

    async def test_the_past_is_not_told_of(self, anna: Zoom, zoom: ZoomServer) -> None:
        spec = a_spec(owner=OWNER)
        await anna.create(spec)
        assert (await anna.upcoming(None, OWNER, spec.end, None)).meetings == ()
        assert len((await anna.upcoming(None, OWNER, spec.end - 1, None)).meetings) == 1

    async def test_a_page_that_is_out_of_date_is_refused(self, anna: Zoom, zoom: ZoomServer) -> None:
        await zoom.control("PUT", "limits", {"plan": None, "per_user": 2000})
        await zoom.control("POST", "fill", {"user": ANNA, "count": 301, "start": a_spec().start})
        first = await anna.upcoming(None, OWNER, int(time.time()), None)
        await zoom.control("POST", "clock", {"advance": 901})
        with pytest.raises(TemporaryError, match="where a list was to go on"):
            await anna.upcoming(None, OWNER, int(time.time()), first.following)

    async def test_a_link_without_its_passcode_is_not_whole(self, anna: Zoom, zoom: ZoomServer) -> None:
        await zoom.user(ANNA, embeds_passcode=False)
        await anna.create(a_spec(owner=OWNER))
        assert [each.whole for each in (await anna.upcoming(None, OWNER, 0, None)).meetings] == [False]

    async def test_one_in_the_hosts_personal_room_is_not_told_of(
        self, anna: Zoom, company: Zoom, zoom: ZoomServer
    ) -> None:
        await zoom.user(use_pmi=True, locked={"use_pmi": True})
        await zoom.faults(only="delete", fail=[{"status": 400, "code": 3018, "times": 9}])
        with pytest.raises(PermanentError, match="personal meeting id"):
            await anna.create(a_spec(owner=OWNER))
        assert len(await zoom.meetings()) == 1
        assert (await anna.upcoming(None, OWNER, 0, None)).meetings == ()
        assert (await company.upcoming(ANNA, OWNER, 0, None)).meetings == ()

    async def test_a_personal_room_is_known_in_a_list_although_zoom_does_not_call_it_so(self) -> None:
        """By the id that the account told when it was connected; another meeting beside it is told of."""
        rows = [
            {"id": id_, "agenda": f"ref:{'0' * 31}{nth}.0.{OWNER}", "join_url": f"https://zoom.us/j/{id_}?pwd=1"}
            for nth, id_ in enumerate((3123456789, 98765432109))
        ]
        async with RawServer(http(200, json.dumps({"meetings": rows}))) as server:
            client = Http(server.url)
            zoom = Zoom(ZoomSettings.model_validate({**OWN, "pmi": "3123456789"}), client)
            shown = (await zoom.upcoming(None, OWNER, 0, None)).meetings
            await client.close()
        assert [each.meeting.id for each in shown] == ["98765432109"]

    async def test_one_that_its_host_made_recurring_is_there_once_and_has_no_time(
        self, anna: Zoom, zoom: ZoomServer
    ) -> None:
        meeting = await anna.create(a_spec(owner=OWNER))
        await zoom.control("POST", f"meetings/{meeting.id}", {"type": 8})
        assert [each.start for each in (await anna.upcoming(None, OWNER, 0, None)).meetings] == [None]

    async def test_where_hosts_must_be_named_nobody_has_none(self, company: Zoom) -> None:
        mine = await company.create(a_spec(host=BEN, owner=OWNER))
        assert (await company.upcoming(None, OWNER, 0, None)).meetings == ()
        assert (await company.upcoming(ANNA, OWNER, 0, None)).meetings == ()
        (shown,) = (await company.upcoming(BEN, OWNER, 0, None)).meetings
        assert (shown.meeting.id, shown.meeting.host) == (mine.id, BEN)

    async def test_another_installations_meeting_is_not_found_and_an_old_one_is(self, anna: Zoom) -> None:
        spec = a_spec(owner=OWNER)
        await anna.create(replace(spec, owner="ffffffff"))
        assert await anna.find(spec) is None
        old = await anna.create(replace(spec, owner=""))
        assert await anna.find(spec) == old


class TestDelete:
    """Removing, without a mail to anybody."""

    async def test_nobody_gets_a_mail(self, anna: Zoom, zoom: ZoomServer) -> None:
        await anna.delete(await anna.create(a_spec()))
        (call,) = await zoom.calls("delete")
        assert call["query"] == {"schedule_for_reminder": "false", "cancel_meeting_reminder": "false"}
        assert (await zoom.state())["mails"] == []

    async def test_a_meeting_that_is_going_on_is_removed_later(self, anna: Zoom, zoom: ZoomServer) -> None:
        meeting = await anna.create(a_spec())
        await zoom.control("POST", f"meetings/{meeting.id}", {"live": True})
        with pytest.raises(TemporaryError, match="going on") as caught:
            await anna.delete(meeting)
        assert caught.value.retry_after
        await zoom.control("POST", f"meetings/{meeting.id}", {"live": False})
        await anna.delete(meeting)
        assert await zoom.meetings() == []

    async def test_a_meeting_that_has_ended_needs_no_removal(self, anna: Zoom, zoom: ZoomServer) -> None:
        meeting = await anna.create(a_spec())
        await zoom.control("POST", f"meetings/{meeting.id}", {"ended": True})
        await anna.delete(meeting)

    async def test_a_meeting_that_zoom_forgot_is_gone(self, anna: Zoom, zoom: ZoomServer) -> None:
        spec = a_spec()
        meeting = await anna.create(spec)
        await zoom.control("POST", "clock", {"advance": 40 * 86_400})
        async with connected(zoom) as later:
            await later.delete(meeting)
            with pytest.raises(MeetingNotFound):
                await later.update(meeting, spec)


class TestHostLink:
    """The host's link, which is a secret."""

    async def test_it_is_fetched_at_the_click_and_never_the_same(self, anna: Zoom, zoom: ZoomServer) -> None:
        assert isinstance(anna, HostLinks)
        meeting = await anna.create(a_spec())
        links = [await anna.host_url(meeting) for _ in range(2)]
        assert links[0] != links[1]
        assert (await zoom.request("GET", links[0])).status_code == 200

    async def test_it_is_in_no_meeting_log_error_or_repr(
        self, anna: Zoom, zoom: ZoomServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        spec = a_spec()
        meeting = await anna.create(spec)
        link = await anna.host_url(meeting)
        after = await anna.update(meeting, replace(spec, title="Other"))
        shown = [repr(meeting), repr(after), repr(anna), str(await anna.find(spec)), caplog.text]
        await zoom.control("DELETE", f"meetings/{meeting.id}")
        with pytest.raises(MeetingNotFound) as caught:
            await anna.host_url(meeting)
        shown += [repr(caught.value), meeting.join_url]
        assert not [text for text in shown if "zak" in text or link in text]
        assert not [text for text in shown[:-1] if "pwd=" in text]


class TestProbe:
    """The cheapest question."""

    async def test_a_persons_account_says_who_it_is(self, anna: Zoom) -> None:
        assert ANNA in await anna.probe()

    async def test_a_company_without_the_scope_to_see_users_works_all_the_same(self, zoom: ZoomServer) -> None:
        scopes = ["meeting:write:meeting:admin"]
        await zoom.control("PUT", "apps", {"client_id": "s2s-app", "scopes": scopes})
        async with connected(zoom, S2S) as provider:
            assert "takes our credentials" in await provider.probe()


ZONES = ["Europe/Helsinki", "America/New_York", "Australia/Lord_Howe", "Pacific/Kiritimati", "Asia/Kathmandu", "UTC"]
SPRING, AUTUMN = 1_932_685_200, 1_950_829_200  # Europe's clocks change near these, in 2031


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    start=st.integers(1_900_000_000, 4_000_000_000) | st.integers(SPRING - 9000, SPRING + 9000),
    duration=st.integers(1, 2 * 86_400),
    zone=st.sampled_from(ZONES),
)
@example(start=SPRING, duration=1, zone="Europe/Helsinki")
@example(start=AUTUMN, duration=3599, zone="Australia/Lord_Howe")
async def test_a_meeting_is_at_the_bookings_second_in_every_zone_on_every_day(
    zoom: ZoomServer, start: int, duration: int, zone: str
) -> None:
    await zoom.reset()
    async with connected(zoom) as provider:
        spec = a_spec(start=start, duration=duration, time_zone=zone)
        meeting = await provider.create(spec)
        stands = await held(zoom)
        assert (seconds(stands["start_time"]), stands["timezone"]) == (start, zone)
        assert stands["duration"] == min(-(-duration // 60), 1440)
        assert await provider.find(spec) == meeting
        assert await provider.update(meeting, spec) == meeting
        assert await zoom.calls("update") == []


def test_warnings_make_no_other_meeting() -> None:
    assert Meeting("1", "https://x/1") == Meeting("1", "https://x/1", warnings=("told in the journal",))


class TestPeople:
    """Whom an admin can choose as hosts."""

    async def test_an_accounts_users_who_may_host_are_named_and_one_persons_account_names_nobody(
        self, anna: Zoom, company: Zoom, zoom: ZoomServer
    ) -> None:
        cook = {"email": "cook@example.org", "account_id": "account-1", "type": 4}
        await zoom.control("PUT", "users", cook)  # without a seat
        assert {ANNA, BEN} <= set(await company.people())
        assert "cook@example.org" not in await company.people()
        assert await anna.people() == ()

    async def test_an_app_that_may_not_list_users_names_nobody(self, zoom: ZoomServer) -> None:
        await zoom.control("PUT", "apps", {"client_id": "s2s-app", "scopes": ["meeting:write:meeting:admin"]})
        async with connected(zoom, S2S) as company:
            assert await company.people() == ()
