"""In and out of the settings: ADMIN_TOKEN, an OpenID provider that is not ours, sessions, and forms of others."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from joserfc.jwk import RSAKey
from starlette.requests import Request

from service.store import Store
from service.web.peers import peer_of
from service.web.session import ATTEMPTS, IDLE, LIFE
from tests.authority import CLIENT, SECRET, Authority, signed_in
from tests.issuer import CLIENT as CLIENT_ID
from tests.issuer import Issuer
from tests.ports import NO_TLS
from tests.running import ADMIN, PUBLIC, Running, running
from tests.servers import RawServer, http
from tests.stores import StoreServer
from tests.test_secrets import ETERNAL

OURS = {"Sec-Fetch-Site": "same-origin"}
LOGIN = f"{PUBLIC}/login"
CALLBACK = f"{LOGIN}/oidc/callback"


@pytest.fixture
async def service(store_url: str) -> AsyncIterator[Running]:
    async with running(store_url) as service:
        yield service


@pytest.fixture
async def authority() -> AsyncIterator[Authority]:
    async with Authority(CALLBACK) as authority:
        yield authority


def oidc(authority: Authority, allowed: str, **more: str) -> dict[str, Any]:
    """What a service must know to let an OpenID provider's people in."""
    client = {"OIDC_CLIENT_ID": CLIENT, "OIDC_CLIENT_SECRET": SECRET}
    return {"OIDC_ISSUER": authority.url, "OIDC_ALLOWED": allowed, **client, **more}


async def log_in(service: Running, token: str = ADMIN, there: str = "/", **headers: str) -> httpx.Response:
    """The form, sent."""
    return await service.client.post(LOGIN, data={"admin_token": token, "next": there}, headers=headers or OURS)


async def form_token(service: Running) -> str:
    """What goes with each form of the session."""
    found = re.search(r'name="form_token" value="([^"]+)"', (await service.client.get(f"{PUBLIC}/companies")).text)
    assert found
    return found[1]


async def book(service: Running, **fields: str) -> httpx.Response:
    """A form that does something, sent from a page of ours."""
    return await service.client.post(f"{PUBLIC}/start/book", data=fields, headers=OURS)


def sessions(service: Running) -> list[str]:
    """The names of sessions that the browser holds."""
    return [str(cookie.value) for cookie in service.client.cookies.jar if cookie.name == "vello_meetings"]


async def test_a_login_leads_to_where_one_wanted_to_go(service: Running) -> None:
    asked = await service.client.get(f"{PUBLIC}/bookings?state=failed&office=x")
    assert (asked.status_code, asked.headers["location"]) == (
        303,
        "/login?next=/bookings%3Fstate%3Dfailed%26office%3Dx",
    )
    page = await service.client.get(f"{PUBLIC}{asked.headers['location']}")
    assert 'value="/bookings?state=failed&amp;office=x"' in page.text
    answer = await log_in(service, there="/bookings?state=failed&office=x")
    assert (answer.status_code, answer.headers["location"]) == (303, "/bookings?state=failed&office=x")


@pytest.mark.parametrize(
    "there",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/\tx",
        "javascript:alert(1)",
        "",
        "/x\r\nX: y",
    ],
)
async def test_a_login_leads_nowhere_else(service: Running, there: str) -> None:
    answer = await log_in(service, there=there)
    assert answer.headers["location"] == "/"
    again = await service.client.get(LOGIN, params={"next": there})
    assert again.headers["location"] == "/"


async def test_a_name_that_somebody_planted_never_becomes_a_session(service: Running) -> None:
    service.client.cookies.set("vello_meetings", "planted", domain="127.0.0.1")
    await log_in(service)
    names = set(sessions(service))
    assert names - {"planted"}
    service.client.cookies.clear()
    service.client.cookies.set("vello_meetings", "planted", domain="127.0.0.1")
    assert (await service.client.get(f"{PUBLIC}/")).status_code == 303


async def test_a_login_gives_the_session_a_new_name_and_ends_the_old_one(service: Running) -> None:
    await log_in(service)
    before = sessions(service)[0]
    await log_in(service)
    assert sessions(service)[0] != before
    service.client.cookies.clear()
    service.client.cookies.set("vello_meetings", before, domain="127.0.0.1")
    assert (await service.client.get(f"{PUBLIC}/")).status_code == 303


