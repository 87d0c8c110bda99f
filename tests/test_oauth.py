"""Tokens: who gets which when, what a vendor's every answer means, and that nobody asks twice."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from providers.base import (
    FENCE,
    HEARD,
    Account,
    Delegation,
    Heard,
    PermanentError,
    ProviderError,
    ReconnectRequired,
    TemporaryError,
)
from providers.http import Http
from service.connections import Connection
from service.endpoint import Tokens
from service.grants import KEPT, Allowed, Grants, Source, Trouble, grant_key
from service.oauth import IDLE, Broker, idle
from service.store import Store, StoreUnavailable
from service.vault import Vault
from tests.acme import AcmeSettings
from tests.authority import CLIENT
from tests.chaos.renewer import PUBLIC, VAULT, broker
from tests.servers import Misbehaviour, RawServer, Reply, http
from tests.stores import StoreServer
from tests.waiting import outage, stand_still, wait_until

GRANT = "a" * 32
NEW = http(200, json.dumps({"access_token": "new", "refresh_token": "r2", "expires_in": 3600, "scope": "a b"}))
OLD = Tokens("old", "r1", 3600, ("openid",))
Bench = Callable[..., tuple[Broker, Source]]


@pytest.fixture
async def bench(store: Store) -> AsyncIterator[Bench]:
    """Brokers of as many processes as a test wants, at one vendor, for one grant."""
    clients: list[Http] = []

    def process(vendor: RawServer, **more: Any) -> tuple[Broker, Source]:
        clients.append(Http(connect=10.0, read=more.pop("read", 10.0), deadline=30.0))
        here, at = broker(more.pop("store", store), clients[-1], f"{vendor.url}/oauth", more.pop("lock", 30.0))
        oauth = replace(at.oauth, rotates=more.pop("rotates", True))
        return here, Source(replace(at, oauth=oauth), GRANT, at.client)

    yield process
    await asyncio.gather(*(client.close() for client in clients))


async def granted(store: Store, tokens: Tokens = OLD, *, client: str = CLIENT) -> Grants:
    """A grant that a person gave."""
    grants = Grants(store, VAULT)
    await grants.put(GRANT, tokens, "zoom", client, "anna")
    return grants


async def due(store: Store) -> Grants:
    """The same, with a token that has run out."""
    grants = await granted(store)
    await store.execute("HSET", grant_key(GRANT), "expires", "0")
    return grants


async def failure(broker: Broker, source: Source, refused: str | None = None) -> ProviderError:
    """The error a caller gets."""
    with pytest.raises(ProviderError) as caught:
        await broker.token(source, refused)
    return caught.value


async def test_a_token_that_is_good_is_used_and_nobody_is_asked(store: Store, bench: Bench) -> None:
    await granted(store)
    async with RawServer(NEW) as vendor:
        assert await (one := bench(vendor))[0].token(one[1]) == "old"
        assert vendor.requests == []


async def test_a_renewal_asks_as_the_standard_says_and_stores_before_it_answers(store: Store, bench: Bench) -> None:
    grants = await due(store)
    async with RawServer(NEW) as vendor:
        here, source = bench(vendor)
        assert await here.token(source) == "new"
    (request,) = vendor.requests
    assert request.startswith(b"POST /oauth/token HTTP/1.1")
    assert b"authorization: basic " in request.lower()
    assert request.endswith(b"grant_type=refresh_token&refresh_token=r1")
    stored = await grants.look(GRANT)
    assert grants.open(stored, "zoom") == ("new", "r2")
    assert (stored.version, stored.scopes, stored.tries, stored.client_id) == (2, ("a", "b"), 0, CLIENT)


async def test_many_processes_ask_once(store: Store, bench: Bench) -> None:
    await due(store)
    async with RawServer(NEW) as vendor:
        processes = [bench(vendor) for _ in range(8)]
        asked = [here.token(source) for here, source in processes for _ in range(25)]
        assert set(await asyncio.gather(*asked)) == {"new"}
        assert len(vendor.requests) == 1


async def test_a_refused_token_is_renewed_once_for_all_whom_it_was_refused(store: Store, bench: Bench) -> None:
    await granted(store)
    async with RawServer(NEW) as vendor:
        processes = [bench(vendor) for _ in range(3)]
        asked = [here.token(source, refused="old") for here, source in processes for _ in range(10)]
        assert set(await asyncio.gather(*asked)) == {"new"}
        assert len(vendor.requests) == 1


async def test_a_caller_that_gives_up_does_not_stop_the_renewal(store: Store, bench: Bench) -> None:
    grants = await due(store)
    async with RawServer(NEW) as vendor:
        here, source = bench(vendor)
        caller = asyncio.create_task(here.token(source))
        await vendor.arrived.wait()
        caller.cancel()
        await here.drain(5)
    assert grants.open(await grants.look(GRANT), "zoom")[0] == "new"


async def test_a_renewal_is_for_all_whatever_the_first_who_asked_may_do(store: Store, bench: Bench) -> None:
    await due(store)
    async with RawServer(NEW) as vendor:
        here, source = bench(vendor)
        fenced, watching = FENCE.set(lambda: False), HEARD.set(heard := Heard())
        assert await here.token(source) == "new"
        FENCE.reset(fenced)
        HEARD.reset(watching)
    assert heard == Heard()


async def test_new_tokens_outlive_a_store_that_is_away(bench: Bench) -> None:
    """The vendor gives a refresh token out once: it is kept in hand until the store is back."""
    async with StoreServer() as server:
        store = await Store.open(server.url)
        grants = await due(store)
        async with RawServer(NEW) as vendor:
            here, source = bench(vendor, store=store)
            asked = asyncio.create_task(here.token(source))
            await vendor.arrived.wait()
            server.kill()
            await outage(0.5)
            await server.start()
            assert await asked == "new"
        assert grants.open(await grants.look(GRANT), "zoom") == ("new", "r2")
        await store.close()


async def _anna(*_: object) -> Account:
    return Account("anna", "Anna")


async def test_what_a_person_granted_is_kept_once_however_often_that_is_tried(
    store: Store, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer was lost, and by the next try another process has renewed it: the older tokens are of no use."""
    call, lost = store.call, False

    async def loses_an_answer(script: Any, keys: Any, words: Any) -> Any:
        nonlocal lost
        answer = await call(script, keys, words)
        if words[0] == "save" and not lost:
            lost = True
            grants = Grants(store, VAULT)
            assert await grants.renewed(keys[0].removeprefix("vm:grant:"), 1, Tokens("newer", "r9", 60, None), "zoom")
            raise StoreUnavailable("The store is unavailable: it did not answer in time.")
        return answer

    async with RawServer(NEW) as vendor:
        here, source = bench(vendor)
        assert source.client
        at = replace(source.vendor, oauth=replace(source.vendor.oauth, identify=_anna))
        monkeypatch.setattr(store, "call", loses_an_answer)
        granted = await here.exchange(at, source.client, "code", "verifier")
        monkeypatch.undo()
    grants = Grants(store, VAULT)
    assert lost
    assert grants.open(await grants.look(granted.grant), "zoom") == ("newer", "r9")


