"""The fake Zoom itself: what it promises to tests beyond what the adapter's tests show."""

import asyncio
import base64
import hashlib
import re
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from providers.zoom_webhook import parse, verify
from tests.fakes.zoom_server import ZoomServer
from tests.providers.zooming import ANNA
from tests.servers import RawServer, http
from tests.waiting import wait_until

BACK = "http://127.0.0.1:1/connect/zoom/callback"
VERIFIER = "a-verifier-of-at-least-forty-three-characters-0123"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
QUERY = {
    "response_type": "code",
    "client_id": "user-app",
    "redirect_uri": BACK,
    "state": "a-state",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}
CLIENT = httpx.BasicAuth("user-app", "user-secret")


async def consent(zoom: ZoomServer, decision: str = "allow", **query: str) -> dict[str, list[str]]:
    """Read the page, press a button, and answer what the app gets."""
    page = await zoom.request("GET", "/oauth/authorize", params={**QUERY, **query})
    assert page.status_code == 200, page.text
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text))
    choices = {email: id_ for id_, email in re.findall(r'<option value="(\w+)">([^<]+)</option>', page.text)}
    clicked = {**form, "user": choices[ANNA], "decision": decision}
    answer = await zoom.request("POST", "/oauth/authorize", data=clicked)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith(BACK)
    return parse_qs(urlsplit(answer.headers["location"]).query)


async def token(zoom: ZoomServer, form: dict[str, str], auth: Any = CLIENT, **more: Any) -> httpx.Response:
    return await zoom.request("POST", "/oauth/token", data=form, auth=auth, **more)


async def exchange(zoom: ZoomServer, code: str, **changes: str) -> httpx.Response:
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER}
    return await token(zoom, {**form, **changes})


async def refresh(zoom: ZoomServer, refresh_token: str) -> httpx.Response:
    return await token(zoom, {"grant_type": "refresh_token", "refresh_token": refresh_token})


async def probe(zoom: ZoomServer, access_token: str) -> int:
    headers = {"authorization": f"Bearer {access_token}"}
    return (await zoom.request("GET", "/v2/users/me", headers=headers)).status_code


class TestConsent:
    """The page a person sees."""

    async def test_a_code_is_good_once_and_brings_both_tokens(self, zoom: ZoomServer) -> None:
        back = await consent(zoom)
        assert back["state"] == ["a-state"]
        answer = (await exchange(zoom, back["code"][0])).json()
        assert answer["token_type"] == "bearer"
        assert (answer["expires_in"], answer["api_url"]) == (3599, zoom.url)
        assert await probe(zoom, answer["access_token"]) == 200
        again = await exchange(zoom, back["code"][0])
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")

    async def test_a_person_may_say_no(self, zoom: ZoomServer) -> None:
        assert await consent(zoom, "deny") == {"error": ["access_denied"], "state": ["a-state"]}

    @pytest.mark.parametrize(
        "changes", [{"redirect_uri": BACK + "/"}, {"code_verifier": "wrong"}, {"code_verifier": ""}, {"junk": "1"}]
    )
    async def test_a_code_is_for_one_address_and_one_verifier(self, zoom: ZoomServer, changes: dict[str, str]) -> None:
        code = (await consent(zoom))["code"][0]
        assert (await exchange(zoom, code, **changes)).status_code == 400

    async def test_a_code_lives_five_minutes(self, zoom: ZoomServer) -> None:
        code = (await consent(zoom))["code"][0]
        await zoom.control("POST", "clock", {"advance": 301})
        assert (await exchange(zoom, code)).json()["error"] == "invalid_grant"

    @pytest.mark.parametrize(
        "changes",
        [
            {"scope": "meeting:write"},
            {"client_id": "unknown"},
            {"client_id": "s2s-app"},
            {"response_type": "token"},
            {"redirect_uri": "https://elsewhere.example/back"},
            {"code_challenge_method": "S512"},
        ],
    )
    async def test_a_wrong_request_leads_nowhere(self, zoom: ZoomServer, changes: dict[str, str]) -> None:
        answer = await zoom.request("GET", "/oauth/authorize", params={**QUERY, **changes})
        assert answer.status_code == 400
        assert (await zoom.state())["junk"] != []

    async def test_an_app_with_addresses_sends_people_to_those_alone(self, zoom: ZoomServer) -> None:
        await zoom.control("PUT", "apps", {"client_id": "user-app", "redirect_uris": ["https://app.example/back"]})
        assert (await zoom.request("GET", "/oauth/authorize", params=QUERY)).status_code == 400

    async def test_an_account_may_want_its_admins_approval(self, zoom: ZoomServer) -> None:
        user = await zoom.user(needs_approval=True)
        clicked = {**QUERY, "user": user["id"], "decision": "allow"}
        answer = await zoom.request("POST", "/oauth/authorize", data=clicked)
        assert answer.status_code == 403