async def test_a_session_ends_of_idleness_and_of_age(service: Running, store: Store) -> None:
    await log_in(service)
    key = (await store.execute("KEYS", "vm:session:*"))[0]
    assert IDLE - 60 < int(await store.execute("TTL", key)) <= IDLE
    await store.execute("EXPIRE", key, 100)
    assert (await service.client.get(f"{PUBLIC}/")).status_code == 200
    assert int(await store.execute("TTL", key)) > 100
    row = str(await store.execute("GET", key))
    old = re.sub(r'"at": (\d+)', lambda at: f'"at": {int(at[1]) - LIFE - 1}', row)
    await store.execute("SET", key, old, "EX", IDLE)
    assert (await service.client.get(f"{PUBLIC}/")).status_code == 303
    assert await store.execute("EXISTS", key) == 0


async def test_a_logout_ends_this_session_and_everywhere_all_of_them(service: Running) -> None:
    await log_in(service)
    first = sessions(service)[0]
    service.client.cookies.clear()
    await log_in(service)
    second = sessions(service)[0]
    await service.client.post(f"{PUBLIC}/logout", headers=OURS)
    assert sessions(service) == []

    async def lives(name: str) -> bool:
        service.client.cookies.clear()
        answer = await service.client.get(f"{PUBLIC}/", headers={"Cookie": f"vello_meetings={name}"})
        return answer.status_code == 200

    assert (await lives(first), await lives(second)) == (True, False)
    await log_in(service)
    third = sessions(service)[0]
    await service.client.post(f"{PUBLIC}/logout", data={"everywhere": "yes"}, headers=OURS)
    assert [await lives(name) for name in (first, second, third)] == [False, False, False]


async def test_nobody_guesses_the_token(service: Running) -> None:
    for _ in range(ATTEMPTS):
        assert (await log_in(service, "wrong")).status_code == 403
    answer = await log_in(service)
    assert (answer.status_code, "Retry-After" in answer.headers) == (429, True)


async def guess(service: Running, *addresses: str) -> httpx.Response:
    """A wrong token that came past proxies."""
    return await log_in(service, "wrong", **OURS, **{"X-Forwarded-For": ", ".join(addresses)})


async def test_behind_a_trusted_proxy_each_client_has_its_own_count(store_url: str) -> None:
    async with running(store_url, TRUSTED_PROXIES="127.0.0.0/8,10.1.0.0/16") as service:
        for number in range(ATTEMPTS):  # what a client claims to be is worth nothing
            assert (await guess(service, f"192.0.2.{number}", "198.51.100.7", "10.1.0.9")).status_code == 403
        assert (await guess(service, "203.0.113.1", "198.51.100.7", "10.1.0.9")).status_code == 429
        assert (await guess(service, "198.51.100.7", "198.51.100.8")).status_code == 403


async def test_who_is_no_trusted_proxy_cannot_say_whom_it_speaks_for(store_url: str) -> None:
    async with running(store_url, TRUSTED_PROXIES="10.1.0.0/16") as service:
        for number in range(ATTEMPTS):
            assert (await guess(service, f"192.0.2.{number}")).status_code == 403
        assert (await guess(service, "198.51.100.8")).status_code == 429


@pytest.mark.parametrize(
    ("client", "counted"),
    [
        (("192.0.2.1", 5), "192.0.2.1"),
        (("::ffff:192.0.2.1", 5), "192.0.2.1"),
        (("2001:db8:1:2:aaaa::1", 5), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:bbbb::1%eth0", 5), "2001:db8:1:2::/64"),
        (("a-socket", 0), "a-socket"),
        (None, ""),
    ],
    ids=["v4", "mapped", "v6", "v6 with a zone", "no address", "nobody"],
)
def test_an_address_is_counted_as_whose_it_is(client: tuple[str, int] | None, counted: str) -> None:
    assert peer_of(Request({"type": "http", "client": client, "headers": []})) == counted


@pytest.mark.parametrize("path", ["/login", "/logout", "/language", "/start/book"])
@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {"X": "y"}])
async def test_a_form_of_another_site_does_nothing(service: Running, path: str, headers: dict[str, str]) -> None:
    await log_in(service)
    token = await form_token(service)
    fields = {"form_token": token, "admin_token": ADMIN, "language": "fi", "everywhere": "yes"}
    answer = await service.client.post(f"{PUBLIC}{path}", data=fields, headers=headers)
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert (await service.client.get(f"{PUBLIC}/")).status_code == 200


