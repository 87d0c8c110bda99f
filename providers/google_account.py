"""Google accounts: what a connection is made of, what an office may choose, how a person connects one by OAuth.

The vendor's laws:

- A refresh token comes only with `access_type=offline` and `prompt=consent`, and never changes. It dies when the person
  or an admin takes it back, after six months without use, as the oldest of more than a hundred of an account, and after
  seven days while the app's consent screen is External and in Testing. Google always says the same.
- People may untick scopes, so what was granted is read back.
- A new grant covers what it asks for; with `include_granted_scopes` also what the person granted to the project before,
  for whatever client. Without it, who connects again for less would take away what bookings need.
- A revocation ends all that the person granted to the app's project, for whatever office it was.
- A service account acts for the people of a Workspace whose admin delegated scopes to it: a signed claim for one person
  gets a token for an hour. Only what was delegated may be asked for.

Sources: developers.google.com/identity/protocols/oauth2, "Web server applications", "Service accounts"; Google's
discovery documents of Calendar v3 and Meet v2.
"""

import json
import re
import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from pydantic import AfterValidator, Field, SecretStr, model_validator

from providers.base import Account, Delegation, OAuth, Options, PermanentError, ProviderSettings, Scope
from providers.http import Http

Mode = Literal["space", "calendar"]
Access = Literal["OPEN", "TRUSTED", "RESTRICTED"]

AUTH = "https://www.googleapis.com/auth/"
SPACES, EVENTS, ROOMS = "meetings.space.created", "calendar.events.owned", "meetings.space.settings"
"""Scopes: rooms made here; entries of the person's own calendar; who gets into rooms that Calendar made."""
NEEDED: Mapping[Mode, str] = {"space": SPACES, "calendar": EVENTS}
AUDIENCE = "https://oauth2.googleapis.com/token"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
HOUR, DAY = 3600, 86_400
TESTING_DAYS, IDLE_DAYS = 7, 180

_Name = Annotated[str, Field(min_length=1, max_length=320)]


def _email(value: str) -> str:
    if not re.fullmatch(r"[^\s;,@]+@[^\s;,@]+", value):
        raise ValueError("an e-mail address was expected")
    return value


_Email = Annotated[str, AfterValidator(_email)]


