"""Zoom's errors: status first, code second, and what the caller does next."""

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from providers.base import (
    BudgetSpent,
    Meeting,
    MeetingNotFound,
    OutcomeUnknown,
    PermanentError,
    ProviderError,
    ReconnectRequired,
    TemporaryError,
)
from providers.http import Answer, Http
from providers.testing import a_spec
from providers.zoom import Zoom
from providers.zoom_account import ZoomSettings
from providers.zoom_answers import REFUSALS, explain
from providers.zoom_listing import MAX_PAGES
from tests.fakes.zoom_api import DAY_LIMIT, SECOND_LIMIT, USER_LIMIT
from tests.fakes.zoom_server import ZoomServer
from tests.providers.zooming import ANNA, BEN, OWN, S2S, connected
from tests.servers import RawServer, http

NOON = 1_900_000_800 // 86_400 * 86_400 + 43_200


@pytest.fixture
async def anna(zoom: ZoomServer) -> AsyncIterator[Zoom]:
    """Anna's own account, at noon UTC."""
    async with connected(zoom, clock=lambda: float(NOON)) as provider:
        yield provider


async def refused(zoom: ZoomServer, anna: Zoom, **failure: Any) -> ProviderError:
    """What a probe raises when Zoom fails like this."""
    await zoom.faults(fail=[{"times": 3, **failure}])
    with pytest.raises(ProviderError) as caught:
        await anna.probe()
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "message", "kind", "said"),
    [
        (401, 124, "Invalid access token.", ReconnectRequired, "connect the account again"),
        (401, 201, "Access token is expired.", ReconnectRequired, "connect the account again"),
        (401, 4711, "anything", ReconnectRequired, "connect the account again"),
        (400, 4711, "does not contain scopes:[meeting:read:meeting].", PermanentError, "meeting:read:meeting"),
        (400, 4700, "something else", PermanentError, "a scope that this needs"),
        (400, 300, "Validation Failed.", PermanentError, "does not accept what we sent"),
        (400, 300, "The next page token is invalid or expired.", TemporaryError, "list"),
        (400, 300, "Meeting 123 does not exist.", MeetingNotFound, "no such meeting"),
        (400, 3000, "Cannot schedule", PermanentError, "schedule for this host"),
        (400, 3161, "Not allowed", PermanentError, "licence"),
        (400, 3003, "Not the host", PermanentError, "another Zoom user"),
        (400, 1010, "Not in account", PermanentError, "no user of the connected"),
        (400, 200, "Only for paid", PermanentError, "plan or the user's role"),
        (400, 3002, "In progress", TemporaryError, "going on"),
        (400, 3007, "Ended", MeetingNotFound, "no such meeting"),
        (404, 3001, "Gone", MeetingNotFound, "no such meeting"),
        (404, 1001, "No user", PermanentError, "no such user"),
        (404, 300, "Something", PermanentError, "refuses the call"),
        (403, 403, "Not shared", PermanentError, "given access"),
        (409, 1, "Something", PermanentError, "refuses the call"),
        (429, 429, SECOND_LIMIT, TemporaryError, "in a second"),
        (429, 429, "Too many concurrent requests.", TemporaryError, "in a second"),
        (429, 429, DAY_LIMIT, TemporaryError, "00:00 UTC"),
        (429, 429, USER_LIMIT, TemporaryError, "00:00 UTC"),
        (500, 124, "Invalid access token.", TemporaryError, "problem of its own"),
        (503, 3001, "Meeting does not exist.", TemporaryError, "problem of its own"),
    ],
)
async def test_status_and_code_together_say_what_happened(
    zoom: ZoomServer, anna: Zoom, status: int, code: int, message: str, kind: type[ProviderError], said: str
) -> None:
    error = await refused(zoom, anna, status=status, code=code, message=message)
    assert isinstance(error, kind)
    assert said in error.text
    assert error.text.endswith(".")
    if isinstance(error, PermanentError):
        assert error.who_can_fix == ("developer" if (status, code) == (400, 300) else "admin")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429])
