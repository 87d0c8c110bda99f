"""Accounts that people connect by OAuth: what an adapter declares of its vendor, and what it gets tokens by."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from providers.http import Http


@dataclass(frozen=True, slots=True)
class Delegation:
    """For whom of its account a connection wants a token, and for which scopes."""

    subject: str
    scopes: tuple[str, ...]


class Authorizer(Protocol):
    """Gives `Http` the access tokens of one connection; adapters never see them."""

    async def token(self, refused: str | None = None) -> str:
        """An access token that is good now; `refused` is the one the vendor has just refused, so that another comes.

        Raises: TemporaryError, ReconnectRequired, PermanentError.
        """

    def on_behalf_of(self, delegation: Delegation) -> "Authorizer":
        """The same for one person of the account; what a person has granted is that person's whatever is asked."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One thing an adapter must be allowed to do: for people, and the scopes any one of which allows it.

    With `features` it is asked for only by who connects an account for one of them.
    """

    need: str
    any_of: tuple[str, ...]
    optional: bool = False
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """Whose account a grant is for. `id` is the vendor's own, stable one; `name` is for people (an e-mail address).

    `settings` are fields of the adapter's settings model that only the vendor knows, such as a regional API address.
    """

    id: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OAuth:
    """What the core must know to connect accounts of a provider by OAuth 2.0 (RFC 6749, 7009, 7636)."""

    authorization_endpoint: str
    token_endpoint: str
    revocation_endpoint: str | None
    scopes: tuple[Scope, ...]
    identify: "Callable[[Http, Mapping[str, Any]], Awaitable[Account]]"
    """Asks the vendor whose account it is, with an authorised client and the token endpoint's answer without tokens.

    The answer has `claims` if an ID token came, and the `feature` that was asked for if there are any.
    """
    client_authentication: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic"
    sends_scopes: bool = True
    """The authorization request names the scopes; without it they are fixed where the app was registered."""
    rotates: bool = True
    """Each refresh token is good for one request, whose answer brings the next; without it they may be sent again."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What the vendor wants beside the standard's parameters in an authorization request."""
    features: Mapping[str, str] = field(default_factory=dict)
    """What an account can be connected for, and what the page says of each; the first is the usual one."""
    revokes_as_client: bool = True
    """A revocation names the client; without it the token is enough."""
    without_refresh_token: str | None = None
    """What to do when the vendor gave no refresh token; None where that is no failure."""
    why_dead: "Callable[[float, float], str | None] | None" = None
    """Why a grant is refused that was made, and renewed the last time, so many seconds ago; None: nobody can tell."""
    why_refused: "Callable[[str, str], str | None] | None" = None
    """What the token endpoint's `error` and `error_description` mean beyond the standard, for an admin."""
