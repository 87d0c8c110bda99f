"""The fake Google's OAuth: consent, tokens that do not rotate and how they die, revocation, delegation."""

import base64
import hashlib
import html
import re
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest

from tests.fakes.google_server import GoogleServer
from tests.fakes.google_state import public_pem

AUTH = "https://www.googleapis.com/auth/"
MEET, EVENTS = f"{AUTH}meetings.space.created", f"{AUTH}calendar.events.owned"
ANNA, BEN, CARLA = "anna@example.org", "ben@example.org", "carla@example.com"
ROBOT = "robot@project-1.iam.gserviceaccount.com"
BACK = "http://127.0.0.1:1/connect/google/callback"
VERIFIER = "a-verifier-of-at-least-forty-three-characters-0123"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
QUERY = {
    "response_type": "code",
    "client_id": "user-app",
    "redirect_uri": BACK,
    "scope": f"openid email {MEET} {EVENTS}",
    "state": "a-state",
    "access_type": "offline",
    "prompt": "consent",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}
SECRET = {"client_id": "user-app", "client_secret": "user-secret"}
DEAD = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
DAY = 86_400


async def click(
    google: GoogleServer, who: str = ANNA, decision: str = "allow", untick: str = "", **query: str | None
) -> httpx.Response:
    """Read the page, untick what is not to be granted, press a button."""
    asked = {name: value for name, value in {**QUERY, **query}.items() if value is not None}
    page = await google.request("GET", "/o/oauth2/v2/auth", params=asked)
    assert page.status_code == 200, page.text
    form: dict[str, Any] = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page.text))
    form = {name: html.unescape(value) for name, value in form.items()}
    people = {email: id_ for id_, email in re.findall(r'<option value="(\w+)"[^>]*>([^<]+)</option>', page.text)}
    boxes = re.findall(r'name="granted" value="([^"]*)"', page.text)
    form |= {"user": people[who], "decision": decision, "granted": [box for box in boxes if box != untick]}
    return await google.request("POST", "/o/oauth2/v2/auth", data=form)


async def consent(google: GoogleServer, who: str = ANNA, **more: Any) -> dict[str, list[str]]:
    """What the app gets back."""
    answer = await click(google, who, **more)
    assert answer.status_code == 302, answer.text
    assert answer.headers["location"].startswith(BACK)
    return parse_qs(urlsplit(answer.headers["location"]).query)


async def token(google: GoogleServer, **form: str) -> httpx.Response:
    return await google.request("POST", "/token", data=form)


async def exchange(google: GoogleServer, code: str, **changes: str) -> httpx.Response:
    form = {**SECRET, "grant_type": "authorization_code", "code": code, "redirect_uri": BACK}
    return await token(google, **{**form, "code_verifier": VERIFIER, **changes})


async def connect(google: GoogleServer, who: str = ANNA, client: str = "user", **more: Any) -> dict[str, Any]:
    """A whole connection: consent and exchange."""
    app = {"client_id": f"{client}-app", "client_secret": f"{client}-secret"}
    code = (await consent(google, who, client_id=app["client_id"], **more))["code"][0]
    answer = await exchange(google, code, **app)
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


async def refresh(google: GoogleServer, refresh_token: str, client: str = "user") -> httpx.Response:
    app = {"client_id": f"{client}-app", "client_secret": f"{client}-secret"}
    return await token(google, grant_type="refresh_token", refresh_token=refresh_token, **app)


async def about(google: GoogleServer, access_token: str, path: str = "/v1/userinfo") -> httpx.Response:
    return await google.request("GET", path, headers={"authorization": f"Bearer {access_token}"})


