"""The reference provider against the reference server, each in a process of its own."""

import time
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from providers.base import Meeting, MeetingSpec, PermanentError, ReconnectRequired, TemporaryError
from providers.http import Http
from providers.memory import PROVIDER, Memory, MemorySettings
from providers.testing import ListingLaws, a_spec
from tests.servers import MemoryServer

TOKEN = "a-token-for-the-reference-server"


@pytest.fixture(scope="module")
def process() -> Iterator[MemoryServer]:
    """One reference server for all tests here."""
    with MemoryServer(TOKEN) as server:
        yield server


@pytest.fixture
async def server(process: MemoryServer) -> MemoryServer:
    """The reference server, empty."""
    await process.reset()
    return process


@pytest.fixture
def settings(server: MemoryServer) -> MemorySettings:
    """A connection to the server."""
    return MemorySettings.model_validate({"url": server.url, "token": TOKEN})


@pytest.fixture
async def provider(settings: MemorySettings) -> AsyncIterator[Memory]:
    """The adapter under test."""
    http = Http()
    yield Memory(settings, http)
    await http.close()


class MemoryVendor:
    """The reference server as the laws need it."""

    def __init__(self, server: MemoryServer) -> None:
        self.server = server

    async def meetings(self, spec: MeetingSpec) -> Sequence[str]:
        wanted = (spec.key, spec.generation)
        return [m["id"] for m in await self.server.meetings() if (m["key"], m["generation"]) == wanted]

    async def vanish(self, meeting: Meeting) -> None:
        answer = await self.server.request("DELETE", f"/meetings/{meeting.id}")
        assert answer.status_code == 204

    async def opens(self, join_url: str) -> bool:
        return (await self.server.request("GET", join_url, headers={})).status_code == 200

    async def lose_next_answer(self) -> None:
        await self.server.faults(lose_answers=1)

    async def fail_next(self, status: int, retry_after: int | None = None, times: int = 1) -> None:
        await self.server.faults(fail=[{"status": status, "times": times, "retry_after": retry_after}])


class TestMemory(ListingLaws):
    """The laws, and what only the reference server does."""

    info = PROVIDER

    @pytest.fixture
    def vendor(self, server: MemoryServer) -> MemoryVendor:
        return MemoryVendor(server)

    async def test_the_server_holds_what_was_asked_for(self, provider: Memory, server: MemoryServer) -> None:
        spec = a_spec(time_zone="Europe/Helsinki", host="doctor@example.org", owner="0a1b2c3d")
        meeting = await provider.create(spec)
        (held,) = await server.meetings()
        assert held.pop("made_at") <= time.time()
        assert held == {
            "id": meeting.id,
            "join_url": meeting.join_url,
            "key": spec.key,
            "generation": 0,
            "owner": "0a1b2c3d",
            "title": spec.title,
            "start": spec.start,
            "duration": spec.duration,
            "time_zone": "Europe/Helsinki",
            "host": "doctor@example.org",
        }

    async def test_a_moved_meeting_has_its_new_time(self, provider: Memory, server: MemoryServer) -> None:
        spec = a_spec()
        await provider.update(await provider.create(spec), a_spec(start=spec.start + 60, duration=60))
        (held,) = await server.meetings()
        assert (held["start"], held["duration"], held["key"]) == (spec.start + 60, 60, spec.key)

    async def test_a_removed_generation_is_burnt(self, provider: Memory) -> None:
        spec = a_spec()
        await provider.delete(await provider.create(spec))
        with pytest.raises(PermanentError) as caught:
            await provider.create(spec)
        assert caught.value.who_can_fix == "developer"
        assert await provider.find(spec) is None

    async def test_a_field_the_server_refuses_is_a_developers_matter(self, provider: Memory) -> None:
        with pytest.raises(PermanentError) as caught:
            await provider.create(a_spec(duration=0))
        assert caught.value.who_can_fix == "developer"

    async def test_a_title_longer_than_the_server_takes_is_cut(self, provider: Memory, server: MemoryServer) -> None:
        await provider.create(a_spec(title="x" * 500))
        assert (await server.meetings())[0]["title"] == "x" * 200

    async def test_a_wrong_token_needs_a_reconnect(self, server: MemoryServer) -> None:
        http = Http()
        stranger = Memory(MemorySettings.model_validate({"url": server.url, "token": "wrong"}), http)
        with pytest.raises(ReconnectRequired):
            await stranger.probe()
        await http.close()

    async def test_an_address_that_is_not_the_servers_is_no_meeting_that_is_gone(self, server: MemoryServer) -> None:
        http = Http()
        lost = Memory(MemorySettings.model_validate({"url": f"{server.url}/elsewhere", "token": TOKEN}), http)
        with pytest.raises(TemporaryError):
            await lost.update(Meeting(id="x", join_url="https://example.org/x"), a_spec())
        await http.close()

    @pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:9009", "http://me@127.0.0.1", "http://h/?a=b"])
    def test_an_address_that_is_none_is_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match="url must"):
            MemorySettings(url=url)

    def test_a_token_that_fits_no_header_is_refused_unseen(self) -> None:
        with pytest.raises(ValueError, match="printable") as caught:
            MemorySettings.model_validate({"url": "http://127.0.0.1", "token": "two\nlines"})
        assert "two" not in str(caught.value)