async def test_a_page_instead_of_json_is_temporary_and_never_a_revoked_account(
    zoom: ZoomServer, anna: Zoom, status: int
) -> None:
    error = await refused(zoom, anna, status=status, html=True, retry_after=9)
    assert isinstance(error, TemporaryError)
    assert error.retry_after == 9


@pytest.mark.parametrize("code", [None, "3001", True, [], {}])
def test_a_code_of_another_type_is_no_code(code: Any) -> None:
    """The answer is made here, since the fake keeps to Zoom's types."""
    answer = Answer("zoom.us", 404, {}, json.dumps({"code": code, "errors": 7}).encode(), safe=True)
    assert explain(answer, 0) is None


async def test_the_fields_at_fault_are_named_and_nothing_else(zoom: ZoomServer, anna: Zoom) -> None:
    errors = [{"field": "settings.jbh_time", "message": "secret@example.org"}, {"field": "<b>topic", "message": ""}]
    error = await refused(zoom, anna, status=400, errors=errors, message="secret@example.org is wrong")
    assert error.text == "Zoom does not accept what we sent: settings.jbh_time, btopic."


async def test_alternative_hosts_that_zoom_does_not_take_are_the_admins_matter(zoom: ZoomServer) -> None:
    async with connected(zoom) as provider:
        with pytest.raises(PermanentError, match="alternative_hosts") as caught:
            await provider.create(a_spec(options={"alternative_hosts": ["stranger@elsewhere.example"]}))
    assert caught.value.who_can_fix == "admin"
    assert "stranger" not in caught.value.text


class TestLimits:
    """§3: of a second, of a day, of a user."""

    async def test_the_hundredth_change_of_a_user_waits_for_midnight_without_being_told(
        self, zoom: ZoomServer, anna: Zoom
    ) -> None:
        await zoom.control("PUT", "limits", {"per_user": 2})
        specs = [a_spec() for _ in range(3)]
        await anna.update(await anna.create(specs[0]), a_spec(title="Changed"))
        with pytest.raises(TemporaryError, match="00:00 UTC") as caught:
            await anna.create(specs[1])
        assert caught.value.retry_after == 43_200
        assert await anna.find(specs[1]) is None

    async def test_reading_and_removing_do_not_count(self, zoom: ZoomServer, anna: Zoom) -> None:
        await zoom.control("PUT", "limits", {"per_user": 1})
        spec = a_spec()
        meeting = await anna.create(spec)
        await anna.update(meeting, spec)
        await anna.find(spec)
        await anna.delete(meeting)

    async def test_a_days_limit_of_the_account_carries_zooms_time(self, zoom: ZoomServer, anna: Zoom) -> None:
        await zoom.control("PUT", "limits", {"daily": {"Medium": 0}})
        with pytest.raises(TemporaryError, match="00:00 UTC") as caught:
            await anna.create(a_spec())
        left = 86_400 - time.time() % 86_400
        assert caught.value.retry_after == pytest.approx(left, abs=60) or left < 60

    async def test_a_seconds_limit_is_over_in_a_moment(self, zoom: ZoomServer, anna: Zoom) -> None:
        error = await refused(zoom, anna, status=429, message=SECOND_LIMIT)
        assert isinstance(error, TemporaryError)
        assert error.retry_after == 2

    @pytest.mark.parametrize("header", ["Daily-limit", "daily-limit"])
    async def test_a_days_limit_is_known_by_its_header_too(self, zoom: ZoomServer, anna: Zoom, header: str) -> None:
        headers = {"x-ratelimit-type": header}
        error = await refused(zoom, anna, status=429, message="Slow down.", headers=headers)
        assert isinstance(error, TemporaryError)
        assert error.retry_after == 43_200

    async def test_a_retry_after_that_is_over_is_not_believed_of_a_day(self, zoom: ZoomServer, anna: Zoom) -> None:
        error = await refused(zoom, anna, status=429, message=DAY_LIMIT, retry_after="2020-05-31T00:00:00Z")
        assert isinstance(error, TemporaryError)
        assert error.retry_after == 43_200

    @pytest.mark.parametrize(("message", "spent"), [(USER_LIMIT, True), (DAY_LIMIT, True), (SECOND_LIMIT, False)])
    async def test_the_hosts_and_the_accounts_day_are_over_for_every_booking(
        self, zoom: ZoomServer, anna: Zoom, message: str, spent: bool
    ) -> None:
        error = await refused(zoom, anna, status=429, message=message)
        assert isinstance(error, TemporaryError)
        assert (isinstance(error, BudgetSpent), error.well) == (spent, True)

    async def test_a_meetings_own_limit_holds_up_nobody_else(self, zoom: ZoomServer, anna: Zoom) -> None:
        said = "You have exceeded the daily rate limit of updates of this meeting."
        error = await refused(zoom, anna, status=429, message=said)
        assert isinstance(error, TemporaryError)
        assert not isinstance(error, BudgetSpent)
        assert "of changes of this meeting" in error.text

    async def test_what_may_be_spent_in_a_day_is_declared(self, anna: Zoom) -> None:
        budget = anna.capabilities.budget
        assert budget
        assert (budget.per_host, budget.verbs) == (100, ("create", "update"))
        assert 0 < budget.reserve < budget.per_host


