"""What is learned of a Jitsi server before a connection is stored: a table of servers and settings."""

from typing import Any

import pytest

from providers.base import Inspects
from providers.http import Http
from providers.jitsi import Jitsi, JitsiSettings
from tests.fakes.jitsi import DEBIAN, DOCKER, FakeJitsi
from tests.providers.test_jitsi import PEM
from tests.servers import RawServer, http

TOKEN = {"app_id": "clinic", "secret": "s" * 40}


async def told(url: str, **fields: Any) -> list[tuple[str, str]]:
    """What an admin is told of these settings."""
    client = Http(deadline=5.0)
    try:
        provider = Jitsi(JitsiSettings.model_validate({"url": url, **fields}), client)
        assert isinstance(provider, Inspects)
        return [(remark.kind, remark.text) for remark in await provider.inspect()]
    finally:
        await client.close()


@pytest.mark.parametrize("config", [DEBIAN, DOCKER], ids=["debian", "docker"])
@pytest.mark.parametrize(
    ("server", "fields", "kinds", "text"),
    [
        ({}, {}, ["good", "good"], "It lets people in without a token."),
        ({"auth": "token"}, TOKEN, ["good", "good"], "It takes tokens with this app_id"),
        ({"auth": "token"}, {}, ["good", "wrong"], "lets nobody in without a token: enter the server's app_id"),
        ({"auth": "token"}, {**TOKEN, "app_id": "other"}, ["good", "wrong"], "does not take the app_id"),
        ({"auth": "token"}, {**TOKEN, "secret": "t" * 40}, ["good", "wrong"], "does not take the secret"),
        ({"auth": "token", "audiences": ("clinics",)}, TOKEN, ["good", "wrong"], "does not take the audience"),
        ({"auth": "token", "clock": 600}, TOKEN, ["good", "wrong"], "clock and ours differ"),
        ({"auth": "token", "clock": -600}, TOKEN, ["good", "wrong"], "clock and ours differ"),
        ({}, TOKEN, ["good", "wrong"], "checks no tokens and lets everybody in"),
        ({"auth": "token", "allow_empty": True}, TOKEN, ["good", "good", "note"], "without a token as well"),
        ({"auth": "internal_hashed"}, {}, ["good", "wrong"], "only people with an account of that server"),
        ({"auth": "internal_hashed"}, TOKEN, ["good", "wrong"], "accounts with passwords, not tokens"),
    ],
    ids=[
        "open server",
        "right token",
        "token wanted",
        "other app id",
        "other secret",
        "other audience",
        "clock ahead",
        "clock behind",
        "token for an open server",
        "token not needed",
        "accounts",
        "token for accounts",
    ],
)
async def test_the_server_itself_says_whether_the_settings_fit(
    config: str, server: dict[str, Any], fields: dict[str, Any], kinds: list[str], text: str
) -> None:
    async with FakeJitsi(config=config, **server) as jitsi:
        if fields:
            fields = {**fields, "subject": jitsi.domain}
        found = await told(jitsi.url, **fields)
        assert [kind for kind, _ in found] == kinds
        assert text in found[-1][1]
        assert jitsi.open == 0  # no stream is left open


async def test_a_key_pair_for_a_server_with_a_secret_is_called_that() -> None:
    async with FakeJitsi(auth="token") as jitsi:
        found = await told(jitsi.url, app_id="clinic", private_key=PEM, key_id="1")
    assert found[-1][0] == "wrong"
    assert "signed otherwise" in found[-1][1]


async def test_guests_of_a_server_with_accounts_wait_for_a_host_who_has_one() -> None:
    async with FakeJitsi(auth="internal_hashed", guests=True) as jitsi:
        kind, text = (await told(jitsi.url))[-1]
    assert (kind, "A host must log in there" in text) == ("note", True)


async def test_a_server_with_another_name_of_its_own_is_mentioned_when_nobody_chose_a_subject() -> None:
    async with FakeJitsi(auth="token", domain="meet.jitsi", config=DOCKER) as jitsi:
        kind, text = (await told(jitsi.url, **TOKEN))[-1]
        assert (kind, "calls itself meet.jitsi" in text) == ("note", True)
        assert [kind for kind, _ in await told(jitsi.url, **TOKEN, subject="meet.jitsi")] == ["good", "good"]


async def test_a_server_that_cannot_be_reached_is_told_apart_from_one_that_is_no_jitsi() -> None:
    assert [kind for kind, _ in await told("http://127.0.0.1:9", **TOKEN)] == ["away"]
    async with FakeJitsi(config="") as other:
        found = await told(other.url, **TOKEN)
        assert [kind for kind, _ in found] == ["wrong"]
        assert "not as a Jitsi server does" in found[0][1]
    async with RawServer(http(502)) as down:
        assert [kind for kind, _ in await told(down.url)] == ["away"]


@pytest.mark.parametrize(
    "answer",
    [
        http(200, "<html>"),
        http(200, '<!DOCTYPE a [<!ENTITY b "c">]><body xmlns="http://jabber.org/protocol/httpbind">&b;</body>'),
        http(200, '<body xmlns="http://jabber.org/protocol/httpbind" type="terminate" condition="host-unknown"/>'),
        http(200, '<body xmlns="http://jabber.org/protocol/httpbind" sid="x"/>'),
        http(403, "no"),
        http(503, "later"),
    ],
    ids=["page", "entities", "refused", "nothing", "forbidden", "busy"],
)
async def test_a_login_that_cannot_be_tried_is_no_verdict(answer: bytes) -> None:
    config = http(200, DEBIAN % {"domain": "meet.example.org", "guests": ""})
    async with RawServer(config, answer) as jitsi:
        found = await told(jitsi.url, **TOKEN)
    assert [kind for kind, _ in found] == ["good", "note"]
    assert "could not be tried" in found[-1][1]


async def test_nothing_secret_is_in_what_is_told() -> None:
    async with FakeJitsi(auth="token") as jitsi:
        for fields in (TOKEN, {**TOKEN, "secret": "a-secret-that-the-server-does-not-have"}):
            text = str(await told(jitsi.url, **fields))
            assert fields["secret"] not in text
            assert "eyJ" not in text
