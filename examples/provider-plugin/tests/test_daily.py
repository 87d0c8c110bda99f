"""Daily: the laws that come with vello-meetings, and what only Daily does."""

import time
from collections.abc import AsyncIterator

import pytest
from daily import DOMAIN, KEY, DailyServer
from pydantic import SecretStr
from vello_daily import PROVIDER, Daily, DailySettings

from providers.base import PermanentError, TemporaryError
from providers.http import Http
from providers.testing import VendorLaws, a_spec


class TestDaily(VendorLaws):
    """The laws, and a little more."""

    info = PROVIDER

    @pytest.fixture
    async def vendor(self) -> AsyncIterator[DailyServer]:
        async with DailyServer() as server:
            yield server

    @pytest.fixture
    def settings(self, vendor: DailyServer) -> DailySettings:
        return DailySettings(domain=DOMAIN, api_key=SecretStr(KEY), api_url=vendor.url)

    @pytest.fixture
    async def provider(self, settings: DailySettings, vendor: DailyServer) -> AsyncIterator[Daily]:
        http = Http()
        vendor.adapter = Daily(settings, http)
        yield vendor.adapter
        await http.close()

    async def test_a_room_opens_as_early_as_the_office_says_and_closes_after_its_end(
        self, provider: Daily, vendor: DailyServer
    ) -> None:
        spec = a_spec(options={"opens_before": 5})
        meeting = await provider.create(spec)
        assert vendor.rooms[meeting.id]["config"] == {"nbf": spec.start - 300, "exp": spec.end + 7200}

    async def test_a_booking_of_the_past_gets_a_room(self, provider: Daily, vendor: DailyServer) -> None:
        meeting = await provider.create(a_spec(start=1_000_000_000))
        assert vendor.rooms[meeting.id]["config"]["exp"] > time.time()

    async def test_a_room_that_is_refused_and_not_there_is_a_developers_matter(
        self, provider: Daily, vendor: DailyServer
    ) -> None:
        await vendor.fail_next(400)
        with pytest.raises(PermanentError) as caught:
            await provider.create(a_spec())
        assert caught.value.who_can_fix == "developer"

    async def test_a_room_of_another_domain_is_none_of_ours(self, settings: DailySettings) -> None:
        http = Http()
        other = Daily(settings.model_copy(update={"domain": "other"}), http)
        spec = a_spec()
        with pytest.raises(Exception, match=r"no room of other\.daily\.co"):
            await other.create(spec)
        with pytest.raises(TemporaryError):
            await other.find(spec)
        await http.close()