class GoogleSettings(ProviderSettings):
    """A service account that acts for people of a Workspace, or what Google said of who connected an account."""

    client_email: _Name | None = Field(default=None, description="A service account's address; its `key` holds it.")
    private_key: SecretStr | None = Field(default=None, min_length=1, description="And its private key, as PEM.")
    private_key_id: _Name | None = Field(default=None, description="And that key's id.")
    client_id: _Name | None = Field(default=None, description="And the number that scopes are delegated to.")
    subject: _Email | None = Field(default=None, description="Whom it acts for where no host is chosen, by e-mail.")
    open_rooms: bool = Field(
        default=False, strict=True, description="It may say who gets into rooms of calendar entries."
    )
    mode: Mode = Field(default="space", description="What is made for offices that choose no `mode`.")
    user_id: _Name | None = Field(default=None, description="Who connected the account; Google says so.")
    email: _Name | None = Field(default=None, description="That person's e-mail address.")
    workspace: _Name | None = Field(default=None, description="That person's Google Workspace, by its domain.")
    granted: tuple[str, ...] = Field(default=(), description="What that person allowed.")
    in_testing: bool = Field(default=False, description="Google said that it ends that access by itself.")

    @model_validator(mode="before")
    @classmethod
    def _with_key(cls, given: Any) -> Any:
        """Take what is needed from a key file, as Google's console gives it out."""
        if not isinstance(given, dict) or "key" not in given:
            return given
        key = given["key"]
        if isinstance(key, str):
            try:
                key = json.loads(key)
            except (ValueError, RecursionError):
                raise ValueError("key is no JSON: give the key file as Google's console gave it out.") from None
        if not isinstance(key, dict) or key.get("type") != "service_account":
            raise ValueError("key is no key file of a service account: its `type` must be service_account.")
        names = ("client_email", "private_key", "private_key_id", "client_id")
        rest = {name: value for name, value in given.items() if name != "key"}
        return {**rest, **{name: key[name] for name in names if name in key}}

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        robot = (self.client_email, self.private_key)
        if any(robot) and not (all(robot) and self.subject):
            raise ValueError("a service account needs its key, and as subject a person it acts for.")
        if not any(robot) and not self.user_id:
            raise ValueError("give a service account's key and subject, or connect an account in the browser.")
        if self.private_key:
            try:
                RSAKey.import_key(self.private_key.get_secret_value())
            except (JoseError, ValueError, TypeError):
                raise ValueError("key holds no private key that can be read.") from None
        return self

    @property
    def method(self) -> str:
        """Either "service_account" or "oauth"."""
        return "service_account" if self.private_key else "oauth"

    @property
    def account(self) -> str:
        """The e-mail address of who connected it, or the service account's."""
        return self.email or self.user_id or self.client_email or ""

    @property
    def opens_rooms(self) -> bool:
        """It may say who gets into rooms of calendar entries."""
        return self.open_rooms if self.private_key else ROOMS in self.granted

    def may(self, scope: str) -> bool:
        """Whether a scope was granted; what was delegated to a service account is not known here."""
        return self.private_key is not None or scope in self.granted

    @property
    def makes(self) -> Mode:
        """What offices get that choose no `mode`: the connection's, or what is left where that was taken back."""
        other: Mode = "space" if self.mode == "calendar" else "calendar"
        return other if not self.may(NEEDED[self.mode]) and self.may(NEEDED[other]) else self.mode

    def again(self, before: ProviderSettings) -> Self:
        """With the mode there was: offices that chose none are not to change with a click on another button."""
        return self.model_copy(update={"mode": before.mode}) if isinstance(before, GoogleSettings) else self

    def warnings(self) -> list[str]:
        """What accounts cannot do, and guests of calendar entries."""
        warnings = []
        if self.makes == "calendar" and not self.opens_rooms:
            warnings.append("Guests ask to be let into rooms of calendar entries, and wait until the host has come.")
        if self.in_testing:
            text = "Google ends this access seven days after it was given, since the app's consent screen is in Testing"
            warnings.append(f"{text}: publish the app, then connect again.")
        if self.user_id and not self.workspace:
            warnings.append("With an account outside Google Workspace, calls of three and more end after 60 minutes.")
        return warnings

    @property
    def access_life(self) -> int | None:
        """Seven days while the app's consent screen is in Testing."""
        return TESTING_DAYS * DAY if self.in_testing else None

    def token_request(self, delegation: Delegation | None = None) -> Mapping[str, str] | None:
        """A claim to act for one person, signed by the service account and good for an hour; for nobody it is empty."""
        if self.private_key is None:
            return None
        if delegation is None:
            return {"grant_type": JWT_BEARER}
        now = int(time.time())
        header = {"alg": "RS256", "typ": "JWT"} | ({"kid": self.private_key_id} if self.private_key_id else {})
        scope = " ".join(f"{AUTH}{name}" for name in delegation.scopes)
        who = {"iss": self.client_email, "sub": delegation.subject, "scope": scope, "aud": AUDIENCE}
        key = RSAKey.import_key(self.private_key.get_secret_value())
        claim = jwt.encode(header, {**who, "iat": now, "exp": now + HOUR}, key)
        return {"grant_type": JWT_BEARER, "assertion": claim}


class GoogleOptions(Options):
    """What an office may choose for its Google Meet meetings."""

    mode: Mode | None = Field(
        default=None,
        description="`space`: a room of its own; `calendar`: an entry in the host's calendar with its room; null: what "
        "the connection was made for, else `space`.",
    )
    access: Access = Field(
        default="OPEN",
        description="Who gets in without asking: `OPEN` everybody with the link, `TRUSTED` people of the Workspace and "
        "invited ones, `RESTRICTED` invited ones only.",
    )