async def test_of_two_who_grant_at_the_same_time_a_repetition_does_not_bring_the_older_back(store: Store) -> None:
    grants = Grants(store, VAULT)
    for nonce, refresh in (("1" * 16, "r1"), ("2" * 16, "r2"), ("1" * 16, "r1")):
        assert await grants.put(GRANT, Tokens("a", refresh, 60, None), "zoom", CLIENT, "anna", nonce)
    assert grants.open(await grants.look(GRANT), "zoom") == ("a", "r2")


class Frozen(Grants):
    """Grants of a process that stands still for an hour while it keeps new tokens for the first time."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(store, VAULT)
        self._patch, self.went_on = monkeypatch, False

    async def renewed(self, grant: str, version: int, tokens: Tokens, provider: str, *, kept: float = KEPT) -> bool:
        if not self.went_on:
            self.went_on = True
            stand_still(self._patch, 3600)
            raise StoreUnavailable("The store is unavailable: it did not answer in time.")
        return await super().renewed(grant, version, tokens, provider, kept=kept)


async def test_new_tokens_outlive_a_process_that_stands_still(
    store: Store, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    grants = await due(store)
    async with RawServer(NEW) as vendor:
        _, source = bench(vendor)
        frozen = Frozen(store, monkeypatch)
        assert await Broker(frozen, {"zoom": source.vendor}, PUBLIC).token(source) == "new"
    assert frozen.went_on
    assert grants.open(await grants.look(GRANT), "zoom") == ("new", "r2")


LOST: list[Reply] = [http(502), http(504), Misbehaviour.DROP, http(200, "not json"), http(200, "{}")]


async def test_while_the_vendor_is_down_a_token_that_is_still_good_is_used(store: Store, bench: Bench) -> None:
    await granted(store, replace(OLD, life=600))
    await store.execute("HINCRBY", grant_key(GRANT), "expires", -560_000)  # it is early, but not yet late
    async with RawServer(http(503)) as vendor:
        here, source = bench(vendor)
        assert await here.token(source) == "old"
        assert len(vendor.requests) == 1


INVALID_GRANT = http(400, json.dumps({"reason": "Invalid Token!", "error": "invalid_grant"}))


async def test_a_refused_refresh_token_is_dead_and_nobody_asks_with_it_again(store: Store, bench: Bench) -> None:
    await due(store)
    async with RawServer(INVALID_GRANT) as vendor:
        here, source = bench(vendor)
        error = await failure(here, source)
        assert isinstance(error, ReconnectRequired)
        assert "no longer accepts" in error.text
        assert "/connect/zoom" in error.text
        await failure(bench(vendor)[0], source)
        assert len(vendor.requests) == 1


@pytest.mark.parametrize("reply", LOST, ids=str)
async def test_a_refresh_token_whose_answer_was_lost_is_never_sent_again(
    store: Store, bench: Bench, reply: Reply
) -> None:
    """The vendor may have used it; everybody is told so, in every process."""
    grants = await due(store)
    async with RawServer(reply, NEW) as vendor:
        here, source = bench(vendor)
        error = await failure(here, source)
        assert isinstance(error, ReconnectRequired)
        assert "lost in a crash or an outage" in error.text
        assert "/connect/zoom" in error.text
        assert (await failure(bench(vendor)[0], source)).text == error.text
        assert len(vendor.requests) == 1
    assert (await grants.look(GRANT)).dead == error.text


async def test_after_a_loss_the_access_token_is_used_until_it_is_refused_or_ends(store: Store, bench: Bench) -> None:
    await granted(store, replace(OLD, life=600))
    await store.execute("HINCRBY", grant_key(GRANT), "expires", -560_000)
    async with RawServer(Misbehaviour.DROP, NEW) as vendor:
        here, source = bench(vendor)
        assert [await here.token(source) for _ in range(3)] == ["old"] * 3
        assert isinstance(await failure(here, source, refused="old"), ReconnectRequired)
        assert await here.token(source) == "old"
        await store.execute("HSET", grant_key(GRANT), "expires", "0")
        assert isinstance(await failure(here, source), ReconnectRequired)
        assert len(vendor.requests) == 1


@pytest.mark.parametrize("reply", LOST, ids=str)
async def test_a_vendor_that_does_not_rotate_is_asked_again_for_a_lost_answer(
    store: Store, bench: Bench, reply: Reply
) -> None:
    grants = await due(store)
    async with RawServer(reply, NEW) as vendor:
        here, source = bench(vendor, rotates=False)
        assert isinstance(await failure(here, source), TemporaryError)
        await store.execute("HINCRBY", grant_key(GRANT), "held", 60_000)
        waiting = await failure(bench(vendor)[0], source)
        assert isinstance(waiting, TemporaryError)
        assert waiting.retry_after
        assert len(vendor.requests) == 1
        stored = await grants.look(GRANT)
        assert (stored.dead, stored.version, stored.tries) == (None, 1, 1)
        await store.execute("HDEL", grant_key(GRANT), "held")
        assert await here.token(source) == "new"


@pytest.mark.parametrize(
    ("reply", "well"), [(http(500), False), (http(503), False), (http(429, retry_after="7"), True)], ids=str
)
async def test_a_vendor_that_puts_us_off_used_no_token_and_is_asked_again_later(
    store: Store, bench: Bench, reply: bytes, well: bool
) -> None:
    """One that wants fewer calls is not unwell, whoever hears of it."""
    grants = await due(store)
    async with RawServer(reply, NEW) as vendor:
        here, source = bench(vendor)
        first = await failure(here, source)
        await store.execute("HINCRBY", grant_key(GRANT), "held", 60_000)
        for error in (first, await failure(bench(vendor)[0], source)):
            assert isinstance(error, TemporaryError)
            assert (bool(error.retry_after), error.well) == (True, well)
        assert len(vendor.requests) == 1
        stored = await grants.look(GRANT)
        assert (stored.dead, stored.version, stored.tries) == (None, 1, 0)
        await store.execute("HDEL", grant_key(GRANT), "held")
        assert await here.token(source) == "new"


async def test_a_vendor_that_cannot_be_reached_costs_no_grant(store: Store, bench: Bench) -> None:
    grants = await due(store)
    async with RawServer(NEW) as vendor:
        here, source = bench(vendor)
    assert isinstance(await failure(here, source), TemporaryError)
    stored = await grants.look(GRANT)
    assert (stored.dead, stored.tries) == (None, 0)


async def test_a_refusal_of_tokens_that_were_replaced_meanwhile_kills_nothing(store: Store, bench: Bench) -> None:
    """A person connects the account again while a renewal of the old tokens is under way."""
    grants = await due(store)
    async with RawServer(INVALID_GRANT) as vendor:
        here, source = bench(vendor)
        asked = asyncio.create_task(here.token(source))
        await vendor.arrived.wait()
        await grants.put(GRANT, Tokens("fresh", "r9", 3600, None), "zoom", CLIENT, "anna")
        assert await asked == "fresh"
    assert (await grants.look(GRANT)).dead is None


@pytest.mark.parametrize(
    "reply", [http(400, '{"error": "invalid_client"}'), http(401), http(400, '{"error": "unauthorized_client"}')]
)
async def test_a_wrong_client_is_the_operators_problem_and_costs_no_grant(
    store: Store, bench: Bench, reply: bytes
) -> None:
    grants = await due(store)
    async with RawServer(reply, NEW) as vendor:
        here, source = bench(vendor)
        error = await failure(here, source)
        assert isinstance(error, PermanentError)
        assert (error.who_can_fix, "client id or secret" in error.text) == ("operator", True)
        assert (await grants.look(GRANT)).dead is None
        await store.execute("HDEL", grant_key(GRANT), "held")
        assert await here.token(source) == "new"


async def test_a_grant_of_another_client_is_not_tried(store: Store, bench: Bench) -> None:
    await granted(store, client="the-client-before")
    async with RawServer(NEW) as vendor:
        here, source = bench(vendor)
        assert isinstance(await failure(here, source), ReconnectRequired)
        assert isinstance(await failure(here, replace(source, grant="b" * 32)), ReconnectRequired)
        unset = await failure(here, replace(source, client=None))
        assert isinstance(unset, PermanentError)
        assert vendor.requests == []


async def test_a_vendor_that_does_not_rotate_leaves_the_refresh_token(store: Store, bench: Bench) -> None:
    grants = await due(store)
    async with RawServer(http(200, '{"access_token": "new"}')) as vendor:
        here, source = bench(vendor)
        assert await here.token(source) == "new"
    assert grants.open(await grants.look(GRANT), "zoom") == ("new", "r1")
    assert (await grants.look(GRANT)).scopes == ("openid",)


@pytest.mark.parametrize("rotates", [True, False])
async def test_what_a_dead_process_may_have_sent_is_sent_again_only_where_that_is_harmless(
    store: Store, bench: Bench, rotates: bool
) -> None:
    grants = await due(store)
    assert (await grants.lock(GRANT, "somebody", 1, 0.5)).fence
    async with RawServer(NEW) as vendor:
        here, source = bench(vendor, rotates=rotates)
        if not rotates:
            assert await here.token(source) == "new"
            return
        error = await failure(here, source)
        assert isinstance(error, ReconnectRequired)
        assert "lost in a crash" in error.text
        assert vendor.requests == []


async def test_a_process_that_cannot_read_the_tokens_clears_no_mark(store: Store, bench: Bench) -> None:
    grants = await due(store)
    assert (await grants.lock(GRANT, "somebody", 1, 0.01)).fence
    blind = Grants(store, Vault((("other", b"o" * 32),)))
    async with RawServer(NEW) as vendor:
        here, source = bench(vendor)
        without_key = Broker(blind, here.vendors, "https://x")
        with contextlib.suppress(ProviderError):
            await without_key.renew(source, 1)
        await store.execute("HDEL", grant_key(GRANT), "held")
        assert isinstance(await failure(here, source), ReconnectRequired)
        assert vendor.requests == []


async def test_who_did_not_hear_that_he_has_the_lock_takes_it_up_again(store: Store) -> None:
    """He sent nothing, so nothing is lost, even if his lock has ended meanwhile."""
    grants = await due(store)
    unheard = await grants.lock(GRANT, "somebody", 1, 0.01)
    await wait_until(lambda: ended(store))
    again = await grants.lock(GRANT, "somebody", 1, 30)
    assert (again.fence, again.tries) == (unheard.fence, 1)
    assert not (await grants.lock(GRANT, "another", 1, 5)).fence


async def ended(store: Store) -> bool:
    """Whether the grant's lock is over by the store's clock."""
    seconds, micros = await store.execute("TIME")
    return int(await store.execute("HGET", grant_key(GRANT), "lock")) < int(seconds) * 1000 + int(micros) // 1000


async def test_a_zombie_gives_back_no_lock_but_its_own(store: Store) -> None:
    grants = await due(store)
    zombie = await grants.lock(GRANT, "zombie", 1, 0.05)
    await wait_until(lambda: locked(grants, "heir"))
    heir = await grants.lock(GRANT, "heir", 1, 30)
    assert heir.fence > zombie.fence
    await grants.release(GRANT, zombie.fence, known=True, hold=0, trouble=Trouble("", None))
    assert not (await grants.lock(GRANT, "third", 1, 5)).fence


async def locked(grants: Grants, owner: str) -> bool:
    """Try to lock the grant; a second time by the same owner changes nothing."""
    return bool((await grants.lock(GRANT, owner, 1, 30)).fence)


async def test_what_a_vendor_gave_to_a_zombie_is_kept_if_nobody_has_newer(store: Store) -> None:
    """It was thought dead, and its heir was refused; the vendor's latest word counts."""
    grants = await due(store)
    await grants.bury(GRANT, 1, "thought dead")
    assert await grants.renewed(GRANT, 1, Tokens("late", "r5", 3600, None), "zoom")
    assert (await grants.look(GRANT)).dead is None
    assert not await grants.renewed(GRANT, 1, Tokens("later", "r6", 3600, None), "zoom")


