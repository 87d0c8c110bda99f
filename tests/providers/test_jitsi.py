"""Jitsi: rooms, links, and tokens as an independent library reads them."""

import hashlib
import hmac
import re
from base64 import b32encode
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from providers.base import Meeting, MeetingSpec, Role, TemporaryError
from providers.http import Http
from providers.jitsi import PROVIDER, Jitsi, JitsiSettings
from providers.testing import NameLaws, a_spec
from tests.servers import RawServer, http

NOW = 1_800_000_000
UNTIL = NOW + 7200
SECRET = "an-app-secret-of-more-than-thirty-two-bytes"
ROOM_KEY = "0123456789abcdef0123456789abcdef"
APP_ID = "vpaas-magic-cookie-0123456789abcdef"

RSA_KEY = rsa.generate_private_key(65537, 2048)
PEM = RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PLAIN: dict[str, Any] = {"url": "https://meet.example.org"}
HS256: dict[str, Any] = {**PLAIN, "app_id": "vello", "secret": SECRET}
RS256: dict[str, Any] = {**PLAIN, "app_id": "vello", "private_key": PEM, "key_id": "vello/2026"}
JAAS: dict[str, Any] = {
    "url": "https://8x8.vc",
    "app_id": APP_ID,
    "private_key": PEM,
    "key_id": "4f2c1a",
}


def connect(fields: dict[str, Any], **more: Any) -> Jitsi:
    """An adapter for verbs that send nothing."""
    return Jitsi(JitsiSettings.model_validate({**fields, **more}), Http())


async def mint(provider: Jitsi, role: Role = "guest", until: int = UNTIL, spec: MeetingSpec | None = None) -> str:
    """The link of one click."""
    spec = spec or a_spec()
    return provider.join_url(await provider.create(spec), spec, role, NOW, until)


def token_of(link: str) -> str:
    """The token in a link, read as Jitsi's client does: the fragment's value is JSON."""
    fragment = unquote(urlsplit(link).fragment)
    found = re.fullmatch(r'jwt="([\w.-]+)"', fragment)
    assert found, fragment
    return found[1]


def read(token: str, key: Any, algorithm: str, audience: str = "jitsi") -> dict[str, Any]:
    """The claims of a token whose signature and aud are right; times are checked by the tests."""
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        audience=audience,
        options={"verify_exp": False, "verify_nbf": False, "strict_aud": True},
    )
    return claims


class JitsiLaws(NameLaws):
    """The laws for a server that answers, so that a call would be seen."""

    info = PROVIDER
    fields: dict[str, Any]

    @pytest.fixture
    async def host(self) -> AsyncIterator[RawServer]:
        async with RawServer(http(200, "<!doctype html>")) as server:
            yield server

    @pytest.fixture
    def settings(self, host: RawServer) -> JitsiSettings:
        return JitsiSettings.model_validate({**self.fields, "url": host.url})

    @pytest.fixture
    async def provider(self, settings: JitsiSettings) -> AsyncIterator[Jitsi]:
        client = Http()
        yield Jitsi(settings, client)
        await client.close()


class TestPlain(JitsiLaws):
    """The laws for a server without tokens."""

    fields = PLAIN


class TestTokens(JitsiLaws):
    """The laws for a server with a shared secret."""

    fields = HS256


class TestKeyPair(JitsiLaws):
    """The laws for a server with a public key of ours."""

    fields = RS256


