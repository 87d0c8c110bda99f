"""Systems of one's own that take signed calls: the laws with what each may promise, and what is read of answers."""

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from providers.base import (
    Meeting,
    MeetingNotFound,
    OutcomeUnknown,
    PermanentError,
    ProviderError,
    ReconnectRequired,
    TemporaryError,
)
from providers.http import Http
from providers.http_provider import PROVIDER, Capability, HttpProvider, HttpProviderSettings
from providers.testing import VendorLaws, a_spec, link_of
from tests.fakes.own_system import OwnSystem, refusal
from tests.servers import Misbehaviour, RawServer, http

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "B" * 43 + "="
USUAL: tuple[Capability, ...] = ("keeps_link", "enforces_teardown", "opens_in_browser")


class HttpLaws(VendorLaws):
    """The laws for a system that promises this."""

    info = PROVIDER
    promised: tuple[str, ...] = USUAL

    @pytest.fixture
    async def vendor(self) -> AsyncIterator[OwnSystem]:
        async with OwnSystem(SECRET, self.promised) as system:
            yield system
        assert system.refused == []

    @pytest.fixture
    def settings(self, vendor: OwnSystem) -> HttpProviderSettings:
        return HttpProviderSettings.model_validate({"url": vendor.url, "secret": SECRET, "capabilities": self.promised})

    @pytest.fixture
    async def provider(self, settings: HttpProviderSettings) -> AsyncIterator[HttpProvider]:
        client = Http()
        yield HttpProvider(settings, client)
        await client.close()


class TestUsual(HttpLaws):
    """A system whose meetings have one link for all."""


class TestMinting(HttpLaws):
    """A system that makes every link at the click."""

    promised = (*USUAL, "mints_link", "enforces_window")


class TestHostLinks(HttpLaws):
    """A system whose hosts have links of their own."""

    promised = (*USUAL, "host_links")

    async def test_a_host_gets_a_link_of_their_own_a_guest_the_meetings(self, provider: HttpProvider) -> None:
        spec = a_spec()
        meeting = await provider.create(spec)
        assert await link_of(provider, meeting, spec, "guest") == meeting.join_url
        assert (await link_of(provider, meeting, spec, "host")).startswith(f"{meeting.join_url}?host=")


@pytest.fixture
async def system() -> AsyncIterator[OwnSystem]:
    """A system of somebody's own."""
    async with OwnSystem(SECRET, USUAL) as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[Http]:
    """What sends."""
    http = Http()
    yield http
    await http.close()


def at(url: str, client: Http, secret: str = SECRET, **more: Any) -> HttpProvider:
    """An adapter for a system at this address."""
    return HttpProvider(
        HttpProviderSettings(url=url, secret=SecretStr(secret), **{"capabilities": USUAL, **more}), client
    )