async def test_a_grant_that_was_removed_does_not_come_back(store: Store, bench: Bench) -> None:
    grants = await due(store)
    async with RawServer(NEW) as vendor:
        here, source = bench(vendor)
        asked = asyncio.create_task(here.token(source))
        await vendor.arrived.wait()
        await grants.remove(GRANT)
        with pytest.raises(ReconnectRequired):
            await asked
    assert not await store.execute("EXISTS", grant_key(GRANT))


async def test_idle_grants_have_their_own_moment_within_a_week(store: Store) -> None:
    grants = await granted(store)
    grant = await grants.look(GRANT)
    assert not idle(replace(grant, idle_for=IDLE - 43_200))
    assert idle(replace(grant, idle_for=7 * 86_400.0))
    assert not idle(replace(grant, idle_for=7 * 86_400.0, dead="gone"))


APP = AcmeSettings.model_validate(
    {"url": "http://127.0.0.1:1", "account_id": "our-account", "client_id": "app", "client_secret": "s3cret"}
)


async def test_an_app_of_ones_own_account_shares_one_token_among_all_processes(store: Store, bench: Bench) -> None:
    async with RawServer(http(200, '{"access_token": "app-token", "expires_in": 3600, "scope": "x"}')) as vendor:
        processes = [bench(vendor) for _ in range(4)]
        row = Connection("c1", "zoom", APP.method, "App", APP.account, "")
        source = processes[0][0].source(row, APP)
        assert source
        asked = [here.token(source) for here, _ in processes for _ in range(10)]
        assert set(await asyncio.gather(*asked)) == {"app-token"}
        (request,) = vendor.requests
        assert request.endswith(b"grant_type=account_credentials&account_id=our-account")
    key = grant_key(source.grant)
    assert 0 < int(await store.execute("TTL", key)) <= 3600
    assert "app-token" not in str(await store.execute("HGETALL", key))


