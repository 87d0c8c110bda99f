"""Zoom accounts: what a connection is made of, what an office may choose, how a person connects one by OAuth.

The vendor's laws:

- The scopes of an app are fixed where it was made; naming them in the authorization request is an error. Those of apps
  of one person (user-managed) have no suffix, those of apps of an account (admin-managed, Server-to-Server) end in
  `:admin`. Older apps have the classic ones, which allow the same.
- A Zoom user has one grant for one app: who connects again ends the grant before. So a grant is known by its user.
- A token's answer names the account's regional address. It is believed only if it is Zoom's own, and the common
  address works for every account.

Sources: developers.zoom.us, "OAuth for user-managed apps", "Server-to-Server OAuth", "Granular scopes",
"Regional cluster API URL".
"""

import re
import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from providers.base import Account, Delegation, OAuth, Options, ProviderSettings, Scope
from providers.http import Http
from providers.zoom_answers import explain

API_URL = "https://api.zoom.us/v2"
"""Zoom's common address, good for accounts of every region."""
BASIC, BASIC_MINUTES = 1, 40
"""A Basic account's `type`, and after how many minutes Zoom ends its meetings."""
JOIN_EARLY = (5, 10, 15)
"""Minutes before the start at which Zoom can open a meeting; 0 means at any time."""

_ZOOM_HOST = re.compile(r"([a-z0-9-]+\.)*(zoom\.us|zoomgov\.com)")
_Name = Annotated[str, Field(min_length=1, max_length=200)]


def _api_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or not _ZOOM_HOST.fullmatch(parts.netloc) or "?" in value or "#" in value:
        raise ValueError("api_url must be an https address of Zoom's own.")
    return f"https://{parts.netloc}{parts.path.rstrip('/') or '/v2'}"


def _email(value: str) -> str:
    if not re.fullmatch(r"[^\s;,@]+@[^\s;,@]+", value):
        raise ValueError("an e-mail address was expected")
    return value


class ZoomSettings(ProviderSettings):
    """A Server-to-Server app of one's own account, or what Zoom said of the account that a person connected."""

    account_id: _Name | None = Field(default=None, description="The Zoom account's id.")
    client_id: _Name | None = Field(default=None, description="Of a Server-to-Server app: its client id.")
    client_secret: SecretStr | None = Field(default=None, min_length=1, description="And its client secret.")
    user_id: _Name | None = Field(default=None, description="Who connected it; Zoom says so.")
    email: _Name | None = Field(default=None, description="That person's e-mail address.")
    user_type: int | None = Field(default=None, description="1 is a Basic account.")
    pmi: _Name | None = Field(default=None, description="That person's personal meeting id.")
    admin_managed: bool = Field(default=False, description="An admin connected it for all users of the account.")
    api_url: Annotated[str, AfterValidator(_api_url)] | None = Field(
        default=None, description="The account's regional address; without it Zoom's common one, which always works."
    )

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        app = (self.client_id, self.client_secret)
        if any(app) and not (all(app) and self.account_id):
            raise ValueError("a Server-to-Server app needs account_id, client_id and client_secret.")
        if not any(app) and not self.user_id:
            raise ValueError("give account_id, client_id and client_secret, or connect an account in the browser.")
        return self

    @property
    def method(self) -> str:
        """Either "server_to_server" or "oauth"."""
        return "server_to_server" if self.client_secret else "oauth"

    @property
    def account(self) -> str:
        """The e-mail address of who connected it, or the account's id."""
        return self.email or self.user_id or self.account_id or ""

    @property
    def names_hosts(self) -> bool:
        """A meeting's host must be named; otherwise it is who connected the account."""
        return self.admin_managed or self.method == "server_to_server"

    @property
    def account_key(self) -> str:
        """The Zoom account."""
        return self.account_id or self.account

    @property
    def person(self) -> tuple[str, ...]:
        """Their e-mail address and user id."""
        return tuple(name for name in (self.email, self.user_id) if name)

    def warnings(self) -> list[str]:
        """That Basic accounts end every meeting early."""
        if self.user_type == BASIC and not self.names_hosts:
            return [f"Zoom ends every meeting of a Basic account after {BASIC_MINUTES} minutes."]
        return []

    def token_request(self, delegation: Delegation | None = None) -> Mapping[str, str] | None:
        """The grant that only Zoom has, for a Server-to-Server app."""
        if self.method != "server_to_server":
            return None
        return {"grant_type": "account_credentials", "account_id": self.account_id or ""}