class TestConsent:
    """The pages a person sees."""

    async def test_a_code_is_good_once_and_brings_both_tokens(self, google: GoogleServer) -> None:
        back = await consent(google)
        assert back["state"] == ["a-state"]
        answer = (await exchange(google, back["code"][0])).json()
        assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 3599)
        assert (await about(google, answer["access_token"])).json()["email"] == ANNA
        again = await exchange(google, back["code"][0])
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
        assert (await google.state())["junk"] == []

    async def test_scopes_are_named_in_full_in_the_answer(self, google: GoogleServer) -> None:
        granted = (await connect(google))["scope"].split()
        assert set(granted) == {"openid", f"{AUTH}userinfo.email", MEET, EVENTS}

    async def test_a_person_may_untick_a_scope(self, google: GoogleServer) -> None:
        tokens = await connect(google, untick=EVENTS)
        assert EVENTS not in tokens["scope"]
        headers = {"authorization": f"Bearer {tokens['access_token']}"}
        answer = await google.request("GET", "/calendar/v3/calendars/primary/events", headers=headers)
        assert (answer.status_code, answer.json()["error"]["errors"][0]["reason"]) == (403, "insufficientPermissions")

    async def test_a_person_may_say_no(self, google: GoogleServer) -> None:
        assert await consent(google, decision="deny") == {"error": ["access_denied"], "state": ["a-state"]}

    async def test_a_second_authorisation_brings_no_refresh_token_unless_asked(self, google: GoogleServer) -> None:
        assert "refresh_token" in await connect(google, prompt=None)
        assert "refresh_token" not in await connect(google, prompt=None)
        assert "refresh_token" not in await connect(google, prompt="select_account")
        assert "refresh_token" in await connect(google, prompt="consent")

    async def test_without_offline_there_is_never_a_refresh_token(self, google: GoogleServer) -> None:
        assert "refresh_token" not in await connect(google, access_type=None)
        assert "refresh_token" not in await connect(google, access_type="online")

    async def test_a_removed_grant_makes_the_next_authorisation_the_first(self, google: GoogleServer) -> None:
        await connect(google, prompt=None)
        await google.control("POST", "revoke", {"client_id": "user-app", "user": ANNA})
        assert "refresh_token" in await connect(google, prompt=None)

    async def test_earlier_scopes_come_back_only_if_asked_for(self, google: GoogleServer) -> None:
        await connect(google)
        assert MEET not in (await connect(google, scope="openid"))["scope"]
        assert MEET in (await connect(google, scope="openid", include_granted_scopes="true"))["scope"]

    @pytest.mark.parametrize(
        "changes",
        [{"redirect_uri": BACK + "/"}, {"code_verifier": "wrong"}, {"code_verifier": ""}, {"junk": "1"}],
        ids=str,
    )
    async def test_a_code_is_for_one_address_and_one_verifier(
        self, google: GoogleServer, changes: dict[str, str]
    ) -> None:
        code = (await consent(google))["code"][0]
        assert (await exchange(google, code, **changes)).status_code == 400
        assert (await exchange(google, code)).status_code == 200

    async def test_a_code_lives_ten_minutes(self, google: GoogleServer) -> None:
        code = (await consent(google))["code"][0]
        await google.forward(601)
        assert (await exchange(google, code)).json()["error"] == "invalid_grant"

    @pytest.mark.parametrize(
        "changes",
        [
            {"client_id": "unknown"},
            {"response_type": "token"},
            {"redirect_uri": "https://elsewhere.example/back"},
            {"scope": ""},
            {"scope": f"{AUTH}calendar.everything"},
            {"prompt": "always"},
            {"access_type": "forever"},
            {"code_challenge_method": "S512"},
            {"acess_type": "offline"},
        ],
        ids=str,
    )
    async def test_a_wrong_request_leads_nowhere(self, google: GoogleServer, changes: dict[str, str]) -> None:
        answer = await google.request("GET", "/o/oauth2/v2/auth", params={**QUERY, **changes})
        assert answer.status_code == 400
        assert (await google.state())["junk"] != []

    async def test_an_internal_app_lets_in_its_organisation_alone(self, google: GoogleServer) -> None:
        assert "org_internal" in (await click(google, CARLA, client_id="internal-app")).text
        assert "refresh_token" in await connect(google, ANNA, "internal")

    async def test_a_testing_app_lets_in_its_testers_alone(self, google: GoogleServer) -> None:
        await google.control("PUT", "apps", {"client_id": "testing-app", "test_users": [BEN]})
        assert (await click(google, ANNA, client_id="testing-app")).status_code == 403
        assert "refresh_token" in await connect(google, BEN, "testing")

    async def test_an_unverified_app_warns_and_lets_in_a_hundred(self, google: GoogleServer) -> None:
        await google.control("PUT", "apps", {"client_id": "user-app", "verified": False})
        for number in range(100):
            await google.user(f"user{number}@example.com", domain=None)
            await google.granted("openid", user=f"user{number}@example.com")
        page = await google.request("GET", "/o/oauth2/v2/auth", params=QUERY)
        assert "has not verified" in page.text
        assert (await click(google)).status_code == 403
        assert (await click(google, "user7@example.com")).status_code == 302


