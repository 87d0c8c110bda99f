"""The laws every provider keeps, for the tests of any adapter, ours or another package's; only it imports pytest.

An adapter's tests inherit `VendorLaws`, `ListingLaws` if it lists, or `NameLaws` if it makes no calls, with fixtures::

    class TestAcme(VendorLaws):
        info = PROVIDER

        @pytest.fixture
        def settings(self, server): ...    # a connection to your fake of the vendor
        @pytest.fixture
        async def provider(self, settings): ...    # the adapter under test
        @pytest.fixture
        def vendor(self, server): ...    # what `Vendor` asks of the fake

Laws are coroutines: run them with pytest-asyncio in its mode "auto".
"""

import asyncio
import logging
import re
import secrets
import time
from dataclasses import replace
from typing import Any

import pytest

from providers.base import (
    ClickLinks,
    Entrance,
    Kinds,
    Meeting,
    MeetingNotFound,
    MeetingProvider,
    MeetingSpec,
    Options,
    OutcomeUnknown,
    ProviderError,
    ProviderInfo,
    ProviderSettings,
    ReconnectRequired,
    Role,
    TemporaryError,
)
from providers.fakes import Host as Host
from providers.fakes import Vendor as Vendor
from providers.listing import Listed, Listing

MOST_PAGES = 20
"""Pages of a list that a law reads."""


def a_spec(**changes: Any) -> MeetingSpec:
    """What is wanted of a meeting tomorrow, under a key of its own."""
    start = int(time.time()) + 86_400
    spec = MeetingSpec(key=secrets.token_hex(16), generation=0, title="A consultation", start=start, duration=1800)
    return replace(spec, **changes)


async def link_of(provider: MeetingProvider, meeting: Meeting, spec: MeetingSpec, role: Role) -> str:
    """The link of one click at the meeting's start."""
    if isinstance(provider, ClickLinks):
        return await provider.click_url(meeting, spec, role, spec.start, spec.end)
    return provider.join_url(meeting, spec, role, spec.start, spec.end)


def _secrets_of(meeting: Meeting) -> list[str]:
    """What opens a meeting besides its link; its id, which some vendors have callers enter, shows in logs."""
    return [text for text in (meeting.entrance or Entrance()).secrets if text != meeting.id]