class ZoomOptions(Options):
    """What an office may choose for its Zoom meetings."""

    waiting_room: bool = Field(default=False, strict=True, description="The host lets every guest in by hand.")
    join_before_host: bool | None = Field(
        default=None, strict=True, description="Guests get in before the host; null: where there is no waiting room."
    )
    auto_recording: Literal["none", "local", "cloud"] = Field(default="none", description="Where it is recorded.")
    alternative_hosts: tuple[Annotated[str, AfterValidator(_email)], ...] = Field(
        default=(), max_length=10, description="Licensed users of the account who may host as well, by e-mail."
    )
    meeting_authentication: bool = Field(default=False, strict=True, description="Guests must log in to Zoom.")
    mute_upon_entry: bool = Field(default=False, strict=True, description="Guests come in muted.")

    @model_validator(mode="after")
    def _has_one_door(self) -> Self:
        if self.waiting_room and self.join_before_host:
            raise ValueError("waiting_room keeps guests out until the host comes: choose it or join_before_host.")
        return self

    def settings(self) -> dict[str, Any]:
        """All of it in Zoom's words."""
        early = not self.waiting_room if self.join_before_host is None else self.join_before_host
        return {
            "waiting_room": self.waiting_room,
            "join_before_host": early,
            "jbh_time": next((minutes for minutes in JOIN_EARLY if minutes >= self.opens_before), 0),
            "auto_recording": self.auto_recording,
            "alternative_hosts": ";".join(self.alternative_hosts),
            "meeting_authentication": self.meeting_authentication,
            "mute_upon_entry": self.mute_upon_entry,
        }

    def chosen(self) -> dict[str, Any]:
        """Of `settings`, what the office said itself."""
        names = set(self.model_fields_set)
        if names & {"waiting_room", "join_before_host"}:
            names |= {"waiting_room", "join_before_host"}
        if "opens_before" in names:
            names.add("jbh_time")
        return {name: value for name, value in self.settings().items() if name in names}


async def identify(http: Http, token: Mapping[str, Any]) -> Account:
    """Whose account a token is for: GET /users/me, with what the token's answer says of scopes and region.

    Raises: TemporaryError, ReconnectRequired, PermanentError.
    """
    base_url = http.base_url or API_URL
    answer = await http.at(base_url, explain=lambda refused: explain(refused, time.time())).send("GET", "/users/me")
    user = answer.object()
    if not (isinstance(user.get("id"), str) and user["id"]):
        raise answer.unusable("names no user")
    return account_of(user, token, base_url)


def account_of(user: Mapping[str, Any], token: Mapping[str, Any], base_url: str) -> Account:
    """What Zoom said of a user and of a token; the region counts only where the operator chose no address. Pure."""
    learned = {
        "user_id": user["id"],
        "account_id": user.get("account_id"),
        "email": user.get("email"),
        "user_type": user.get("type"),
        "pmi": str(user["pmi"]) if user.get("pmi") else None,
        "admin_managed": any(scope.endswith(":admin") for scope in str(token.get("scope", "")).split()),
        "api_url": _regional(token.get("api_url")) if base_url == API_URL else None,
    }
    settings = {name: value for name, value in learned.items() if value is not None}
    return Account(user["id"], str(user.get("email") or user["id"]), settings)


def _regional(value: Any) -> str | None:
    try:
        return _api_url(str(value))
    except ValueError:
        return None


def _scope(need: str, granular: str, classic: str, *, optional: bool = False) -> Scope:
    return Scope(need, (granular, f"{granular}:admin", classic, f"{classic}:admin"), optional)


OAUTH = OAuth(
    authorization_endpoint="https://zoom.us/oauth/authorize",
    token_endpoint="https://zoom.us/oauth/token",  # noqa: S106 - an address
    revocation_endpoint="https://zoom.us/oauth/revoke",
    scopes=(
        _scope("make meetings", "meeting:write:meeting", "meeting:write"),
        _scope("move meetings", "meeting:update:meeting", "meeting:write"),
        _scope("remove meetings", "meeting:delete:meeting", "meeting:write"),
        _scope("read a meeting", "meeting:read:meeting", "meeting:read"),
        _scope("find a meeting again after a lost answer", "meeting:read:list_meetings", "meeting:read"),
        _scope("know whose account it is", "user:read:user", "user:read"),
        _scope("list the account's users, to choose hosts from", "user:read:list_users", "user:read", optional=True),
    ),
    identify=identify,
    sends_scopes=False,
)