class TestTokens:
    """No rotation, and the ways a refresh token dies."""

    async def test_a_refresh_leaves_all_tokens_alive_and_brings_no_new_one(self, google: GoogleServer) -> None:
        first = await connect(google)
        answers = [(await refresh(google, first["refresh_token"])).json() for _ in range(2)]
        assert all("refresh_token" not in answer for answer in answers)
        assert {answer["scope"] for answer in answers} == {first["scope"]}
        for one in (first, *answers):
            assert (await about(google, one["access_token"])).status_code == 200
        (held,) = (await google.state())["refresh_tokens"]
        assert held["uses"] == 2

    async def test_an_access_token_lives_an_hour(self, google: GoogleServer) -> None:
        tokens = await connect(google)
        await google.forward(3600)
        assert (await about(google, tokens["access_token"])).status_code == 401

    async def test_testing_ends_a_grant_after_seven_days(self, google: GoogleServer) -> None:
        tokens = await connect(google, client="testing")
        assert tokens["refresh_token_expires_in"] == 7 * DAY - 1
        for _ in range(6):
            await google.forward(DAY)
            assert (await refresh(google, tokens["refresh_token"], "testing")).status_code == 200
        await google.forward(DAY)
        dead = await refresh(google, tokens["refresh_token"], "testing")
        assert (dead.status_code, dead.json()) == (400, DEAD)

    async def test_testing_spares_who_only_signs_in(self, google: GoogleServer) -> None:
        tokens = await connect(google, client="testing", scope="openid email profile")
        await google.forward(8 * DAY)
        assert (await refresh(google, tokens["refresh_token"], "testing")).status_code == 200

    async def test_six_months_without_use_end_a_grant(self, google: GoogleServer) -> None:
        tokens = await connect(google)
        await google.forward(170 * DAY)
        assert (await refresh(google, tokens["refresh_token"])).status_code == 200
        await google.forward(170 * DAY)
        assert (await refresh(google, tokens["refresh_token"])).status_code == 200
        await google.forward(184 * DAY)
        assert (await refresh(google, tokens["refresh_token"])).json() == DEAD

    async def test_the_hundred_and_first_token_ends_the_oldest_of_that_account_and_client(
        self, google: GoogleServer
    ) -> None:
        oldest = await google.granted("openid")
        others = [await google.granted("openid", user=BEN), await google.granted("openid", client_id="internal-app")]
        held = [await google.granted("openid") for _ in range(99)]
        assert (await refresh(google, oldest["refresh_token"])).status_code == 200
        await google.granted("openid")
        assert (await refresh(google, oldest["refresh_token"])).json() == DEAD
        assert (await refresh(google, held[0]["refresh_token"])).status_code == 200
        assert (await refresh(google, others[0]["refresh_token"])).status_code == 200
        assert (await refresh(google, others[1]["refresh_token"], "internal")).status_code == 200

    async def test_an_admins_restriction_has_a_name_of_its_own(self, google: GoogleServer) -> None:
        tokens = await connect(google)
        await google.user(restricted=True)
        assert (await refresh(google, tokens["refresh_token"])).json()["error"] == "admin_policy_enforced"

    @pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
    async def test_revoking_either_token_ends_all_that_person_granted_to_the_project(
        self, google: GoogleServer, kind: str
    ) -> None:
        await google.control("PUT", "apps", {"client_id": "sister-app", "client_secret": "sister-secret"})
        one, two, sister = await connect(google), await connect(google), await connect(google, client="sister")
        ben, stranger = await connect(google, BEN), await connect(google, client="testing")
        answer = await google.request("POST", "/revoke", data={"token": one[kind]})
        assert (answer.status_code, answer.json()) == (200, {})
        for dead, client in ((one, "user"), (two, "user"), (sister, "sister")):
            assert (await about(google, dead["access_token"])).status_code == 401
            assert (await refresh(google, dead["refresh_token"], client)).json() == DEAD
        assert (await refresh(google, ben["refresh_token"])).status_code == 200
        assert (await refresh(google, stranger["refresh_token"], "testing")).status_code == 200
        again = await google.request("POST", "/revoke", data={"token": one[kind]})
        assert (again.status_code, again.json()["error"]) == (400, "invalid_token")

    async def test_a_revocation_may_take_a_while(self, google: GoogleServer) -> None:
        await google.readings(revocation_takes=120)
        tokens = await connect(google)
        await google.request("POST", "/revoke", data={"token": tokens["refresh_token"]})
        assert (await about(google, tokens["access_token"])).status_code == 200
        assert (await refresh(google, tokens["refresh_token"])).json() == DEAD
        await google.forward(121)
        assert (await about(google, tokens["access_token"])).status_code == 401

    @pytest.mark.parametrize(
        ("app", "error"),
        [
            ({}, "invalid_client"),
            ({"client_id": "user-app", "client_secret": "wrong"}, "invalid_client"),
            ({"client_id": "who", "client_secret": "user-secret"}, "invalid_client"),
            ({"client_id": "testing-app", "client_secret": "testing-secret"}, "unauthorized_client"),
        ],
    )
    async def test_a_wrong_client_is_the_operators_problem(
        self, google: GoogleServer, app: dict[str, str], error: str
    ) -> None:
        tokens = await google.granted("openid")
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], **app}
        answer = await token(google, **form)
        assert (answer.status_code, answer.json()["error"]) == (401, error)

    async def test_basic_authentication_will_do_but_not_both(self, google: GoogleServer) -> None:
        tokens, auth = await google.granted("openid"), httpx.BasicAuth("user-app", "user-secret")
        form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        assert (await google.request("POST", "/token", data=form, auth=auth)).status_code == 200
        assert (await google.request("POST", "/token", data={**form, **SECRET}, auth=auth)).status_code == 400

    async def test_nothing_may_stand_in_the_query(self, google: GoogleServer) -> None:
        answer = await google.request("POST", "/token", params={"grant_type": "refresh_token"}, data=SECRET)
        assert answer.json()["error"] == "invalid_request"
        query = {"access_token": await google.token("email")}
        assert (await google.request("GET", "/oauth2/v2/userinfo", params=query)).status_code == 401