async def test_what_a_connection_can_ask_for_itself_is_asked_for_when_its_key_is_gone(
    store: Store, bench: Bench
) -> None:
    replies = [http(200, json.dumps({"access_token": token, "expires_in": 3600})) for token in ("first", "second")]
    async with RawServer(*replies) as vendor:
        here, _ = bench(vendor)
        source = here.source(Connection("c1", "zoom", APP.method, "App", APP.account, ""), APP)
        assert source
        assert await here.token(source) == "first"
        sealed = Vault([("k0", bytes(32))]).seal("{}", "token")
        await store.execute("HSET", grant_key(source.grant), "token", sealed)
        assert await here.token(source) == "second"


async def test_each_person_that_a_connection_acts_for_has_a_token_of_its_own(store: Store, bench: Bench) -> None:
    replies = [http(200, json.dumps({"access_token": token, "expires_in": 3600})) for token in ("anna's", "ben's")]
    async with RawServer(*replies) as vendor:
        here, granted = bench(vendor)
        own = here.source(Connection("c1", "zoom", APP.method, "App", APP.account, ""), APP)
        assert own
        app = here.authorizer(own)
        anna, ben = (app.on_behalf_of(Delegation(who, ("meet",))) for who in ("anna@x", "ben@x"))
        assert (await anna.token(), await ben.token(), await anna.token()) == ("anna's", "ben's", "anna's")
        assert await app.on_behalf_of(Delegation("Anna@X", ("meet",))).token() == "anna's"
        assert granted.on_behalf_of(Delegation("anna@x", ("meet",))) == granted