async def identify(http: Http, token: Mapping[str, Any]) -> Account:
    """Whose account a token is for: its ID token says so.

    Raises: PermanentError.
    """
    claims = token.get("claims")
    if not isinstance(claims, dict) or not (isinstance(claims.get("sub"), str) and claims["sub"]):
        raise PermanentError("Google did not say whose account it is: connect it again.", "admin")
    return account_of(claims, token)


def account_of(claims: Mapping[str, Any], token: Mapping[str, Any]) -> Account:
    """What Google said of a person and of a token. Pure."""
    scopes = str(token.get("scope", "")).split()
    granted = [name for name in (SPACES, EVENTS, ROOMS) if f"{AUTH}{name}" in scopes]
    wanted = token.get("feature") == "calendar" or SPACES not in granted  # rooms may be from what was granted before
    learned = {
        "user_id": claims["sub"],
        "email": claims.get("email"),
        "workspace": claims.get("hd"),
        "granted": granted,
        "mode": "calendar" if EVENTS in granted and wanted else "space",
        "in_testing": "refresh_token_expires_in" in token,
    }
    settings = {name: value for name, value in learned.items() if value is not None}
    return Account(claims["sub"], str(claims.get("email") or claims["sub"]), settings)


def why_dead(age: float, idle: float) -> str | None:
    """Google says of every dead grant the same; the clock tells some reasons apart."""
    if age - idle <= TESTING_DAYS * DAY <= age + HOUR:
        return (
            "Google ended this account's access seven days after it was connected, as it does while the app's consent "
            "screen is External and in Testing: set it to In production, or to Internal in a Workspace of your own."
        )
    if idle >= IDLE_DAYS * DAY:
        return "Google ended this account's access, because nobody had used it for six months."
    return (
        "Google ended this account's access: the person took it back at myaccount.google.com/permissions, an admin of "
        "the Workspace did, or the account was connected more than a hundred times since."
    )


def why_refused(error: str, description: str) -> str | None:
    """What the token endpoint means by a refusal, most of all to a service account."""
    match error:
        case "unauthorized_client":
            return (
                "The Workspace has not delegated these scopes to the service account: in Google's Admin console, under "
                "Security, API controls, Domain-wide delegation, an admin adds its client id with the scopes."
            )
        case "invalid_grant" if "email" in description.lower():
            return "Google knows no person of this address in the Workspace: choose another host."
        case "invalid_grant" if "short-lived" in description.lower():
            return "This machine's clock is wrong, so that Google does not believe the service account's claim."
        case "invalid_grant" | "invalid_client" | "disabled_client" | "deleted_client":
            return "Google does not take the service account's key: it was deleted or disabled. Give a new key."
        case "admin_policy_enforced" | "access_not_configured":
            return "The Workspace's admin does not allow this app: an admin must trust it in Google's Admin console."
    return None


OAUTH = OAuth(
    authorization_endpoint="https://accounts.google.com/o/oauth2/v2/auth",
    token_endpoint="https://oauth2.googleapis.com/token",  # noqa: S106 - an address
    revocation_endpoint="https://oauth2.googleapis.com/revoke",
    scopes=(
        Scope("know whose account it is", ("openid",)),
        Scope("read its address", ("email", f"{AUTH}userinfo.email")),
        Scope("make rooms", (f"{AUTH}{SPACES}",), features=("space", "both")),
        Scope("make calendar entries", (f"{AUTH}{EVENTS}",), features=("calendar", "both")),
        Scope(
            "let guests into rooms of calendar entries",
            (f"{AUTH}{ROOMS}",),
            optional=True,
            features=("calendar", "both"),
        ),
    ),
    identify=identify,
    client_authentication="client_secret_post",
    parameters={"access_type": "offline", "prompt": "consent", "include_granted_scopes": "true"},
    features={
        "space": "Continue to Google, for rooms",
        "calendar": "Continue to Google, for calendar entries",
        "both": "Continue to Google, for both",
    },
    rotates=False,
    revokes_as_client=False,
    without_refresh_token="Google gave no lasting access, because the account had allowed this app before. Remove the "  # noqa: S106 - a sentence
    "app at myaccount.google.com/permissions, then connect again.",
    why_dead=why_dead,
    why_refused=why_refused,
)
