"""Zoom's accounts: settings, options, and what a new grant says of itself."""

from typing import Any

import pytest
from pydantic import ValidationError

from providers.base import ReconnectRequired, TemporaryError
from providers.http import Http
from providers.zoom import PROVIDER
from providers.zoom_account import API_URL, OAUTH, ZoomOptions, ZoomSettings, account_of
from tests.fakes.zoom_server import ZoomServer
from tests.fakes.zoom_state import CLASSIC, GRANULAR
from tests.providers.zooming import ADMIN, ANNA, OWN, S2S
from tests.servers import RawServer, http


class TestSettings:
    """A Server-to-Server app, or an account a person connected."""

    @pytest.mark.parametrize(
        ("fields", "method", "account", "names_hosts"),
        [
            (OWN, "oauth", ANNA, False),
            (ADMIN, "oauth", ANNA, True),
            (S2S, "server_to_server", "account-1", True),
            ({"user_id": "abc"}, "oauth", "abc", False),
        ],
    )
    def test_what_was_entered_says_which(
        self, fields: dict[str, Any], method: str, account: str, names_hosts: bool
    ) -> None:
        made = ZoomSettings.model_validate(fields)
        assert (made.method, made.account, made.names_hosts) == (method, account, names_hosts)

    def test_a_server_to_server_app_asks_for_tokens_with_zooms_own_grant(self) -> None:
        wanted = {"grant_type": "account_credentials", "account_id": "account-1"}
        assert ZoomSettings.model_validate(S2S).token_request() == wanted
        assert ZoomSettings.model_validate(OWN).token_request() is None

    @pytest.mark.parametrize("missing", ["account_id", "client_id", "client_secret"])
    def test_a_server_to_server_app_needs_all_three(self, missing: str) -> None:
        with pytest.raises(ValidationError, match="needs account_id, client_id and client_secret"):
            ZoomSettings.model_validate({name: value for name, value in S2S.items() if name != missing})

    def test_nothing_at_all_says_what_to_give(self) -> None:
        with pytest.raises(ValidationError, match="or connect an account in the browser"):
            ZoomSettings.model_validate({})

    def test_the_secret_shows_nowhere(self) -> None:
        made = ZoomSettings.model_validate(S2S)
        assert "s2s-secret" not in repr(made) + str(made) + str(made.model_dump())
        with pytest.raises(ValidationError) as caught:
            ZoomSettings.model_validate({**S2S, "account_id": 7})
        assert "s2s-secret" not in str(caught.value)

    def test_a_basic_account_of_ones_own_is_warned_about(self) -> None:
        (warning,) = ZoomSettings.model_validate({**OWN, "user_type": 1}).warnings()
        assert "40 minutes" in warning
        assert ZoomSettings.model_validate({**ADMIN, "user_type": 1}).warnings() == []

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("https://api-eu.zoom.us", "https://api-eu.zoom.us/v2"),
            ("https://api-eu.zoom.us/v2/", "https://api-eu.zoom.us/v2"),
            ("https://eu01api.zoom.us", "https://eu01api.zoom.us/v2"),
            ("https://api.zoomgov.com", "https://api.zoomgov.com/v2"),
        ],
    )
    def test_an_address_of_zooms_own_is_taken(self, given: str, kept: str) -> None:
        assert ZoomSettings.model_validate({**OWN, "api_url": given}).api_url == kept

    @pytest.mark.parametrize(
        "given",
        [
            "http://api-eu.zoom.us",
            "https://zoom.us.example.org",
            "https://evilzoom.us",
            "https://api.zoom.us@example.org",
            "https://example.org/zoom.us",
            "https://api.zoom.us:8443",
            "https://api.zoom.us/v2?x=1",
            "https://127.0.0.1",
            "https://api.zoom.us\n.example.org",
            "",
        ],
    )
    def test_any_other_is_refused(self, given: str) -> None:
        with pytest.raises(ValidationError, match="Zoom's own"):
            ZoomSettings.model_validate({**OWN, "api_url": given})


