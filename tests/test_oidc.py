"""A login provider that hangs or fails is asked once for everybody, and then left alone for a while."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from providers.base import PermanentError, TemporaryError
from providers.http import Http
from service.endpoint import Client
from service.oidc import Oidc
from tests.issuer import CLIENT, SECRET, Issuer
from tests.servers import Misbehaviour, RawServer, http
from tests.waiting import stand_still

HANG = Misbehaviour.HANG
CALLBACK = "http://127.0.0.1:8080/login/oidc/callback"


@pytest.fixture
async def hasty() -> AsyncIterator[Http]:
    """One that waits for less."""
    client = Http(read=5.0, deadline=1.0)
    yield client
    await client.close()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as issuer:
        yield issuer


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause outlasts a slow machine; tests end it by `stand_still`."""
    monkeypatch.setattr("service.shared.PAUSE", 600.0)


def oidc(http: Http, url: str) -> Oidc:
    return Oidc(http, url, Client(CLIENT, SECRET), CALLBACK, ["@example.org"])


def described(url: str, **changed: str) -> bytes:
    """What a provider says of itself."""
    own = {"issuer": url, "authorization_endpoint": f"{url}/a", "token_endpoint": f"{url}/t", "jwks_uri": f"{url}/k"}
    return http(200, json.dumps({**own, **changed}), content_type="application/json")


async def test_a_provider_that_hangs_is_asked_once_for_all_who_wait_and_not_again_for_a_while(
    hasty: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RawServer(HANG) as server:
        login = oidc(hasty, server.url)
        async with asyncio.timeout(5):  # one after the other they would need twenty
            failed = await asyncio.gather(*(login.begin() for _ in range(20)), return_exceptions=True)
        assert {type(each) for each in failed} == {TemporaryError}
        assert server.connections == 1
        with pytest.raises(TemporaryError):
            await login.begin()
        assert server.connections == 1
        stand_still(monkeypatch, 601)
        with pytest.raises(TemporaryError):
            await login.begin()
        assert server.connections == 2


async def test_of_many_who_come_while_a_provider_hangs_few_wait(hasty: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.shared.WAITING", 3)
    async with RawServer(HANG) as server:
        login = oidc(hasty, server.url)
        waiting = [asyncio.create_task(login.begin()) for _ in range(3)]
        await server.arrived.wait()
        with pytest.raises(TemporaryError):
            await login.begin()
        assert not any(each.done() for each in waiting)
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_who_goes_away_while_a_provider_is_asked_ends_it_for_nobody_else(hasty: Http, issuer: Issuer) -> None:
    login = oidc(hasty, issuer.url)
    first, second = asyncio.create_task(login.begin()), asyncio.create_task(login.begin())
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).url.startswith(f"{issuer.url}/authorize")


async def test_what_a_provider_said_of_itself_holds_while_it_does_not_answer(
    hasty: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RawServer(http(500)) as server:
        server.say(described(server.url), http(500))
        login = oidc(hasty, server.url)
        before = await login.begin()
        stand_still(monkeypatch, 3601)
        for _ in range(2):
            assert (await login.begin()).url.partition("?")[0] == before.url.partition("?")[0]
        assert server.connections == 2


async def test_why_a_provider_is_not_believed_is_said_in_the_pause_too(hasty: Http) -> None:
    async with RawServer(http(500)) as server:
        server.say(described(server.url, issuer="https://elsewhere.example"))
        login = oidc(hasty, server.url)
        for _ in range(2):
            with pytest.raises(PermanentError, match="another issuer"):
                await login.begin()
        assert server.connections == 1


async def test_keys_that_cannot_be_had_are_asked_for_once_for_all_and_not_again_for_a_while(
    hasty: Http, issuer: Issuer
) -> None:
    async with RawServer(HANG) as keys:
        issuer.metadata = {"jwks_uri": f"{keys.url}/keys"}
        login = oidc(hasty, issuer.url)
        async with asyncio.timeout(5):
            came = [login.finish("a-code", "a-verifier", "a-nonce") for _ in range(10)]
            failed = await asyncio.gather(*came, return_exceptions=True)
        assert {type(each) for each in failed} == {TemporaryError}
        with pytest.raises(TemporaryError):
            await login.finish("a-code", "a-verifier", "a-nonce")
        assert keys.connections == 1