async def test_other_settings_of_an_app_get_tokens_of_their_own_for_every_person(store: Store, bench: Bench) -> None:
    replies = [http(200, json.dumps({"access_token": token, "expires_in": 3600})) for token in ("old", "new")]
    anna = Delegation("anna@x", ("meet",))
    async with RawServer(*replies) as vendor:
        here, _ = bench(vendor)
        for envelope, token in (("1", "old"), ("1", "old"), ("2", "new"), ("2", "new")):
            source = here.source(Connection("c1", "zoom", APP.method, "App", APP.account, envelope), APP)
            assert source
            assert await here.authorizer(source).on_behalf_of(anna).token() == token


async def test_what_an_account_once_allowed_is_remembered_of_each_grant_after_another(store: Store) -> None:
    grants = Grants(store, VAULT)
    for scopes in (("a", "b"), ("a", "c"), None):
        await grants.put(GRANT, Tokens("a", "r", 60, scopes), "zoom", CLIENT, "anna")
        assert (await grants.allowed([GRANT]))[GRANT].scopes == (scopes or ())
    assert (await grants.allowed([GRANT]))[GRANT].had == ("a", "b", "c")
    await grants.put("other", Tokens("a", "r", 60, ("d",)), "zoom", "another-client", "anna")
    await grants.inherit("other", GRANT)
    assert (await grants.allowed(["other"]))["other"] == Allowed(("d",), ("d", "a", "b", "c"))