async def test_a_form_without_the_sessions_token_is_shown_again_before_it_does_anything(service: Running) -> None:
    await log_in(service)
    answer = await book(service, form_token="of-another-session", note="mine")
    assert answer.status_code == 303
    page = await service.client.get(f"{PUBLIC}{answer.headers['location']}")
    assert 'name="note" value="mine"' in page.text
    assert f'value="{await form_token(service)}"' in page.text
    assert (await service.admin("GET", "/records")).json()["records"] == []


async def test_a_session_that_ended_in_the_middle_of_a_form_loses_nothing(service: Running, store: Store) -> None:
    await log_in(service)
    token = await form_token(service)
    service.client.cookies.clear()
    typed = {"form_token": token, "title": "Visit <b>\"'", "secret.key": "hush-hush"}
    answer = await book(service, **typed)
    assert (answer.status_code, "nothing you typed is lost" in answer.text) == (401, True)
    there = re.search(r'name="next" value="([^"]+)"', answer.text)
    assert there
    assert (await service.client.get(f"{PUBLIC}{there[1]}")).status_code == 303
    led = await log_in(service, there=there[1])
    page = await service.client.get(f"{PUBLIC}{led.headers['location']}")
    assert "Visit &lt;b&gt;&#34;&#39;" in page.text
    assert 'action="/start/book"' in page.text
    assert "hush-hush" not in page.text
    kept = await store.execute("KEYS", "vm:kept:*")
    assert len(kept) == 2
    assert "Visit" not in str([await store.execute("GET", key) for key in kept])


async def test_a_form_is_shown_again_to_the_browser_that_sent_it_and_to_no_other(service: Running) -> None:
    """Else a stranger types it, and an admin is led to a page that needs one click."""
    answer = await book(service, note="a stranger's")
    there = re.search(r'name="next" value="([^"]+)"', answer.text)
    assert there
    service.client.cookies.clear()
    await log_in(service)
    page = await service.client.get(f"{PUBLIC}{there[1]}")
    assert (page.status_code, "stranger" in page.text) == (404, False)


async def test_what_is_too_large_or_too_much_is_not_kept(service: Running) -> None:
    answer = await book(service, note="x" * 40_000)
    assert (answer.status_code, "still in your browser" in answer.text) == (401, True)