class TestOptions:
    """What an office may choose."""

    @pytest.mark.parametrize(
        "wrong",
        [
            {"waiting_room": "yes"},
            {"auto_recording": "disk"},
            {"alternative_hosts": ["no address"]},
            {"alternative_hosts": ["a@x;b@x"]},
            {"alternative_hosts": "a@x"},
            {"join_before_host": 1},
            {"passcode": "1"},
            {"waiting_room": True, "join_before_host": True},
        ],
        ids=str,
    )
    def test_a_wrong_one_is_refused_by_name(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            ZoomOptions.model_validate(wrong)

    def test_only_what_an_office_said_is_chosen(self) -> None:
        assert ZoomOptions().chosen() == {}
        assert ZoomOptions(opens_before=7).chosen() == {"jbh_time": 10}
        assert ZoomOptions(mute_upon_entry=False).chosen() == {"mute_upon_entry": False}
        assert ZoomOptions(waiting_room=True).chosen() == {"waiting_room": True, "join_before_host": False}


class TestGrant:
    """Who a new grant is for."""

    @staticmethod
    async def identify(zoom: ZoomServer, app: str, **more: Any) -> Any:
        granted = await zoom.control("POST", "grant", {"client_id": app, "user": ANNA})
        token = granted.pop("access_token")
        client = Http(zoom.api_url, headers={"authorization": f"Bearer {token}"})
        try:
            return await OAUTH.identify(client, {**granted, **more})
        finally:
            await client.close()

    async def test_an_account_is_known_by_its_user(self, zoom: ZoomServer) -> None:
        user = await zoom.user(type=1)
        account = await self.identify(zoom, "user-app")
        assert (account.id, account.name) == (user["id"], ANNA)
        assert account.settings == {
            "user_id": user["id"],
            "account_id": "account-1",
            "email": ANNA,
            "user_type": 1,
            "pmi": str(user["pmi"]),
            "admin_managed": False,
        }
        assert ZoomSettings.model_validate(account.settings).warnings()

    async def test_an_admins_scopes_make_it_the_whole_accounts(self, zoom: ZoomServer) -> None:
        assert (await self.identify(zoom, "admin-app")).settings["admin_managed"]

    async def test_where_the_operator_sends_calls_no_answer_leads_away(self, zoom: ZoomServer) -> None:
        account = await self.identify(zoom, "user-app", api_url="https://api-eu.zoom.us")
        assert "api_url" not in account.settings

    @pytest.mark.parametrize(
        ("said", "kept"),
        [
            ("https://api-eu.zoom.us", "https://api-eu.zoom.us/v2"),
            ("https://evil.example", None),
            (7, None),
            (None, None),
        ],
    )
    def test_a_region_is_believed_only_if_it_is_zooms(self, said: Any, kept: str | None) -> None:
        account = account_of({"id": "anna"}, {"api_url": said}, API_URL)
        assert (account.id, account.name, account.settings.get("api_url")) == ("anna", "anna", kept)

    @pytest.mark.parametrize("body", ['{"email": "anna@example.org"}', '{"id": 7}', "[]", "<html>"])
    async def test_an_answer_that_names_nobody_connects_nobody(self, body: str) -> None:
        async with RawServer(http(200, body)) as server:
            client = Http(server.url)
            with pytest.raises(TemporaryError):
                await OAUTH.identify(client, {})
            await client.close()

    async def test_a_token_that_is_refused_asks_for_a_reconnect(self, zoom: ZoomServer) -> None:
        client = Http(zoom.api_url, headers={"authorization": "Bearer wrong"})
        with pytest.raises(ReconnectRequired):
            await OAUTH.identify(client, {})
        await client.close()


def test_scopes_of_every_age_and_kind_of_app_satisfy_every_need() -> None:
    admin, classic = [f"{name}:admin" for name in GRANULAR.values()], CLASSIC.values()
    for granted in (GRANULAR.values(), admin, classic, [f"{name}:admin" for name in classic]):
        assert all(set(scope.any_of) & set(granted) for scope in OAUTH.scopes)
    assert not OAUTH.sends_scopes
    assert OAUTH.client_authentication == "client_secret_basic"


def test_a_single_missing_scope_leaves_a_need_unmet() -> None:
    required = [scope for scope in OAUTH.scopes if not scope.optional]
    for missing in ("create", "update", "delete", "get", "list", "user"):
        granted = {scope for verb, scope in GRANULAR.items() if verb != missing}
        assert [scope.need for scope in required if not set(scope.any_of) & granted] != []


def test_the_endpoints_are_zooms_own() -> None:
    assert PROVIDER.oauth is OAUTH
    for address in (OAUTH.authorization_endpoint, OAUTH.token_endpoint, OAUTH.revocation_endpoint):
        assert (address or "").startswith("https://zoom.us/oauth/")