NEW = {
    "key": "0" * 32,
    "generation": 0,
    "title": "T",
    "start": 1,
    "duration": 60,
    "time_zone": "UTC",
    "host": None,
}


class TestServer:
    """What the server says to callers other than the adapter."""

    @pytest.mark.parametrize(
        "wrong",
        [
            {"key": "short"},
            {"generation": -1},
            {"generation": True},
            {"title": ""},
            {"title": 7},
            {"start": "1"},
            {"start": 1.5},
            {"start": 10**12},
            {"duration": 0},
            {"time_zone": "Mars/Olympus"},
            {"time_zone": "../etc"},
            {"host": 5},
            {"surprise": 1},
        ],
        ids=str,
    )
    async def test_a_wrong_field_is_refused_by_name(self, server: MemoryServer, wrong: dict[str, object]) -> None:
        answer = await server.request("POST", "/meetings", json={**NEW, **wrong})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
        assert next(iter(wrong)) in answer.json()["message"]
        assert await server.meetings() == []

    async def test_a_missing_field_is_refused(self, server: MemoryServer) -> None:
        answer = await server.request("POST", "/meetings", json={"key": "0" * 32})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")

    async def test_a_meetings_key_cannot_be_changed(self, server: MemoryServer) -> None:
        made = (await server.request("POST", "/meetings", json=NEW)).json()
        answer = await server.request("PATCH", f"/meetings/{made['id']}", json={"key": "1" * 32})
        assert answer.status_code == 400
        assert (await server.meetings())[0]["key"] == "0" * 32

    async def test_nobody_gets_past_the_token_but_to_the_meeting(self, server: MemoryServer) -> None:
        made = (await server.request("POST", "/meetings", json=NEW)).json()
        for method, path in [("GET", "/meetings"), ("GET", "/calls"), ("PUT", "/faults"), ("POST", "/reset")]:
            answer = await server.request(method, path, headers={"authorization": "Bearer wrong"})
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert (await server.request("GET", made["join_url"], headers={})).status_code == 200

    async def test_the_page_greets_shows_markup_as_text_and_tells_gone_from_unknown(self, server: MemoryServer) -> None:
        made = (await server.request("POST", "/meetings", json={**NEW, "title": "<b>Hi</b>"})).json()
        page = await server.request("GET", made["join_url"], headers={})
        assert "You are in the meeting “&lt;b&gt;Hi&lt;/b&gt;”" in page.text
        await server.request("DELETE", f"/meetings/{made['id']}")
        assert (await server.request("GET", made["join_url"], headers={})).status_code == 410
        assert (await server.request("GET", "/join/unknown", headers={})).status_code == 404

    async def test_faults_strike_only_the_verb_they_name(self, server: MemoryServer) -> None:
        await server.faults(fail=[{"status": 503}], only="delete")
        made = await server.request("POST", "/meetings", json=NEW)
        assert made.status_code == 201
        path = f"/meetings/{made.json()['id']}"
        assert (await server.request("DELETE", path)).status_code == 503
        assert (await server.request("DELETE", path)).status_code == 204

    async def test_every_call_is_logged_with_what_became_of_it(self, server: MemoryServer) -> None:
        made = (await server.request("POST", "/meetings", json=NEW)).json()
        await server.request("POST", "/meetings", json=NEW)
        await server.request("DELETE", f"/meetings/{made['id']}")
        await server.request("DELETE", f"/meetings/{made['id']}")
        assert [call["outcome"] for call in await server.calls()] == ["created", "existed", "deleted", "gone"]
        assert (await server.calls("create"))[0] == {
            "method": "POST",
            "verb": "create",
            "key": "0" * 32,
            "generation": 0,
            "outcome": "created",
        }

    async def test_an_unknown_fault_is_refused(self, server: MemoryServer) -> None:
        assert (await server.request("PUT", "/faults", json={"dely": 1})).status_code == 400