class TestTokens:
    """Rotation, re-authorisation, revocation, and an app's own tokens."""

    async def test_a_refresh_ends_both_tokens_before_it(self, zoom: ZoomServer) -> None:
        first = (await exchange(zoom, (await consent(zoom))["code"][0])).json()
        second = (await refresh(zoom, first["refresh_token"])).json()
        assert await probe(zoom, first["access_token"]) == 401
        assert await probe(zoom, second["access_token"]) == 200
        lost = await refresh(zoom, first["refresh_token"])
        assert (lost.status_code, lost.json()) == (400, {"reason": "Invalid Token!", "error": "invalid_grant"})
        uses = {each["token"]: each["uses"] for each in (await zoom.state())["refresh_tokens"]}
        assert (uses[first["refresh_token"]], uses[second["refresh_token"]]) == (2, 0)

    async def test_authorising_again_ends_the_grant_before(self, zoom: ZoomServer) -> None:
        first = (await exchange(zoom, (await consent(zoom))["code"][0])).json()
        second = (await exchange(zoom, (await consent(zoom))["code"][0])).json()
        assert (await refresh(zoom, first["refresh_token"])).json()["error"] == "invalid_grant"
        assert await probe(zoom, second["access_token"]) == 200

    async def test_revoking_ends_the_grant(self, zoom: ZoomServer) -> None:
        pair = (await exchange(zoom, (await consent(zoom))["code"][0])).json()
        data = {"token": pair["access_token"]}
        answer = await zoom.request("POST", "/oauth/revoke", data=data, auth=CLIENT)
        assert answer.json() == {"status": "success"}
        assert await probe(zoom, pair["access_token"]) == 401
        assert (await refresh(zoom, pair["refresh_token"])).status_code == 400

    async def test_an_apps_own_tokens_are_many_and_cannot_be_refreshed(self, zoom: ZoomServer) -> None:
        form = {"grant_type": "account_credentials", "account_id": "account-1"}
        auth = httpx.BasicAuth("s2s-app", "s2s-secret")
        answers = [(await token(zoom, form, auth)).json() for _ in range(2)]
        assert all("refresh_token" not in answer for answer in answers)
        for answer in answers:
            headers = {"authorization": f"Bearer {answer['access_token']}"}
            assert (await zoom.request("GET", "/v2/users", headers=headers)).status_code == 200
            assert (await zoom.request("GET", "/v2/users/me", headers=headers)).json()["code"] == 1001
        wrong = await token(zoom, {**form, "account_id": "account-2"}, auth)
        assert wrong.json()["error"] == "invalid_request"

    @pytest.mark.parametrize("auth", [None, httpx.BasicAuth("user-app", "wrong"), httpx.BasicAuth("who", "what")])
    async def test_a_client_that_is_not_known_is_the_operators_problem(self, zoom: ZoomServer, auth: Any) -> None:
        answer = await token(zoom, {"grant_type": "refresh_token", "refresh_token": "x"}, auth)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")

    async def test_nothing_may_stand_in_the_query(self, zoom: ZoomServer) -> None:
        answer = await token(zoom, {}, params={"grant_type": "refresh_token", "refresh_token": "x"})
        assert answer.json()["error"] == "invalid_request"
        access = await zoom.token()
        query = await zoom.request("GET", "/v2/users/me", params={"access_token": access})
        assert (query.status_code, query.json()["code"]) == (401, 124)