class TestAccount:
    """What the fake's users and apps can do to a call."""

    @pytest.mark.parametrize(
        ("changes", "said"), [({"may_host": False}, "licence"), ({"refuses": True}, "schedule for this host")]
    )
    async def test_a_host_who_may_not_is_the_admins_matter(
        self, zoom: ZoomServer, anna: Zoom, changes: dict[str, Any], said: str
    ) -> None:
        await zoom.user(**changes)
        with pytest.raises(PermanentError, match=said):
            await anna.create(a_spec())

    async def test_a_user_who_is_not_there_or_of_another_account_is_named_as_the_reason(self, zoom: ZoomServer) -> None:
        await zoom.user("eve@elsewhere.example", account_id="account-2")
        async with connected(zoom, S2S) as provider:
            with pytest.raises(PermanentError, match="no such user"):
                await provider.create(a_spec(host="nobody@example.org"))
            with pytest.raises(PermanentError, match="no user of the connected"):
                await provider.create(a_spec(host="eve@elsewhere.example"))

    async def test_another_persons_meeting_is_not_ours_to_change(self, zoom: ZoomServer, anna: Zoom) -> None:
        async with connected(zoom, S2S) as company:
            meeting = await company.create(a_spec(host=BEN))
        with pytest.raises(PermanentError, match="another Zoom user"):
            await anna.update(meeting, a_spec())

    async def test_a_missing_scope_is_named(self, zoom: ZoomServer) -> None:
        await zoom.control("PUT", "apps", {"client_id": "user-app", "scopes": ["meeting:read:meeting"]})
        async with connected(zoom) as provider:
            with pytest.raises(PermanentError, match="meeting:write:meeting"):
                await provider.create(a_spec())

    async def test_classic_scopes_do_as_well(self, zoom: ZoomServer) -> None:
        scopes = ["meeting:write", "meeting:read", "user:read"]
        await zoom.control("PUT", "apps", {"client_id": "user-app", "scopes": scopes})
        async with connected(zoom) as provider:
            spec = a_spec()
            meeting = await provider.create(spec)
            await provider.update(meeting, a_spec(title="Changed"))
            assert await provider.find(spec) == meeting
            await provider.delete(meeting)

    @pytest.mark.parametrize("path", ["expire", "revoke"])
    async def test_an_expired_or_revoked_token_asks_for_a_reconnect(
        self, zoom: ZoomServer, anna: Zoom, path: str
    ) -> None:
        await zoom.control("POST", path, {"client_id": "user-app", "user": ANNA})
        with pytest.raises(ReconnectRequired):
            await anna.create(a_spec())

    async def test_connecting_the_same_user_again_ends_the_first_grant(self, zoom: ZoomServer, anna: Zoom) -> None:
        async with connected(zoom, OWN) as second:
            with pytest.raises(ReconnectRequired):
                await anna.probe()
            await second.probe()