async def test_forms_that_are_too_many_are_kept_again_when_the_window_of_the_first_ends(
    service: Running, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are refused make it no longer."""
    monkeypatch.setattr("service.web.kept.MOST", 1)
    assert "still in your browser" not in (await book(service)).text
    assert 0 < await store.execute("TTL", "vm:kept:count") <= 300
    await store.execute("EXPIRE", "vm:kept:count", 60)
    for _ in range(3):
        assert "still in your browser" in (await book(service)).text
    assert 0 < await store.execute("TTL", "vm:kept:count") <= 60
    await store.execute("DEL", "vm:kept:count")
    assert "still in your browser" not in (await book(service)).text


async def test_live_parts_send_a_browser_to_the_login(service: Running) -> None:
    answer = await service.client.get(f"{PUBLIC}/start/steps", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (200, "/login")


async def test_pages_speak_the_browsers_language_until_one_is_chosen(service: Running) -> None:
    accepted = {"Accept-Language": "de, sv;q=0.8, fi;q=0.9"}
    assert '<html lang="fi">' in (await service.client.get(LOGIN, headers=accepted)).text
    answer = await service.client.post(f"{PUBLIC}/language", data={"language": "sv", "next": "/login"}, headers=OURS)
    assert answer.headers["location"] == "/login"
    assert '<html lang="sv">' in (await service.client.get(LOGIN, headers=accepted)).text


async def test_while_the_store_is_down_a_login_says_so() -> None:
    """Nobody is told then whether a token is right."""
    async with StoreServer() as store, running(store.url) as service:
        store.kill()
        answers = [await log_in(service, token) for token in (ADMIN, "wrong")]
        assert [answer.status_code for answer in answers] == [503, 503]
        await store.start()


async def come_back(service: Running, login: str, there: str = "/") -> httpx.Response:
    """From the click to the way back from the OpenID provider."""
    gone = await service.client.get(f"{LOGIN}/oidc", params={"next": there})
    assert gone.status_code == 303, gone.text
    return await service.client.get(await signed_in(gone.headers["location"], login))


@pytest.mark.parametrize("allowed", ["anna@example.org", "x@y.z,@example.org", "group:friends-of-anna"])
async def test_whom_the_operator_allowed_logs_in_with_the_organisation(
    store_url: str, authority: Authority, allowed: str
) -> None:
    async with running(store_url, **oidc(authority, allowed)) as service:
        assert "Log in with your organisation" in (await service.client.get(LOGIN)).text
        answer = await come_back(service, "anna", "/offices?x=1")
        assert (answer.status_code, answer.headers["location"]) == (303, "/offices?x=1")
        assert "Logged in: anna@example.org" in (await service.client.get(f"{PUBLIC}/")).text


@pytest.mark.parametrize("allowed", ["bert@example.org", "@example.com", "group:anna", "anna@example.org.evil"])
async def test_nobody_else_does(store_url: str, authority: Authority, allowed: str) -> None:
    async with running(store_url, **oidc(authority, allowed)) as service:
        answer = await come_back(service, "anna")
        assert (answer.status_code, "OIDC_ALLOWED" in answer.text) == (403, True)
        assert (await service.client.get(f"{PUBLIC}/")).status_code == 303


async def test_a_claim_limits_an_admin_to_companies(store_url: str, authority: Authority, store: Store) -> None:
    async with running(store_url, **oidc(authority, "@example.org", OIDC_COMPANIES="places")) as service:
        await come_back(service, "bert")
        assert "/companies" not in (await service.client.get(f"{PUBLIC}/")).text
        await come_back(service, "anna")
        assert "/companies" in (await service.client.get(f"{PUBLIC}/")).text


async def test_a_way_back_is_for_the_browser_that_began_and_works_once(store_url: str, authority: Authority) -> None:
    async with running(store_url, **oidc(authority, "@example.org")) as service:
        gone = await service.client.get(f"{LOGIN}/oidc")
        back = await signed_in(gone.headers["location"], "anna")
        mine = dict(service.client.cookies)
        service.client.cookies.clear()
        assert (await service.client.get(back)).status_code == 403
        forged = httpx.URL(back).copy_set_param("state", "another")
        service.client.cookies.update(mine)
        assert (await service.client.get(forged)).status_code == 403
        service.client.cookies.update(mine)
        assert (await service.client.get(back)).status_code == 303
        service.client.cookies.update(mine)
        assert (await service.client.get(back)).status_code == 502


async def test_a_code_of_another_login_is_refused(store_url: str, authority: Authority) -> None:
    """Stolen and put into one's own way back: neither verifier nor nonce fits."""
    async with running(store_url, **oidc(authority, "@example.org")) as service:
        gone = await service.client.get(f"{LOGIN}/oidc")
        stolen = httpx.URL(await signed_in(gone.headers["location"], "anna")).params["code"]
        mine = httpx.URL((await service.client.get(f"{LOGIN}/oidc")).headers["location"]).params["state"]
        answer = await service.client.get(CALLBACK, params={"code": stolen, "state": mine})
        assert (answer.status_code, sessions(service)) == (502, [])


async def test_a_provider_that_is_down_is_said_to_be(store_url: str, authority: Authority) -> None:
    async with RawServer(http(503)) as down:
        given = {**oidc(authority, "@example.org"), "OIDC_ISSUER": down.url}
        async with running(store_url, **given) as service:
            answer = await service.client.get(f"{LOGIN}/oidc")
            assert (answer.status_code, "Admin token" in answer.text) == (503, True)


async def test_behind_https_the_browser_is_told_to_stay_there(store_url: str) -> None:
    async with running(store_url, PUBLIC_URL="https://meetings.example.org") as service:
        for path in ("/login", f"/m/{'A' * 23}", "/static/settings.css", "/api/v1/offices", "/nothing"):
            answer = await service.client.get(f"https://meetings.example.org{path}")
            assert answer.headers.get_list("strict-transport-security") == ["max-age=31536000"], path
        sent = {"admin_token": ADMIN}
        cookie = (await service.client.post("https://meetings.example.org/login", data=sent, headers=OURS)).headers
        assert cookie["set-cookie"].startswith("__Host-")
        assert "Secure" in cookie["set-cookie"]


async def test_every_key_of_a_login_lives_for_a_time(service: Running, store: Store) -> None:
    await log_in(service, "wrong")
    await log_in(service)
    await book(service, note="x")
    keys = await store.execute("KEYS", "*")
    eternal = [key for key in keys if int(await store.execute("TTL", key)) == -1]
    assert {key.rpartition(":")[0] for key in keys} >= {"vm:session", "vm:sessions", "vm:logins", "vm:kept"}
    assert [key for key in eternal if not ETERNAL.fullmatch(key)] == []


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as issuer:
        yield issuer


async def lets_in(service: Running, issuer: Issuer) -> int:
    """The status of the way back from an OpenID provider that says what it says."""
    gone = await service.client.get(f"{LOGIN}/oidc")
    assert gone.status_code == 303, gone.text
    async with httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=30) as person:
        back = (await person.get(gone.headers["location"])).headers["location"]
    return (await service.client.get(back)).status_code