class TestCalls:
    """What is sent."""

    async def test_the_system_holds_all_that_was_said_and_nothing_else(self, system: OwnSystem, client: Http) -> None:
        spec = a_spec(time_zone="Europe/Helsinki", host="room-7", title="x" * 300, options={"opens_before": 5})
        provider = at(system.url, client, capabilities=(*USUAL, "opens_early"))
        meeting = await provider.create(spec)
        moved = replace(spec, start=spec.start + 60, duration=90)
        await provider.update(meeting, moved)
        assert meeting.host == "room-7"
        assert system.held(spec) == [
            {
                "id": meeting.id,
                "join_url": meeting.join_url,
                "key": spec.key,
                "generation": 0,
                "title": "x" * 200,
                "start": spec.start + 60,
                "duration": 90,
                "time_zone": "Europe/Helsinki",
                "host": "room-7",
                "opens_before": 5,
            }
        ]
        assert [call.type for call in system.calls] == ["meeting.create", "meeting.update"]

    async def test_a_call_sent_again_keeps_its_id_and_another_call_has_another(
        self, system: OwnSystem, client: Http
    ) -> None:
        provider = at(system.url, client)
        meeting = await provider.create(a_spec())
        system.lose = 1
        await provider.delete(meeting)
        created, deleted, again = system.ids
        assert deleted == again != created
        assert [call.type for call in system.calls] == ["meeting.create", "meeting.delete"], "it was carried out once"

    async def test_the_signature_is_the_one_of_the_specification(self, client: Http) -> None:
        async with RawServer(http(200, '{"meeting": null}')) as server:
            assert await at(server.url, client).find(a_spec()) is None
            head, _, body = server.requests[0].partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:])
        signed = next(line for line in head.decode().split("\r\n") if line.lower().startswith("webhook-signature"))
        headers["webhook-signature"] = signed.split(": ", 1)[1]
        assert Webhook(SECRET).verify(body.decode(), headers)["type"] == "meeting.find"
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60

    async def test_another_secret_asks_for_a_reconnect(self, system: OwnSystem, client: Http) -> None:
        with pytest.raises(ReconnectRequired, match="enter the secret"):
            await at(system.url, client, OTHER).probe()

    async def test_a_wrong_clock_is_no_dead_account(
        self, system: OwnSystem, client: Http, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = time.time()
        monkeypatch.setattr("providers.http_provider.time.time", lambda: now - 3600)
        with pytest.raises(TemporaryError, match="clock"):
            await at(system.url, client).probe()
        assert system.calls == []

    async def test_a_slow_answer_of_a_create_is_one_that_may_have_happened(self) -> None:
        hasty = Http(read=0.5)
        async with RawServer(Misbehaviour.HANG) as server:
            with pytest.raises(OutcomeUnknown):
                await at(server.url, hasty).create(a_spec())
        await hasty.close()


class TestAnswers:
    """What is read of an answer, and what is not."""

    @pytest.mark.parametrize(
        "meeting",
        [
            None,
            "text",
            {},
            {"id": "1"},
            {"id": 1, "join_url": "https://example.org/1"},
            {"id": "", "join_url": "https://example.org/1"},
            {"id": "a b", "join_url": "https://example.org/1"},
            {"id": "1", "join_url": "http://example.org/1"},
            {"id": "1", "join_url": "https://me:pw@example.org/1"},
            {"id": "1", "join_url": "javascript:alert(1)"},
            {"id": "1", "join_url": "https://example.org/" + "x" * 3000},
            {"id": "1", "join_url": "https://example.org/1", "host": 7},
            {"id": "1", "join_url": "https://example.org/1", "warnings": "one"},
        ],
        ids=lambda value: repr(value)[:60],
    )
    async def test_a_meeting_that_makes_no_sense_is_none(self, system: OwnSystem, client: Http, meeting: Any) -> None:
        system.shape = {"meeting": meeting}
        with pytest.raises(OutcomeUnknown, match="does not fit the protocol"):
            await at(system.url, client).create(a_spec())

    async def test_fields_that_are_not_known_are_passed_over(self, system: OwnSystem, client: Http) -> None:
        link = "https://example.org/1"
        system.shape = {"meeting": {"id": "1", "join_url": link, "colour": "red", "warnings": ["Small room"]}, "x": 1}
        meeting = await at(system.url, client).create(a_spec())
        assert (meeting, meeting.warnings) == (Meeting("1", link), ("Small room.",))

    async def test_an_update_that_answers_another_meeting_is_no_update(self, system: OwnSystem, client: Http) -> None:
        provider, spec = at(system.url, client), a_spec()
        meeting = await provider.create(spec)
        system.shape = {"meeting": {"id": "other", "join_url": "https://example.org/1"}}
        with pytest.raises(TemporaryError, match="another meeting"):
            await provider.update(meeting, spec)

    async def test_a_removal_is_believed_only_when_it_is_said(self, client: Http) -> None:
        async with RawServer(http(200, "<!doctype html>Welcome")) as server:
            with pytest.raises(TemporaryError):
                await at(server.url, client).delete(Meeting("1", "https://example.org/1"))

    @pytest.mark.parametrize(
        ("declared", "longest", "named"),
        [
            (["keeps_link"], None, "enforces_teardown"),
            ([*USUAL, "mints_link"], 60, "mints_link, max_duration"),
        ],
        ids=["less", "more"],
    )
    async def test_a_probe_names_the_promises_that_differ(
        self, system: OwnSystem, client: Http, declared: list[str], longest: int | None, named: str
    ) -> None:
        system.capabilities, system.max_duration = declared, longest
        with pytest.raises(PermanentError, match=named) as caught:
            await at(system.url, client).probe()
        assert caught.value.who_can_fix == "admin"

    @pytest.mark.parametrize("field", [{"max_duration": "60"}, {"capabilities": ["flies"]}, {"name": ""}], ids=str)
    async def test_a_declaration_that_makes_no_sense_is_none(
        self, system: OwnSystem, client: Http, field: dict[str, Any]
    ) -> None:
        system.shape = {"name": "Rooms", "capabilities": list(USUAL), **field}
        with pytest.raises(TemporaryError, match=f"fit the protocol at {next(iter(field))}"):
            await at(system.url, client, max_duration=60 if "max_duration" in field else None).probe()

    async def test_a_probe_says_who_answers(self, system: OwnSystem, client: Http) -> None:
        assert await at(system.url, client).probe() == "Rooms of our own answers."


class TestErrors:
    """The table in docs/http-provider.md."""

    @pytest.mark.parametrize(
        ("status", "code", "error"),
        [
            (404, "meeting_not_found", MeetingNotFound),
            (404, "other", PermanentError),
            (401, "bad_signature", ReconnectRequired),
            (401, "bad_timestamp", TemporaryError),
            (429, "slower", TemporaryError),
            (425, "early", TemporaryError),
            (503, "unavailable", TemporaryError),
            (503, "other", OutcomeUnknown),
            (500, "broken", OutcomeUnknown),
            (408, "slow", OutcomeUnknown),
            (400, "invalid", PermanentError),
            (403, "forbidden", PermanentError),
            (409, "burnt", PermanentError),
            (422, "invalid", PermanentError),
        ],
    )
    async def test_status_and_code_say_together_what_is_meant(
        self, system: OwnSystem, client: Http, status: int, code: str, error: type[ProviderError]
    ) -> None:
        system.next = [refusal(status, code)]
        with pytest.raises(error) as caught:
            await at(system.url, client).create(a_spec())
        assert type(caught.value) is error
        assert system.calls == []

    @pytest.mark.parametrize("who", ["admin", "operator", "developer"])
    async def test_a_refusal_says_what_the_system_says_and_who_can_fix_it(
        self, system: OwnSystem, client: Http, who: str
    ) -> None:
        system.next = [refusal(422, "full", "All rooms are taken", who_can_fix=who)]
        with pytest.raises(PermanentError, match="refuses the call: All rooms are taken\\.") as caught:
            await at(system.url, client).create(a_spec())
        assert caught.value.who_can_fix == who

    @pytest.mark.parametrize("message", ["See https://example.org/x?pw=1", f"Not {SECRET}", "\x00\x01", ""], ids=ascii)
    async def test_words_that_may_hold_a_secret_are_not_repeated(
        self, system: OwnSystem, client: Http, message: str
    ) -> None:
        system.next = [refusal(422, "full", message)]
        with pytest.raises(PermanentError) as caught:
            await at(system.url, client).create(a_spec())
        assert caught.value.text == "127.0.0.1 refuses the call: status 422, 'full'."

    @pytest.mark.parametrize(("said", "waited"), [(2.5, 2.5), (10**9, 86_400.0)])
    async def test_the_systems_time_is_honoured_within_reason(
        self, system: OwnSystem, client: Http, said: float, waited: float
    ) -> None:
        system.next = [refusal(503, "unavailable", retry_after=said)]
        with pytest.raises(TemporaryError) as caught:
            await at(system.url, client).create(a_spec())
        assert caught.value.retry_after == waited

    @pytest.mark.parametrize("body", ["<h1>No</h1>", "[]", '{"error": "no"}', '{"error": {"code": 7}}'])
    async def test_a_404_that_is_not_of_the_protocol_is_no_meeting_that_is_gone(self, client: Http, body: str) -> None:
        async with RawServer(http(404, body)) as server:
            with pytest.raises(PermanentError):
                await at(server.url, client).delete(Meeting("1", "https://example.org/1"))


class TestSettings:
    """What can be entered."""

    @pytest.mark.parametrize(
        "url",
        [
            "http://example.org",
            "ftp://example.org",
            "https://me@example.org",
            "https://example.org/?a=b",
            "https://example.org/#a",
            "example.org",
            "https://exa mple.org",
            "https://example.org:x",
            "https://",
        ],
    )
    def test_an_address_that_is_none_is_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match="address must begin with https"):
            HttpProviderSettings(url=url, secret=SecretStr(SECRET))

    @pytest.mark.parametrize("secret", ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_c2hvcnQ=", "whsec_*", "whsec_ä"])
    def test_a_secret_that_is_none_is_refused_unseen(self, secret: str) -> None:
        with pytest.raises(ValueError, match="secret must be whsec_") as caught:
            HttpProviderSettings(url="https://example.org", secret=SecretStr(secret))
        assert not secret or f"'{secret}'" not in str(caught.value)

    def test_a_promise_nobody_knows_is_refused(self) -> None:
        with pytest.raises(ValueError, match="capabilities"):
            HttpProviderSettings.model_validate(
                {"url": "https://example.org", "secret": SECRET, "capabilities": ["flies"]}
            )
