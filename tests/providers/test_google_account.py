"""Google's accounts: settings, options, what a grant says of itself, why it died, and a service account's claim."""

from typing import Any

import jwt
import pytest
from pydantic import ValidationError

from providers.base import Delegation, PermanentError
from providers.google_account import (
    AUDIENCE,
    AUTH,
    EVENTS,
    OAUTH,
    ROOMS,
    SPACES,
    GoogleOptions,
    GoogleSettings,
    account_of,
    identify,
    why_dead,
    why_refused,
)
from providers.google_meet import PROVIDER
from providers.http import Http
from service.endpoint import missing, wanted
from tests.fakes.google_server import GoogleServer
from tests.providers.googling import ANNA, BEN, own

DAY = 86_400.0


class TestServiceAccount:
    """A key file as Google's console gives it out."""

    async def test_a_key_is_all_that_is_needed_beside_a_person(self, google: GoogleServer) -> None:
        key = await google.key()
        made = GoogleSettings.model_validate({"key": key, "subject": ANNA})
        assert (made.method, made.account) == ("service_account", key["client_email"])
        again = GoogleSettings.model_validate(made.reveal())
        assert again == made
        assert key["private_key"] not in repr(made) + str(made) + str(made.model_dump())

    async def test_a_claim_is_for_one_person_for_an_hour_and_for_what_is_needed(self, google: GoogleServer) -> None:
        made = GoogleSettings.model_validate({"key": await google.key(), "subject": ANNA})
        body = made.token_request(Delegation(BEN, (EVENTS, ROOMS)))
        assert body
        claim, header = body["assertion"], jwt.get_unverified_header(body["assertion"])
        claims = jwt.decode(claim, options={"verify_signature": False})
        assert (header["alg"], header["kid"]) == ("RS256", "key-1")
        assert (claims["sub"], claims["aud"], claims["exp"] - claims["iat"]) == (BEN, AUDIENCE, 3600)
        assert claims["scope"] == f"{AUTH}{EVENTS} {AUTH}{ROOMS}"
        assert GoogleSettings.model_validate(own(SPACES)).token_request() is None

    @pytest.mark.parametrize("without", ["subject", "private_key", "client_email"])
    async def test_what_is_missing_is_said_and_the_key_is_not_shown(self, google: GoogleServer, without: str) -> None:
        key = await google.key()
        given: dict[str, Any] = {"key": {k: v for k, v in key.items() if k != without}, "subject": ANNA}
        given.pop(without, None)
        with pytest.raises(ValidationError, match="service account needs its key") as caught:
            GoogleSettings.model_validate(given)
        assert "PRIVATE" not in str(caught.value)

    async def test_a_key_that_is_none_is_refused(self, google: GoogleServer) -> None:
        key = {**await google.key(), "private_key": "very-secret-but-no-key"}
        with pytest.raises(ValidationError, match="no private key that can be read") as caught:
            GoogleSettings.model_validate({"key": key, "subject": ANNA})
        assert "very-secret" not in str(caught.value)

    @pytest.mark.parametrize("key", ["no JSON", "{", "[" * 100_000])
    def test_a_key_file_that_cannot_be_read_is_refused(self, key: str) -> None:
        with pytest.raises(ValidationError, match="key is no JSON"):
            GoogleSettings.model_validate({"key": key, "subject": ANNA})

    @pytest.mark.parametrize("subject", ["anna", "anna@", "a b@x", "a@x,b@x"])
    async def test_the_person_is_an_address(self, google: GoogleServer, subject: str) -> None:
        with pytest.raises(ValidationError, match="subject"):
            GoogleSettings.model_validate({"key": await google.key(), "subject": subject})