async def test_an_app_too_asks_no_sooner_than_its_vendor_allows(store: Store, bench: Bench) -> None:
    async with RawServer(http(429, Retry_After="3600")) as vendor:
        here, _ = bench(vendor)
        source = here.source(Connection("c1", "zoom", APP.method, "App", APP.account, ""), APP)
        assert source
        await failure(here, source)
        assert await store.execute("TTL", grant_key(source.grant)) >= 3600


@pytest.mark.parametrize("reply", [http(400, '{"error": "invalid_grant"}'), http(400, '{"error": "invalid_client"}')])
async def test_wrong_settings_of_an_app_are_the_admins_problem(store: Store, bench: Bench, reply: bytes) -> None:
    async with RawServer(reply) as vendor:
        here, _ = bench(vendor)
        source = here.source(Connection("c1", "zoom", APP.method, "App", APP.account, ""), APP)
        assert source
        error = await failure(here, source)
        assert isinstance(error, PermanentError)
        assert error.who_can_fix == "admin"


async def test_a_renewal_is_the_same_on_redis(redis_url: str, bench: Bench) -> None:
    store = await Store.open(redis_url)
    await store.execute("FLUSHALL")
    grants = await due(store)
    async with RawServer(http(503), Misbehaviour.DROP, NEW) as vendor:
        here, source = bench(vendor, store=store)
        assert isinstance(await failure(here, source), TemporaryError)
        await store.execute("HDEL", grant_key(GRANT), "held")
        assert isinstance(await failure(here, source), ReconnectRequired)
        await due(store)
        assert await here.token(source) == "new"
    assert grants.open(await grants.look(GRANT), "zoom") == ("new", "r2")
    await store.close()


async def test_nothing_secret_shows(store: Store, bench: Bench) -> None:
    async with RawServer(NEW) as vendor:
        here, _ = bench(vendor)
        source = here.source(Connection("c1", "zoom", APP.method, "App", APP.account, ""), APP)
        grants = await granted(store)
        shown = f"{source!r} {await grants.look(GRANT)!r} {OLD!r} {here.authorizer(source)!r}"  # type: ignore[arg-type]
        raw = str(await store.execute("HGETALL", grant_key(GRANT)))
    assert [secret for secret in ("s3cret", "acme-client-secret", "'old'", "'r1'") if secret in shown + raw] == []