@pytest.mark.parametrize(
    "body",
    [
        '{"id": 1}',
        '{"join_url": "https://zoom.us/j/1"}',
        '{"id": "x", "join_url": "https://zoom.us/j/1"}',
        '{"id": 1, "join_url": "zoom.us/j/1"}',
        "[]",
        "{",
    ],
)
async def test_an_answer_without_id_or_link_may_have_made_a_meeting_and_nothing_is_invented(body: str) -> None:
    async with RawServer(http(201, body)) as server:
        client = Http(server.url)
        with pytest.raises(OutcomeUnknown):
            await Zoom(ZoomSettings.model_validate(OWN), client).create(a_spec())
        await client.close()


async def test_an_answer_with_nothing_but_id_and_link_is_a_meeting() -> None:
    async with RawServer(http(201, '{"id": 98765432109, "join_url": "https://zoom.us/j/98765432109"}')) as server:
        client = Http(server.url)
        meeting = await Zoom(ZoomSettings.model_validate(OWN), client).create(a_spec())
        assert meeting == Meeting("98765432109", "https://zoom.us/j/98765432109")
        assert meeting.warnings == ()
        await client.close()


async def test_a_meeting_without_a_start_link_has_none() -> None:
    async with RawServer(http(200, '{"id": 1, "join_url": "https://zoom.us/j/1"}')) as server:
        client = Http(server.url)
        with pytest.raises(TemporaryError, match="start_url"):
            await Zoom(ZoomSettings.model_validate(OWN), client).host_url(Meeting("1", "https://zoom.us/j/1"))
        await client.close()


async def test_a_list_without_end_is_given_up() -> None:
    async with RawServer(http(200, '{"meetings": [], "next_page_token": "again"}')) as server:
        client = Http(server.url)
        with pytest.raises(PermanentError, match="more Zoom meetings"):
            await Zoom(ZoomSettings.model_validate(OWN), client).find(a_spec())
        assert server.connections == MAX_PAGES
        await client.close()


@pytest.mark.parametrize("text", [text for text, _ in REFUSALS.values()])
def test_every_refusal_has_a_cure_in_the_documentation(text: str) -> None:
    assert text.partition(":")[0] in (Path(__file__).parents[2] / "docs" / "zoom.md").read_text()


GONE = http(404, '{"code": 3001, "message": "Meeting does not exist."}')


async def test_a_meeting_that_goes_while_it_is_changed_is_gone() -> None:
    stands = '{"id": 1, "join_url": "https://zoom.us/j/1", "type": 2}'
    async with RawServer(http(200, stands), http(204, ""), GONE) as server:
        client = Http(server.url)
        with pytest.raises(MeetingNotFound):
            await Zoom(ZoomSettings.model_validate(OWN), client).update(Meeting("1", ""), a_spec())
        await client.close()


async def test_a_time_or_zone_that_nobody_can_read_is_set_right() -> None:
    spec = a_spec()
    right = f"{datetime.fromtimestamp(spec.start, UTC):%Y-%m-%dT%H:%M:%SZ}"
    stands = {"id": 1, "join_url": "https://zoom.us/j/1", "topic": spec.title, "duration": 30}
    before = json.dumps({**stands, "start_time": "soon", "timezone": "Mars/Olympus"})
    after = json.dumps({**stands, "start_time": right, "timezone": "UTC"})
    async with RawServer(http(200, before), http(204, ""), http(200, after)) as server:
        client = Http(server.url)
        await Zoom(ZoomSettings.model_validate(OWN), client).update(Meeting("1", ""), spec)
        sent = json.loads(server.requests[1].partition(b"\r\n\r\n")[2])
        assert sent == {"start_time": right, "timezone": "UTC"}
        await client.close()


async def test_a_list_that_is_none_is_tried_again() -> None:
    async with RawServer(http(200, '{"meetings": 7}')) as server:
        client = Http(server.url)
        with pytest.raises(TemporaryError, match="no list of meetings"):
            await Zoom(ZoomSettings.model_validate(OWN), client).find(a_spec())
        await client.close()