class TestIdentity:
    """Who has connected."""

    async def test_an_id_token_is_signed_and_names_the_person(self, google: GoogleServer) -> None:
        tokens = await connect(google, nonce="a-nonce")
        (key,) = (await google.request("GET", "/oauth2/v3/certs")).json()["keys"]
        claims = jwt.decode(tokens["id_token"], jwt.PyJWK(key).key, algorithms=["RS256"], audience="user-app")
        assert (claims["iss"], claims["azp"]) == ("https://accounts.google.com", "user-app")
        assert (claims["email"], claims["email_verified"], claims["hd"]) == (ANNA, True, "example.org")
        assert claims["nonce"] == "a-nonce"
        assert claims["sub"] == (await about(google, tokens["access_token"])).json()["sub"]
        assert claims["sub"] == (await about(google, tokens["access_token"], "/oauth2/v2/userinfo")).json()["id"]

    async def test_without_their_scopes_neither_token_nor_address_is_told(self, google: GoogleServer) -> None:
        tokens = await connect(google, scope=MEET)
        assert "id_token" not in tokens
        assert (await about(google, tokens["access_token"])).status_code == 401
        assert "email" not in (await about(google, await google.token("openid"))).json()

    async def test_an_account_of_ones_own_has_no_domain(self, google: GoogleServer) -> None:
        assert "hd" not in (await about(google, await google.token("email", user=CARLA))).json()