class TestRooms:
    """How a room gets its name."""

    async def test_the_name_is_derived_from_the_key_tenant_and_generation(self) -> None:
        spec = a_spec(generation=3)
        meeting = await connect(PLAIN, room_key=ROOM_KEY, tenant="clinic").create(spec)
        digest = hmac.new(ROOM_KEY.encode(), f"clinic|{spec.key}|3".encode(), hashlib.sha256).digest()
        assert meeting.id == f"meeting-{b32encode(digest).decode()[:26].lower()}"
        assert meeting.join_url == f"https://meet.example.org/clinic/{meeting.id}"

    async def test_the_name_holds_only_what_client_and_verifier_read_alike(self) -> None:
        meeting = await connect(PLAIN, room_prefix="Visit-7").create(a_spec())
        assert re.fullmatch(r"visit-7-[a-z2-7]{26}", meeting.id)

    async def test_the_same_room_key_gives_the_same_names_another_one_others(self) -> None:
        spec = a_spec()
        first, again = [await connect(PLAIN, room_key=ROOM_KEY).create(spec) for _ in range(2)]
        other = await connect(PLAIN).create(spec)
        assert first == again
        assert other.id != first.id

    async def test_tenants_do_not_share_names(self) -> None:
        spec = a_spec()
        one = await connect(PLAIN, room_key=ROOM_KEY, tenant="one").create(spec)
        two = await connect(PLAIN, room_key=ROOM_KEY, tenant="two").create(spec)
        assert one.id != two.id


class TestClaims:
    """What a token says, for each way of signing."""

    async def test_hs256_says_what_the_verifier_demands(self) -> None:
        spec = a_spec()
        provider = connect(HS256)
        room = (await provider.create(spec)).id
        token = token_of(await mint(provider, spec=spec))
        claims = read(token, SECRET, "HS256")
        assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
        assert claims.pop("context")
        assert claims == {
            "iss": "vello",
            "aud": "jitsi",
            "sub": "meet.example.org",
            "room": room,
            "nbf": NOW - 60,
            "exp": UNTIL,
        }

    async def test_rs256_names_its_key(self) -> None:
        token = token_of(await mint(connect(RS256)))
        assert jwt.get_unverified_header(token) == {"alg": "RS256", "typ": "JWT", "kid": "vello/2026"}
        assert read(token, RSA_KEY.public_key(), "RS256")["iss"] == "vello"

    @pytest.mark.parametrize("key_id", ["4f2c1a", f"{APP_ID}/4f2c1a"])
    async def test_jaas_says_what_8x8_demands(self, key_id: str) -> None:
        provider = connect(JAAS, key_id=key_id)
        spec = a_spec()
        link = await mint(provider, "host", spec=spec)
        room = (await provider.create(spec)).id
        token = token_of(link)
        claims = read(token, RSA_KEY.public_key(), "RS256")
        assert link.startswith(f"https://8x8.vc/{APP_ID}/{room}#")
        assert jwt.get_unverified_header(token) == {"alg": "RS256", "typ": "JWT", "kid": f"{APP_ID}/4f2c1a"}
        assert (claims["iss"], claims["aud"], claims["sub"]) == ("chat", "jitsi", APP_ID)
        assert (claims["room"], claims["nbf"], claims["exp"]) == (room, NOW - 60, UNTIL)
        assert claims["context"]["user"]["moderator"] == "true"
        assert set(claims["context"]["features"].values()) == {"false"}

    @pytest.mark.parametrize(("role", "moderator"), [("host", "true"), ("guest", "false")])
    async def test_only_hosts_are_moderators_and_nobody_has_a_name(self, role: Role, moderator: str) -> None:
        user = read(token_of(await mint(connect(HS256), role)), SECRET, "HS256")["context"]["user"]
        assert user.keys() == {"id", "moderator"}
        assert user["moderator"] == moderator

    async def test_a_guest_of_jaas_is_no_moderator(self) -> None:
        claims = read(token_of(await mint(connect(JAAS))), RSA_KEY.public_key(), "RS256")
        assert claims["context"]["user"]["moderator"] == "false"

    async def test_everybody_who_clicks_is_somebody_else(self) -> None:
        provider, spec = connect(HS256), a_spec()
        tokens = [token_of(await mint(provider, spec=spec)) for _ in range(2)]
        assert len({read(token, SECRET, "HS256")["context"]["user"]["id"] for token in tokens}) == 2

    async def test_only_hosts_use_the_features_that_were_chosen(self) -> None:
        provider = connect(HS256, host_features=["recording"])
        host = read(token_of(await mint(provider, "host")), SECRET, "HS256")["context"]["features"]
        guest = read(token_of(await mint(provider, "guest")), SECRET, "HS256")["context"]["features"]
        assert {name for name, on in host.items() if on == "true"} == {"recording"}
        assert set(guest.values()) == {"false"}

    async def test_a_token_never_ends_before_it_can_be_used(self) -> None:
        claims = read(token_of(await mint(connect(HS256), until=NOW - 500)), SECRET, "HS256")
        assert claims["exp"] == NOW + 60

    @pytest.mark.parametrize(
        ("more", "subject"),
        [
            ({}, "meet.example.org"),
            ({"url": "https://meet.example.org:8443"}, "meet.example.org"),
            ({"tenant": "clinic"}, "clinic"),
            ({"subject": "meet.jitsi", "tenant": "clinic"}, "meet.jitsi"),
        ],
    )
    async def test_the_subject_is_the_given_one_else_the_tenant_else_the_host(
        self, more: dict[str, str], subject: str
    ) -> None:
        claims = read(token_of(await mint(connect(HS256, **more))), SECRET, "HS256")
        assert claims["sub"] == subject

    async def test_the_audience_can_be_another(self) -> None:
        token = token_of(await mint(connect(HS256, audience="our-server")))
        assert read(token, SECRET, "HS256", "our-server")["aud"] == "our-server"

    async def test_old_servers_get_the_token_in_the_query(self) -> None:
        link = urlsplit(await mint(connect(HS256, token_in="query")))
        assert link.fragment == ""
        assert read(parse_qs(link.query)["jwt"][0], SECRET, "HS256")["aud"] == "jitsi"

    async def test_the_link_of_a_plain_server_is_the_room(self) -> None:
        provider, spec = connect(PLAIN), a_spec()
        assert await mint(provider, "host", spec=spec) == (await provider.create(spec)).join_url

    async def test_a_short_secret_signs_all_the_same(self) -> None:
        assert jwt.get_unverified_header(token_of(await mint(connect(HS256, secret="short"))))