class ProviderLaws:
    """What holds for every provider.

    A subclass has fixtures `provider` and `settings`; `vendor` is the fake server behind the provider, if it has one.
    Inherit from `VendorLaws`, `ListingLaws` or `NameLaws`.
    """

    info: ProviderInfo

    @pytest.fixture
    def secret_texts(self, settings: ProviderSettings) -> list[str]:
        """What must never show anywhere."""
        fields = type(settings).model_fields
        return [str(value) for name, value in settings.reveal().items() if "Secret" in str(fields[name].annotation)]

    @pytest.fixture
    def vendor(self) -> Vendor | None:
        """No server behind this provider."""
        return None

    async def test_creating_twice_gives_one_meeting(self, provider: MeetingProvider, vendor: Vendor | None) -> None:
        spec = a_spec()
        if not provider.capabilities.finds:
            pytest.skip("this vendor's meetings cannot be found; the ledger knows what was made")
        if provider.capabilities.idempotent_create:
            first, second = await provider.create(spec), await provider.create(spec)
        else:
            first = await provider.create(spec)
            second = await provider.find(spec) or await provider.create(spec)
        assert first == second
        if vendor:
            assert await vendor.meetings(spec) == [first.id]

    async def test_creating_at_the_same_time_gives_one_meeting(
        self, provider: MeetingProvider, vendor: Vendor | None
    ) -> None:
        if not provider.capabilities.idempotent_create:
            pytest.skip("this vendor has no idempotent create; the ledger's lease keeps creates apart")
        spec = a_spec()
        meetings = await asyncio.gather(*(provider.create(spec) for _ in range(5)))
        assert len({meeting.id for meeting in meetings}) == 1
        if vendor:
            assert await vendor.meetings(spec) == [meetings[0].id]

    async def test_other_bookings_and_generations_have_other_meetings(self, provider: MeetingProvider) -> None:
        spec = a_spec()
        wanted = [spec, replace(spec, generation=1), a_spec()]
        meetings = [await provider.create(each) for each in wanted]
        assert len({meeting.id for meeting in meetings}) == 3
        assert len({meeting.join_url for meeting in meetings}) == 3

    async def test_moving_a_meeting_keeps_its_link_or_the_flag_says_it_cannot(self, provider: MeetingProvider) -> None:
        spec = a_spec()
        meeting = await provider.create(spec)
        moved = await provider.update(meeting, replace(spec, start=spec.start + 3600, title="Later"))
        assert (moved.join_url == meeting.join_url) == provider.capabilities.keeps_link

    async def test_moving_twice_is_moving_once(self, provider: MeetingProvider) -> None:
        spec = a_spec()
        meeting = await provider.create(spec)
        later = replace(spec, start=spec.start + 3600)
        assert await provider.update(meeting, later) == await provider.update(meeting, later)

    async def test_removing_a_meeting_twice_is_a_success(self, provider: MeetingProvider) -> None:
        meeting = await provider.create(a_spec())
        await provider.delete(meeting)
        await provider.delete(meeting)

    async def test_removing_a_vanished_meeting_is_a_success(
        self, provider: MeetingProvider, vendor: Vendor | None
    ) -> None:
        meeting = await provider.create(a_spec())
        if vendor:
            await vendor.vanish(meeting)
        await provider.delete(meeting)

    async def test_finding_answers_what_was_created(self, provider: MeetingProvider) -> None:
        spec = a_spec()
        meeting = await provider.create(spec)
        assert await provider.find(spec) == (meeting if provider.capabilities.finds else None)

    async def test_a_probe_answers_a_sentence(self, provider: MeetingProvider) -> None:
        assert (await provider.probe()).endswith(".")

    async def test_a_click_mints_a_link_of_its_own_only_where_the_flag_says_so(self, provider: MeetingProvider) -> None:
        spec = a_spec()
        meeting = await provider.create(spec)
        links = [await link_of(provider, meeting, spec, "host"), await link_of(provider, meeting, spec, "guest")]
        if provider.capabilities.mints_link:
            assert len({*links, meeting.join_url}) == 3
        else:
            assert links[1] == meeting.join_url
            assert isinstance(provider, ClickLinks) or links[0] == meeting.join_url

    async def test_guests_can_be_told_what_to_expect_at_the_click(self, provider: MeetingProvider) -> None:
        """Only whether they wait may be unknown, where every server decides that for itself."""
        spec = a_spec()
        meeting = await provider.create(spec)
        flags = provider.promises(spec, meeting) if isinstance(provider, Kinds) else provider.capabilities
        assert flags.opens_in in ("browser", "app_or_browser")
        assert flags.guests_log_in in (True, False)
        assert flags.guests_wait in (True, False, None)
        assert self.info.app is None or 0 < len(self.info.app) <= 40

    async def test_what_guests_enter_at_a_telephone_is_digits(self, provider: MeetingProvider) -> None:
        meeting = await provider.create(a_spec())
        for each in meeting.entrance.dial_in if meeting.entrance else ():
            assert re.fullmatch(r"\+[0-9 ()-]+", each.number)
            assert all(code.isdecimal() for code in each.codes)
        assert not [text for text in _secrets_of(meeting) if text in repr(meeting)]

    async def test_links_tell_nothing_of_the_booking(self, provider: MeetingProvider) -> None:
        spec = a_spec(title="Fertility consultation")
        meeting = await provider.create(spec)
        link = (await link_of(provider, meeting, spec, "guest")).lower()
        assert not any(word in link for word in ("fertility", "consultation", spec.key))

    async def test_nothing_secret_is_in_logs_errors_or_reprs(
        self,
        provider: MeetingProvider,
        vendor: Vendor | None,
        settings: ProviderSettings,
        secret_texts: list[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        spec = a_spec()
        meeting = await provider.create(spec)
        shown = [repr(provider), repr(meeting), repr(settings), str(settings), str(settings.model_dump())]
        shown += settings.warnings()
        for status in (400, 401, 403, 429, 500) if vendor else ():
            assert vendor
            await vendor.fail_next(status)
            with pytest.raises(ProviderError) as caught:
                await provider.update(meeting, spec)
            shown += [repr(caught.value), caught.value.text]
        link = await link_of(provider, meeting, spec, "host")
        await provider.delete(meeting)
        everything = "\n".join([*shown, caplog.text])
        hidden = [*secret_texts, link, *_secrets_of(meeting)]
        assert not [text for text in hidden if text in everything]

    def test_settings_survive_the_vault(self, settings: ProviderSettings) -> None:
        assert self.info.settings(**settings.reveal()) == settings

    def test_settings_that_are_wrong_are_refused_without_showing_them(self) -> None:
        with pytest.raises(ValueError, match="unheard_of") as caught:
            self.info.settings(unheard_of="very-secret-value")  # type: ignore[call-arg]
        assert "very-secret-value" not in str(caught.value)

    def test_the_registry_row_fits_the_settings(self, settings: ProviderSettings) -> None:
        assert isinstance(settings, self.info.settings)
        assert issubclass(self.info.options, Options)
        assert self.info.name.isidentifier()
        assert settings.method
        assert settings.account


class VendorLaws(ProviderLaws):
    """What holds for a provider that calls a vendor; a subclass's fixture `vendor` is a strict fake of it."""

    async def test_moving_a_vanished_meeting_says_that_it_is_gone(
        self, provider: MeetingProvider, vendor: Vendor
    ) -> None:
        spec = a_spec()
        meeting = await provider.create(spec)
        await vendor.vanish(meeting)
        with pytest.raises(MeetingNotFound):
            await provider.update(meeting, spec)

    async def test_removing_a_meeting_closes_its_link_or_the_flag_says_it_cannot(
        self, provider: MeetingProvider, vendor: Vendor
    ) -> None:
        meeting = await provider.create(a_spec())
        assert await vendor.opens(meeting.join_url) != provider.capabilities.mints_link
        await provider.delete(meeting)
        if provider.capabilities.enforces_teardown:
            assert not await vendor.opens(meeting.join_url)

    async def test_a_meeting_that_a_removal_takes_away_does_not_come_back_under_its_name(
        self, provider: MeetingProvider, vendor: Vendor
    ) -> None:
        """The flags say so, and the core takes another name: a slow process may remove the old one once more."""
        spec = a_spec()
        await provider.delete(await provider.create(spec))
        if await vendor.meetings(spec) == []:
            assert provider.capabilities.enforces_teardown or provider.capabilities.burns_keys

    async def test_finding_answers_nothing_before_a_create(self, provider: MeetingProvider, vendor: Vendor) -> None:
        assert await provider.find(a_spec()) is None

    async def test_finding_answers_what_a_lost_answer_created(self, provider: MeetingProvider, vendor: Vendor) -> None:
        spec = a_spec()
        await vendor.lose_next_answer()
        with pytest.raises(OutcomeUnknown):
            await provider.create(spec)
        found = await provider.find(spec)
        if not provider.capabilities.finds:
            assert found is None
            return
        assert found
        assert await vendor.meetings(spec) == [found.id]

    async def test_a_lost_answer_of_a_removal_is_no_failure(self, provider: MeetingProvider, vendor: Vendor) -> None:
        spec = a_spec()
        meeting = await provider.create(spec)
        await vendor.lose_next_answer()
        await provider.delete(meeting)
        assert await vendor.meetings(spec) == []

    async def test_a_limit_is_temporary_and_carries_the_vendors_time(
        self, provider: MeetingProvider, vendor: Vendor
    ) -> None:
        spec = a_spec()
        await vendor.fail_next(429, retry_after=17)
        with pytest.raises(TemporaryError) as caught:
            await provider.create(spec)
        assert caught.value.retry_after == 17
        assert await vendor.meetings(spec) == []

    async def test_a_server_error_leaves_the_outcome_of_a_create_unknown(
        self, provider: MeetingProvider, vendor: Vendor
    ) -> None:
        await vendor.fail_next(500)
        with pytest.raises(OutcomeUnknown):
            await provider.create(a_spec())

    async def test_a_server_error_of_a_harmless_verb_is_temporary(
        self, provider: MeetingProvider, vendor: Vendor
    ) -> None:
        spec = a_spec()
        await provider.create(spec)
        await vendor.fail_next(503, times=3)
        with pytest.raises(TemporaryError):
            await (provider.find(spec) if provider.capabilities.finds else provider.probe())

    async def test_refused_credentials_ask_for_a_reconnect_whatever_the_verb(
        self, provider: MeetingProvider, vendor: Vendor
    ) -> None:
        spec = a_spec()
        meeting = await provider.create(spec)
        for verb in (
            lambda: provider.create(a_spec()),
            lambda: provider.update(meeting, spec),
            lambda: provider.delete(meeting),
            *([lambda: provider.find(spec)] if provider.capabilities.finds else []),
            provider.probe,
        ):
            await vendor.fail_next(401)
            with pytest.raises(ReconnectRequired):
                await verb()


class ListingLaws(VendorLaws):
    """What holds besides for a provider whose meetings can be listed."""

    owner = "0a1b2c3d"

    async def listed(self, provider: MeetingProvider) -> list[Listed]:
        """All pages of the connection's own meetings."""
        assert isinstance(provider, Listing)
        found, page = list[Listed](), None
        for _ in range(MOST_PAGES):
            part = await provider.upcoming(None, self.owner, int(time.time()), page)
            assert part.complete
            found, page = [*found, *part.meetings], part.following
            if page is None:
                return found
        raise AssertionError(f"the list has more than {MOST_PAGES} pages")

    async def test_a_list_shows_what_was_created_as_it_was_asked_for(self, provider: MeetingProvider) -> None:
        spec = a_spec(owner=self.owner, generation=3, duration=3600)
        meeting = await provider.create(spec)
        (shown,) = await self.listed(provider)
        assert (shown.meeting.id, shown.key, shown.generation, shown.owner) == (meeting.id, spec.key, 3, self.owner)
        assert (shown.start, shown.duration, shown.title) == (spec.start, 3600, spec.title)
        assert abs(shown.made_at - time.time()) < 3600

    async def test_a_link_that_is_said_to_be_whole_lets_guests_in(
        self, provider: MeetingProvider, vendor: Vendor
    ) -> None:
        made = await provider.create(a_spec(owner=self.owner))
        (shown,) = await self.listed(provider)
        assert shown.meeting.join_url == made.join_url or not shown.whole

    async def test_a_list_shows_where_a_meeting_was_moved_to(self, provider: MeetingProvider) -> None:
        spec = a_spec(owner=self.owner, start=a_spec().start // 60 * 60)
        meeting = await provider.create(spec)
        await provider.update(meeting, replace(spec, start=spec.start + 7200))
        assert [each.start for each in await self.listed(provider)] == [spec.start + 7200]

    async def test_a_list_shows_nothing_that_was_removed(self, provider: MeetingProvider, vendor: Vendor) -> None:
        removed, vanished = [await provider.create(a_spec(owner=self.owner)) for _ in range(2)]
        await provider.delete(removed)
        await vendor.vanish(vanished)
        assert await self.listed(provider) == []

    async def test_a_list_says_whose_a_meeting_is(self, provider: MeetingProvider) -> None:
        mine = await provider.create(a_spec(owner=self.owner))
        for owner in ("ffffffff", ""):
            await provider.create(a_spec(owner=owner))
        own = [each.meeting.id for each in await self.listed(provider) if each.owner == self.owner]
        assert own == [mine.id]

    async def test_what_the_marker_says_is_no_part_of_what_is_wanted(self, provider: MeetingProvider) -> None:
        spec = a_spec(owner=self.owner)
        meeting = await provider.create(spec)
        assert await provider.update(meeting, replace(spec, owner="")) == meeting
        assert [each.owner for each in await self.listed(provider)] == [self.owner]

    async def test_a_list_that_cannot_be_read_says_what_any_call_says(
        self, provider: MeetingProvider, vendor: Vendor
    ) -> None:
        for status, error in ((429, TemporaryError), (401, ReconnectRequired)):
            await vendor.fail_next(status, retry_after=17 if status == 429 else None)
            with pytest.raises(error):
                await self.listed(provider)


class NameLaws(ProviderLaws):
    """What holds for a provider whose rooms exist by their names; its fixture `host` is where calls would go."""

    async def test_a_provider_without_a_vendor_sends_nothing(self, provider: MeetingProvider, host: Host) -> None:
        spec = a_spec()
        meeting = await provider.create(spec)
        await provider.update(meeting, spec)
        await provider.find(spec)
        await provider.delete(meeting)
        assert host.connections == 0