class TestDelegation:
    """A service account in a person's name."""

    @staticmethod
    async def assertion(google: GoogleServer, key: str | None = None, **claims: Any) -> httpx.Response:
        made, file = int(time.time()), await google.key()
        whole: dict[str, Any] = {"iss": ROBOT, "sub": ANNA, "scope": MEET, "aud": "https://oauth2.googleapis.com/token"}
        whole |= {"iat": made, "exp": made + 3600, **claims}
        signed = {name: value for name, value in whole.items() if value is not None}
        text = jwt.encode(signed, key or file["private_key"], "RS256", headers={"kid": file["private_key_id"]})
        return await token(google, grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion=text)

    async def test_a_delegated_scope_brings_an_hour_and_nothing_to_refresh(self, google: GoogleServer) -> None:
        answer = (await self.assertion(google)).json()
        assert set(answer) == {"access_token", "expires_in", "scope", "token_type"}
        headers = {"authorization": f"Bearer {answer['access_token']}"}
        assert (await google.request("POST", "/v2/spaces", headers=headers, json={})).status_code == 200
        assert [space["owner"] for space in await google.spaces()] == [ANNA]
        assert (await google.state())["junk"] == []

    @pytest.mark.parametrize(
        ("claims", "status", "error"),
        [
            ({"iss": "nobody@project-1.iam.gserviceaccount.com"}, 400, "invalid_grant"),
            ({"sub": "nobody@example.org"}, 400, "invalid_grant"),
            ({"sub": CARLA}, 401, "unauthorized_client"),
            ({"scope": f"{AUTH}calendar"}, 401, "unauthorized_client"),
            ({"scope": f"{MEET} {AUTH}calendar"}, 401, "unauthorized_client"),
            ({"scope": "surprise"}, 400, "invalid_scope"),
            ({"scope": None}, 400, "invalid_scope"),
            ({"aud": "https://elsewhere.example"}, 400, "invalid_grant"),
            ({"exp": 3700}, 400, "invalid_grant"),
            ({"iat": -4000, "exp": -400}, 400, "invalid_grant"),
            ({"iat": 400, "exp": 900}, 400, "invalid_grant"),
            ({"exp": None}, 400, "invalid_grant"),
        ],
        ids=str,
    )
    async def test_what_is_wrong_with_an_assertion_is_told_apart(
        self, google: GoogleServer, claims: dict[str, Any], status: int, error: str
    ) -> None:
        """Times are seconds from now."""
        now = time.time()
        stated: dict[str, Any] = {
            name: now + value if isinstance(value, int) else value for name, value in claims.items()
        }
        answer = await self.assertion(google, None, **stated)
        assert (answer.status_code, answer.json()["error"]) == (status, error)

    async def test_a_signature_is_checked_against_the_uploaded_key(self, google: GoogleServer) -> None:
        key = (await google.key())["private_key"]
        await google.control("PUT", "service-accounts", {"client_email": ROBOT, "public_key": public_pem("another")})
        answer = await self.assertion(google, key)
        assert answer.json() == {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}

    async def test_a_clock_that_is_wrong_is_seen(self, google: GoogleServer) -> None:
        await google.forward(2 * 3600)
        assert "short-lived" in (await self.assertion(google)).json()["error_description"]

    async def test_without_delegation_and_without_a_person_there_is_no_meet(self, google: GoogleServer) -> None:
        await google.control("PUT", "service-accounts", {"client_email": ROBOT, "delegated": {}})
        refused = (await self.assertion(google)).json()
        assert refused["error_description"] == "Unauthorized client or scope in request."
        alone = (await self.assertion(google, sub=None, scope=f"{MEET} {EVENTS}")).json()
        headers = {"authorization": f"Bearer {alone['access_token']}"}
        assert (await google.request("POST", "/v2/spaces", headers=headers, json={})).status_code == 403

    async def test_a_persons_revocation_does_not_touch_what_their_admin_delegated(self, google: GoogleServer) -> None:
        delegated = (await self.assertion(google)).json()["access_token"]
        tokens = await connect(google)
        await google.request("POST", "/revoke", data={"token": tokens["access_token"]})
        headers = {"authorization": f"Bearer {delegated}"}
        assert (await google.request("POST", "/v2/spaces", headers=headers, json={})).status_code == 200