class TestCapabilities:
    """What is promised."""

    @pytest.mark.parametrize("fields", [HS256, RS256, JAAS])
    def test_with_tokens_the_hosted_link_is_a_gate(self, fields: dict[str, Any]) -> None:
        promised = connect(fields).capabilities
        assert promised.mints_link
        assert promised.enforces_teardown
        assert promised.enforces_window

    def test_a_plain_server_enforces_nothing(self) -> None:
        promised = connect(PLAIN).capabilities
        assert {promised.mints_link, promised.enforces_teardown, promised.enforces_window} == {False}
        assert promised.keeps_link
        assert promised.idempotent_create


class TestProbe:
    """How a server is found to be there."""

    @pytest.mark.parametrize(("status", "reachable"), [(200, True), (302, True), (403, True), (500, False)])
    async def test_any_answer_but_a_server_error_is_reachable(self, status: int, reachable: bool) -> None:
        async with RawServer(http(status, "<!doctype html>")) as server:
            client = Http()
            provider = Jitsi(JitsiSettings(url=server.url), client)
            if reachable:
                assert "127.0.0.1" in await provider.probe()
            else:
                with pytest.raises(TemporaryError):
                    await provider.probe()
            await client.close()
            assert server.requests[0].startswith(b"GET / HTTP/1.1\r\n")


async def test_a_stored_meeting_is_all_a_click_needs() -> None:
    """The room of the stored meeting counts, not what the key derives today."""
    stored = Meeting(id="meeting-of-old", join_url="https://meet.example.org/meeting-of-old")
    link = connect(HS256).join_url(stored, a_spec(), "guest", NOW, UNTIL)
    assert link.startswith("https://meet.example.org/meeting-of-old#jwt=%22")
    assert read(token_of(link), SECRET, "HS256")["room"] == "meeting-of-old"