class TestOptions:
    """What an office may choose."""

    @pytest.mark.parametrize(
        "wrong", [{"mode": "room"}, {"access": "open"}, {"waiting_room": True}, {"mode": 1}], ids=str
    )
    def test_a_wrong_one_is_refused_by_name(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            GoogleOptions.model_validate(wrong)

    def test_rooms_that_everybody_may_enter_are_usual(self) -> None:
        assert (GoogleOptions().mode, GoogleOptions().access) == (None, "OPEN")
        assert GoogleSettings.model_validate(own(SPACES, EVENTS)).mode == "space"


class TestGrant:
    """Who a new grant is for, and what it allows."""

    @pytest.mark.parametrize(
        ("scopes", "mode", "granted"),
        [
            ((SPACES,), "space", [SPACES]),
            ((EVENTS,), "calendar", [EVENTS]),
            ((EVENTS, ROOMS), "calendar", [EVENTS, ROOMS]),
            ((SPACES, EVENTS, ROOMS), "space", [SPACES, EVENTS, ROOMS]),
        ],
    )
    async def test_an_account_is_known_by_its_id_token(
        self, scopes: tuple[str, ...], mode: str, granted: list[str]
    ) -> None:
        claims = {"sub": "123", "email": ANNA, "hd": "example.org"}
        token = {"claims": claims, "scope": " ".join(["openid", *(f"{AUTH}{scope}" for scope in scopes)])}
        client = Http()
        account = await identify(client, token)
        await client.close()
        assert (account.id, account.name) == ("123", ANNA)
        made = GoogleSettings.model_validate(account.settings)
        assert (made.method, made.account, made.mode, list(made.granted)) == ("oauth", ANNA, mode, granted)
        assert made.opens_rooms == (ROOMS in scopes)

    @pytest.mark.parametrize("claims", [None, {}, {"sub": 7}, "x"])
    async def test_an_answer_that_names_nobody_connects_nobody(self, claims: Any) -> None:
        client = Http()
        with pytest.raises(PermanentError, match="whose account"):
            await identify(client, {"claims": claims})
        await client.close()

    @pytest.mark.parametrize(
        ("before", "after", "mode", "makes"),
        [
            ((EVENTS,), (SPACES, EVENTS), "calendar", "calendar"),
            ((SPACES,), (SPACES, EVENTS), "space", "space"),
            ((EVENTS,), (SPACES,), "calendar", "space"),
            ((SPACES, EVENTS), (EVENTS,), "space", "calendar"),
        ],
    )
    def test_connected_again_it_keeps_its_mode_and_makes_what_it_may(
        self, before: tuple[str, ...], after: tuple[str, ...], mode: str, makes: str
    ) -> None:
        first, second = (
            GoogleSettings.model_validate(
                account_of({"sub": "1"}, {"scope": " ".join(f"{AUTH}{name}" for name in names)}).settings
            )
            for names in (before, after)
        )
        again = second.again(first)
        assert (again.mode, again.makes, again.granted) == (mode, makes, after)

    def test_a_new_connection_is_for_what_was_asked_whatever_was_granted_before(self) -> None:
        token = {"scope": f"{AUTH}{SPACES} {AUTH}{EVENTS}"}
        asked = [{**token, "feature": feature} for feature in ("space", "calendar", "both")]
        assert [account_of({"sub": "1"}, each).settings["mode"] for each in asked] == ["space", "calendar", "space"]

    def test_an_account_outside_workspace_is_warned_about(self) -> None:
        (warning,) = GoogleSettings.model_validate({**own(SPACES), "workspace": None}).warnings()
        assert "60 minutes" in warning


class TestScopes:
    """Nobody is asked for more than the kind of meeting needs."""

    @pytest.mark.parametrize(
        ("feature", "asked"),
        [("space", {SPACES}), ("calendar", {EVENTS, ROOMS}), ("both", {SPACES, EVENTS, ROOMS}), (None, {SPACES})],
    )
    def test_each_kind_has_its_own(self, feature: str | None, asked: set[str]) -> None:
        names = {scope.any_of[0] for scope in wanted(OAUTH, feature)}
        assert names == {"openid", "email", *(f"{AUTH}{name}" for name in asked)}

    def test_what_is_missing_is_so_for_what_was_wanted(self) -> None:
        base = ["openid", f"{AUTH}userinfo.email"]
        assert missing(OAUTH, [*base, f"{AUTH}{SPACES}"]) == ()
        assert missing(OAUTH, [*base, f"{AUTH}{EVENTS}"]) == ()
        assert [scope.need for scope in missing(OAUTH, [*base, f"{AUTH}{SPACES}"], "both")] == ["make calendar entries"]
        assert [scope.need for scope in missing(OAUTH, base)] == ["make rooms"]

    def test_what_was_granted_once_is_needed_still_unless_it_is_optional(self) -> None:
        rooms = ["openid", f"{AUTH}userinfo.email", f"{AUTH}{SPACES}"]
        once = [*rooms, f"{AUTH}{EVENTS}", f"{AUTH}{ROOMS}"]
        assert [scope.need for scope in missing(OAUTH, rooms, "space", once)] == ["make calendar entries"]
        assert missing(OAUTH, once, "space", once) == ()

    def test_the_endpoints_are_googles_own(self) -> None:
        assert PROVIDER.oauth is OAUTH
        for address in (OAUTH.authorization_endpoint, OAUTH.token_endpoint, OAUTH.revocation_endpoint):
            assert ".google" in (address or "")
        assert OAUTH.parameters == {
            "access_type": "offline",
            "prompt": "consent",
            "include_granted_scopes": "true",
        }


class TestEnd:
    """Google always says the same; the clock knows more."""

    @pytest.mark.parametrize(
        ("age", "idle", "said"),
        [
            (7 * DAY + 60, 3600, "in Testing"),
            (13 * DAY, 6.5 * DAY, "in Testing"),
            (6 * DAY, 3600, "took it back"),
            (8 * DAY, 3600, "took it back"),
            (400 * DAY, 190 * DAY, "six months"),
            (60, 60, "took it back"),
        ],
    )
    def test_when_it_was_made_and_used_says_why_it_is_over(self, age: float, idle: float, said: str) -> None:
        assert said in (why_dead(age, idle) or "")

    @pytest.mark.parametrize(
        ("error", "description", "said"),
        [
            ("unauthorized_client", "Client is unauthorized", "Domain-wide delegation"),
            ("invalid_grant", "Invalid email or User ID", "no person of this address"),
            ("invalid_grant", "Invalid JWT Signature.", "new key"),
            ("invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes)", "clock"),
            ("disabled_client", "The OAuth client was disabled.", "new key"),
            ("admin_policy_enforced", "", "admin must trust it"),
            ("server_error", "", None),
        ],
    )
    def test_a_refusal_is_explained(self, error: str, description: str, said: str | None) -> None:
        text = why_refused(error, description)
        assert said in text if said and text else text is said