async def test_a_token_that_is_right_lets_its_person_in(store_url: str, issuer: Issuer) -> None:
    async with running(store_url, **issuer.environment) as service:
        assert await lets_in(service, issuer) == 303
        issuer.claims = {"aud": [CLIENT_ID], "email_verified": True, "azp": CLIENT_ID}
        assert await lets_in(service, issuer) == 303
        issuer.claims = {"email": None}
        issuer.told = {"sub": "anna", "email": "anna@example.org"}
        assert await lets_in(service, issuer) == 303


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://elsewhere.example"},
        {"aud": "another-client"},
        {"aud": [CLIENT_ID, "another-client"]},
        {"azp": "another-client"},
        {"nonce": "of-another-login"},
        {"nonce": None},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"sub": None},
        {"iat": 32_503_680_000},
    ],
    ids=str,
)
async def test_a_token_that_is_not_for_us_now_and_this_login_lets_nobody_in(
    store_url: str, issuer: Issuer, claims: dict[str, Any]
) -> None:
    issuer.claims = claims
    async with running(store_url, **issuer.environment) as service:
        assert await lets_in(service, issuer) == 502
        assert sessions(service) == []


@pytest.mark.parametrize("signed", ["none", "HS256"])
async def test_a_token_that_nobody_or_everybody_can_sign_lets_nobody_in(
    store_url: str, issuer: Issuer, signed: str
) -> None:
    issuer.signed = signed
    async with running(store_url, **issuer.environment) as service:
        assert (await lets_in(service, issuer), sessions(service)) == (502, [])


async def test_a_token_signed_with_another_key_lets_nobody_in_until_the_key_is_shown(
    store_url: str, issuer: Issuer
) -> None:
    async with running(store_url, **issuer.environment) as service:
        issuer.key = RSAKey.generate_key(2048, {"kid": "one"})
        assert (await lets_in(service, issuer), sessions(service)) == (502, [])
    issuer.shown = issuer.key
    async with running(store_url, **issuer.environment) as service:
        assert await lets_in(service, issuer) == 303


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"email_verified": False}, None),
        ({"email_verified": "false"}, None),
        ({"email": None}, {"sub": "mallory", "email": "anna@example.org"}),
        ({"email": "anna@example.org.evil"}, None),
        ({"email": "@example.org"}, None),
        ({"email": None, "sub": "@example.org"}, None),
        ({"email": None, "groups": "@example.org"}, None),
    ],
    ids=str,
)
async def test_an_address_that_is_not_that_persons_counts_for_nothing(
    store_url: str, issuer: Issuer, claims: dict[str, Any], told: dict[str, Any] | None
) -> None:
    issuer.claims, issuer.told = claims, told
    async with running(store_url, **issuer.environment) as service:
        assert (await lets_in(service, issuer), sessions(service)) == (403, [])


async def test_a_provider_that_calls_itself_otherwise_is_not_believed(store_url: str, issuer: Issuer) -> None:
    issuer.metadata = {"issuer": "https://elsewhere.example"}
    async with running(store_url, **issuer.environment) as service:
        assert (await service.client.get(f"{LOGIN}/oidc")).status_code == 502