class TestApi:
    """Strictness, and limits."""

    @staticmethod
    async def call(zoom: ZoomServer, method: str, path: str, app: str = "user-app", **more: Any) -> httpx.Response:
        access = await zoom.token(app, None if app == "s2s-app" else ANNA)
        headers = {"authorization": f"Bearer {access}"}
        return await zoom.request(method, f"/v2{path}", headers=headers, **more)

    @pytest.mark.parametrize(
        "body",
        [
            {"surprise": 1},
            {"topic": "x" * 201},
            {"type": 4},
            {"type": "2"},
            {"start_time": "2030-01-01 10:00"},
            {"start_time": "2030-13-01T10:00:00Z"},
            {"timezone": "Mars/Olympus"},
            {"duration": 0},
            {"duration": 1441},
            {"duration": 1.5},
            {"agenda": "x" * 2001},
            {"password": "12345678901"},
            {"password": "ä"},
            {"settings": {"surprise": True}},
            {"settings": {"jbh_time": 7}},
            {"settings": {"waiting_room": "true"}},
            {"settings": {"auto_recording": "disk"}},
            {"settings": {"alternative_hosts": "nobody@example.org"}},
        ],
        ids=str,
    )
    async def test_a_wrong_field_is_refused_by_name(self, zoom: ZoomServer, body: dict[str, Any]) -> None:
        answer = await self.call(zoom, "POST", "/users/me/meetings", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, 300)
        assert next(iter(body)) in str(answer.json()["errors"])
        assert await zoom.meetings() == []

    @pytest.mark.parametrize("query", [{"page_size": "301"}, {"type": "all"}, {"junk": "1"}, {"from": "soon"}])
    async def test_a_wrong_parameter_is_refused(self, zoom: ZoomServer, query: dict[str, str]) -> None:
        assert (await self.call(zoom, "GET", "/users/me/meetings", params=query)).status_code == 400

    async def test_one_persons_app_may_only_say_me(self, zoom: ZoomServer) -> None:
        answer = await self.call(zoom, "GET", f"/users/{ANNA}")
        assert (answer.status_code, answer.json()["code"]) == (400, 4711)

    async def test_a_page_token_lives_fifteen_minutes_and_is_for_one_question(self, zoom: ZoomServer) -> None:
        await zoom.control("POST", "fill", {"user": ANNA, "count": 3, "start": 4_000_000_000})
        first = (await self.call(zoom, "GET", "/users/me/meetings", params={"page_size": "2"})).json()
        more = {"page_size": "2", "next_page_token": first["next_page_token"]}
        rest = (await self.call(zoom, "GET", "/users/me/meetings", params=more)).json()
        assert (len(first["meetings"]), len(rest["meetings"]), rest["next_page_token"]) == (2, 1, "")
        other = {**more, "type": "upcoming"}
        assert (await self.call(zoom, "GET", "/users/me/meetings", params=other)).status_code == 400
        await zoom.control("POST", "clock", {"advance": 901})
        assert (await self.call(zoom, "GET", "/users/me/meetings", params=more)).status_code == 400

    async def test_a_list_shows_250_characters_of_an_agenda_and_no_settings(self, zoom: ZoomServer) -> None:
        body = {"agenda": "x" * 300, "start_time": "2090-01-01T00:00:00Z"}
        await self.call(zoom, "POST", "/users/me/meetings", json=body)
        (item,) = (await self.call(zoom, "GET", "/users/me/meetings")).json()["meetings"]
        assert item["agenda"] == "x" * 250
        assert not {"settings", "tracking_fields", "start_url", "password"} & set(item)

    async def test_the_limit_of_a_second_tells_itself_in_headers(self, zoom: ZoomServer) -> None:
        await zoom.control("PUT", "limits", {"plan": "free"})
        headers = {"authorization": f"Bearer {await zoom.token()}"}
        answers = await asyncio.gather(
            *[zoom.request("GET", "/v2/users/me/meetings", headers=headers) for _ in range(8)]
        )
        over = next(answer for answer in answers if answer.status_code == 429)
        assert (over.headers["x-ratelimit-type"], over.headers["x-ratelimit-limit"]) == ("QPS", "2")
        assert "retry-after" not in over.headers

    async def test_settings_of_a_user_say_what_the_account_forces(self, zoom: ZoomServer) -> None:
        await zoom.user(locked={"waiting_room": True}, use_pmi=True)
        found = (await self.call(zoom, "GET", "/users/me/settings")).json()
        assert found["in_meeting"]["waiting_room"]
        assert found["schedule_meeting"]["use_pmi_for_scheduled_meetings"]

    async def test_calls_are_kept_with_what_became_of_them(self, zoom: ZoomServer) -> None:
        await zoom.faults(only="create", lose_answers=1)
        with pytest.raises(httpx.RemoteProtocolError):
            await self.call(zoom, "POST", "/users/me/meetings", json={})
        (call,) = await zoom.calls("create")
        assert (call["outcome"], call["status"]) == ("lost", 201)
        assert len(await zoom.meetings()) == 1


class TestWebhooks:
    """Signed over the raw bytes, for our own calls too."""

    async def test_every_change_is_told_and_signed(self, zoom: ZoomServer) -> None:
        async with RawServer(http(204, "")) as app:
            await zoom.control("PUT", "apps", {"client_id": "user-app", "webhook_url": app.url})
            answer = await TestApi.call(zoom, "POST", "/users/me/meetings", json={})
            await zoom.control("POST", f"meetings/{answer.json()['id']}", {"topic": "Changed by hand"})
            await zoom.control("DELETE", f"meetings/{answer.json()['id']}")
            await wait_until(lambda: len(app.requests) == 3)
        for request in app.requests:
            head, _, body = request.partition(b"\r\n\r\n")
            headers = dict(line.split(": ") for line in head.decode().split("\r\n")[1:])
            verify(body, headers["x-zm-request-timestamp"], headers["x-zm-signature"], "webhook-secret", time.time())
            assert parse(body).meeting == str(answer.json()["id"])
        assert sorted(re.findall(rb"meeting\.\w+", b"".join(app.requests))) == [
            b"meeting.created",
            b"meeting.deleted",
            b"meeting.updated",
        ]

    async def test_a_removed_app_is_told_who_left(self, zoom: ZoomServer) -> None:
        await zoom.token()
        async with RawServer(http(204, "")) as app:
            await zoom.control("PUT", "apps", {"client_id": "user-app", "webhook_url": app.url})
            removed = {"client_id": "user-app", "user": ANNA, "webhook": True}
            assert (await zoom.control("POST", "revoke", removed))["status"] == 204
        assert b"app_deauthorized" in app.requests[0]

    async def test_an_app_that_does_not_answer_is_noted(self, zoom: ZoomServer) -> None:
        await zoom.control("PUT", "apps", {"client_id": "user-app", "webhook_url": "http://127.0.0.1:1"})
        sent = {"client_id": "user-app", "event": "endpoint.url_validation", "payload": {"plainToken": "x"}}
        assert (await zoom.control("POST", "webhooks", sent))["status"] == 0
