"""A provider whose accounts are connected by OAuth: the reference server's meetings behind a vendor's login.

It is named like a provider that the environment has a client for.
"""

import hmac
import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field, SecretStr

from providers.base import (
    Account,
    Delegation,
    Notice,
    NoticeRefused,
    OAuth,
    Options,
    ProviderInfo,
    ProviderSettings,
    Scope,
)
from providers.http import Http
from providers.memory import Memory, MemorySettings


class AcmeSettings(ProviderSettings):
    """Where an account's meetings are, or an app of one's own account."""

    url: str = Field(description="Address of the meeting server.")
    account_id: str | None = Field(default=None, description="The account of an app.")
    client_id: str | None = Field(default=None, description="Its client id.")
    client_secret: SecretStr | None = Field(default=None, description="Its client secret.")

    @property
    def method(self) -> str:
        """Either "server_to_server" or "oauth"."""
        return "server_to_server" if self.client_secret else "oauth"

    @property
    def account(self) -> str:
        """The account's id."""
        return self.account_id or self.url

    def token_request(self, delegation: Delegation | None = None) -> Mapping[str, str] | None:
        """What an app asks with."""
        if self.client_secret is None:
            return None
        return {"grant_type": "account_credentials", "account_id": self.account_id or ""}


async def identify(http: Http, _: Mapping[str, Any]) -> Account:
    """Asks whose account it is."""
    user = (await http.send("GET", "/users/me")).object()
    return Account(user["sub"], user["email"], {"url": user["meetings_url"]})


OAUTH = OAuth(
    authorization_endpoint="https://acme.invalid/authorize",
    token_endpoint="https://acme.invalid/token",
    revocation_endpoint="https://acme.invalid/revoke",
    scopes=(
        Scope("know whose account it is", ("openid",)),
        Scope("read its address", ("email",)),
        Scope("make meetings", ("meeting:write:meeting", "meeting:write")),
        Scope("draw on the board", ("board:write",), optional=True),
    ),
    identify=identify,
)


def notice(headers: Mapping[str, str], body: bytes, secret: str, now: float) -> Notice:
    """Its webhook: JSON with a signature over the raw bytes."""
    if not hmac.compare_digest(headers.get("x-acme-signature", ""), signature(body, secret)):
        raise NoticeRefused("The signature is wrong.")
    said = json.loads(body)
    return Notice(**said)


def signature(body: bytes, secret: str) -> str:
    """What a webhook is signed with."""
    return hmac.digest(secret.encode(), body, "sha256").hex()


ACME = ProviderInfo(
    name="zoom",
    title="Acme",
    settings=AcmeSettings,
    options=Options,
    connect=lambda made, http: Memory(MemorySettings(url=made.url), http),
    oauth=OAUTH,
    notice=notice,
)
