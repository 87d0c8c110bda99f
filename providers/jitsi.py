"""Jitsi Meet: a server of one's own, or 8x8's JaaS.

The vendor's laws:

- There is no call that makes a room. A room exists by its name as soon as somebody enters and is forgotten
  when the last one leaves; nobody can list, look up or delete rooms. So the name is derived from the
  booking with a key that only this connection has: the same booking always gets the same name, and nobody
  can guess it.
- In a plain room everybody who knows the name gets in, at any time. Nothing can be taken back.
- A server with token authentication lets nobody in without a JWT. It demands `typ` "JWT", `iss`, `sub`,
  `room` and an `aud` that is a string, not a list; it compares `exp` and `nbf` without leeway and looks at
  them only when somebody enters: nobody is put out when `exp` passes. Names are compared in lower case,
  ASCII only.
- With tokens the link is minted at the click, behind the hosted link. A moved booking keeps its link and a
  cancelled one closes. What stays open: a token given out before the cancellation lets its holder in until
  its `exp`.
- JaaS is a token server that wants RS256, `iss` "chat", the AppID as tenant and `sub`, and
  `context.features`.
- A quoted token in the fragment (servers since May 2024) never reaches a web server's log; in the query it
  does.

Sources: jitsi/handbook "Authentication (token)"; jitsi-meet `resources/prosody-plugins/token/util.lib.lua`;
https://developer.8x8.com/jaas/docs/api-keys-jwt; https://jitsi.org/blog/authentication-on-meet-jit-si/
"""

import base64
import hashlib
import hmac
import ipaddress
import re
import secrets
import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from pydantic import AfterValidator, Field, SecretStr, model_validator

from providers.base import (
    Capabilities,
    Meeting,
    MeetingSpec,
    Options,
    ProviderInfo,
    ProviderSettings,
    Remark,
    Role,
    TemporaryError,
)
from providers.http import Http
from providers.jitsi_keys import hmac_key
from providers.jitsi_keys import private_key as rsa_private_key
from providers.jitsi_keys import secret as app_secret
from providers.jitsi_server import look
from providers.jitsi_troubles import TROUBLES

JAAS_HOST = "8x8.vc"
JAAS_ISSUER = "chat"
JAAS_AUDIENCE = "jitsi"
JAAS_APP_ID = re.compile(r"vpaas-magic-cookie-[0-9a-f]+")
PUBLIC_HOST = "meet.jit.si"

CLOCK_SKEW = 60
"""Seconds a server's clock may differ from ours: verifiers allow none."""
GOOD_SECRET = 32
"""Bytes below which an HS256 secret can be guessed faster than SHA-256 allows (RFC 7518, 3.2)."""

Feature = Literal[
    "livestreaming",
    "recording",
    "transcription",
    "sip-inbound-call",
    "sip-outbound-call",
    "inbound-call",
    "outbound-call",
    "file-upload",
    "list-visitors",
]
FEATURES: tuple[Feature, ...] = get_args(Feature)


class JitsiSettings(ProviderSettings):
    """A Jitsi server and, if it checks tokens, what to sign them with."""

    url: Annotated[str, AfterValidator(lambda value: _server_url(value))] = Field(
        description="Address of the server, such as https://meet.example.org."
    )
    tenant: Annotated[str, AfterValidator(lambda value: _name("tenant", value))] | None = Field(
        default=None, description="First part of the path, on servers with tenants."
    )
    app_id: str | None = Field(default=None, description="The server's app_id; of JaaS, the AppID.")
    secret: Annotated[SecretStr, AfterValidator(app_secret)] | None = Field(
        default=None, description="The server's app_secret: tokens are signed with HS256."
    )
    private_key: Annotated[SecretStr, AfterValidator(rsa_private_key)] | None = Field(
        default=None, description="RSA private key in PEM form: tokens are signed with RS256."
    )
    key_id: str | None = Field(
        default=None, description="Name under which the server finds the public key of private_key."
    )
    audience: str = Field(default=JAAS_AUDIENCE, min_length=1, description="The tokens' aud claim.")
    subject: str | None = Field(
        default=None, description="The tokens' sub claim; by default the tenant, else the host of url."
    )
    token_in: Literal["fragment", "query"] = Field(
        default="fragment", description="Where the token goes; servers from before May 2024 want query."
    )
    host_features: tuple[Feature, ...] = Field(
        default=(), description="What hosts may use in a meeting with tokens; guests may use none of it."
    )
    room_key: SecretStr = Field(
        default_factory=lambda: SecretStr(secrets.token_hex(32)),
        min_length=32,
        description="Room names are derived from it: keep it to get the same names again.",
    )
    room_prefix: Annotated[str, AfterValidator(lambda value: _name("room_prefix", value))] = Field(
        default="meeting", max_length=40, description="What room names begin with; everybody sees it."
    )

    @model_validator(mode="before")
    @classmethod
    def _blank_is_absent(cls, values: Any) -> Any:
        # Forms send empty fields.
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if not _is_blank(value)}

    @model_validator(mode="after")
    def _fields_fit(self) -> Self:
        for wrong, sentence in (*self._wrong_for_jaas(), *self._wrong_for_tokens()):
            if wrong:
                raise ValueError(sentence)
        return self

    @property
    def host(self) -> str:
        """The server's host name, without a port."""
        return urlsplit(self.url).hostname or ""

    @property
    def is_jaas(self) -> bool:
        """This is 8x8's service, not a server of one's own."""
        return self.host == JAAS_HOST

    @property
    def method(self) -> Literal["plain", "token", "jaas"]:
        """ "jaas", "token" for a server that checks tokens, "plain" for one that lets everybody in."""
        if self.is_jaas:
            return "jaas"
        return "token" if self.secret or self.private_key else "plain"

    @property
    def account(self) -> str:
        """The server's address, with the tenant if there is one: what all links begin with."""
        return "/".join(part for part in (self.url, self.effective_tenant) if part)

    @property
    def effective_tenant(self) -> str | None:
        """The tenant in the path of every link."""
        return self.app_id if self.is_jaas else self.tenant

    @property
    def effective_subject(self) -> str:
        """The tokens' `sub` claim."""
        return self.subject or self.effective_tenant or self.host

    @property
    def effective_key_id(self) -> str | None:
        """The tokens' `kid` header; of JaaS "<AppID>/<key id>"."""
        if self.is_jaas and self.key_id and "/" not in self.key_id:
            return f"{self.app_id}/{self.key_id}"
        return self.key_id

    def warnings(self) -> list[str]:
        """What an admin should know: who can get in, and how strong the secret is."""
        found = []
        if self.host == PUBLIC_HOST:
            found.append(
                "On meet.jit.si a host must log in with Google, GitHub or Facebook before anybody can meet: "
                "use it for trials only."
            )
        if self.method == "plain":
            found.append("No tokens are checked here: who knows a link gets in at any time, even after a cancellation.")
        if self.secret and len(self.secret.get_secret_value().encode()) < GOOD_SECRET:
            found.append(f"The secret is shorter than {GOOD_SECRET} bytes and can be guessed.")
        return found

    def _wrong_for_jaas(self) -> list[tuple[bool, str]]:
        if not self.is_jaas:
            return []
        given = bool(self.app_id and self.key_id and self.private_key)
        app_id = self.app_id or ""
        return [
            (self.secret is not None, "JaaS (8x8.vc) takes a private_key, not a secret."),
            (not given, "JaaS (8x8.vc) needs app_id, key_id and private_key: make an API key in its console."),
            (not JAAS_APP_ID.fullmatch(app_id), "app_id of JaaS (8x8.vc) looks like vpaas-magic-cookie-1a2b3c."),
            (
                not (self.effective_key_id or "").startswith(f"{app_id}/"),
                "key_id of JaaS (8x8.vc) belongs to another AppID than app_id.",
            ),
            (
                self.tenant not in (None, app_id) or self.subject not in (None, app_id),
                "tenant and subject of JaaS (8x8.vc) are the AppID: leave them out.",
            ),
            (self.audience != JAAS_AUDIENCE, 'audience of JaaS (8x8.vc) is "jitsi": leave it out.'),
        ]

    def _wrong_for_tokens(self) -> list[tuple[bool, str]]:
        signs = bool(self.secret or self.private_key)
        return [
            (
                self.host == PUBLIC_HOST and bool(signs or self.app_id),
                "meet.jit.si takes no tokens of ours: leave out app_id, secret and private_key.",
            ),
            (bool(self.secret and self.private_key), "Give secret (HS256) or private_key (RS256), not both."),
            (signs and not self.app_id, "A secret or private_key needs the server's app_id as well."),
            (bool(self.app_id) and not signs, "An app_id needs a secret or a private_key as well."),
            (bool(self.private_key) and not self.key_id, "A private_key needs a key_id as well."),
            (bool(self.key_id) and not self.private_key, "A key_id needs a private_key as well."),
            (bool(self.subject) and not signs, "A subject needs a secret or a private_key as well."),
        ]


class Jitsi:
    """One Jitsi server. Making, moving and removing a meeting needs no call, so nothing of it can fail."""

    def __init__(self, settings: JitsiSettings, http: Http) -> None:
        self._settings = settings
        self._http = http.at(settings.url)
        self._key = _signing_key(settings)

    @property
    def capabilities(self) -> Capabilities:
        """With tokens the hosted link is a gate that closes; a plain room cannot be closed."""
        gated = self._settings.method != "plain"
        return Capabilities(
            keeps_link=True,
            enforces_teardown=gated,
            enforces_window=gated,
            mints_link=gated,
            idempotent_create=True,
            needs_host=False,
            opens_in="app_or_browser",  # on a phone its page offers both
            guests_wait=True if self._settings.host == PUBLIC_HOST else None,  # elsewhere the server decides
            guests_log_in=False,
        )

    async def create(self, spec: MeetingSpec) -> Meeting:
        """The room that key and generation derive."""
        room = _room(self._settings, spec)
        return Meeting(id=room, join_url=self._link(room))

    async def update(self, meeting: Meeting, spec: MeetingSpec) -> Meeting:
        """The same room: a room has no time, no title and no host."""
        return meeting

    async def delete(self, meeting: Meeting) -> None:
        """Nothing to remove. With tokens no new one is given out; a plain room stays open."""

    async def find(self, spec: MeetingSpec) -> Meeting | None:
        """The room that key and generation derive: it exists by its name."""
        return await self.create(spec)

    async def probe(self) -> str:
        """Get the server's first page; whether it takes our tokens shows only when somebody enters.

        Raises: TemporaryError.
        """
        await self._http.send("GET", "/", headers={"accept": "text/html"}, accept=range(200, 500))
        return f"{self._settings.host} answers."

    async def inspect(self) -> Sequence[Remark]:
        """Log in there as somebody who enters would, and enter no room; what 8x8 takes it tells nobody before."""
        settings, now = self._settings, int(time.time())
        if settings.is_jaas or settings.host == PUBLIC_HOST:
            return await _answering(self)
        token = None
        if self._key:
            token = jwt.encode(_header(settings), _claims(settings, "connection-test", "guest", now, now), self._key)
        return await look(self._http, settings.host, token, None if settings.subject else settings.effective_subject)

    def join_url(self, meeting: Meeting, spec: MeetingSpec, role: Role, now: int, until: int) -> str:
        """The room's link, on servers with tokens with one for this room and role that ends at `until`."""
        settings = self._settings
        if self._key is None:
            return meeting.join_url
        token = jwt.encode(_header(settings), _claims(settings, meeting.id, role, now, until), self._key)
        if settings.token_in == "query":  # noqa: S105 - where it goes, not what it is
            return f"{self._link(meeting.id)}?jwt={token}"
        # The client reads the fragment as JSON, so a string needs its quotes.
        return f"{self._link(meeting.id)}#jwt=%22{token}%22"

    def _link(self, room: str) -> str:
        return f"{self._settings.account}/{room}"


async def _answering(jitsi: Jitsi) -> Sequence[Remark]:
    try:
        return [Remark("good", await jitsi.probe())]
    except TemporaryError as error:
        return [Remark("away", error.text)]


def _header(settings: JitsiSettings) -> dict[str, Any]:
    header = {"alg": "RS256" if settings.private_key else "HS256", "typ": "JWT"}
    if settings.effective_key_id:
        header["kid"] = settings.effective_key_id
    return header


def _claims(settings: JitsiSettings, room: str, role: Role, now: int, until: int) -> dict[str, Any]:
    is_host = role == "host"
    return {
        "iss": JAAS_ISSUER if settings.is_jaas else settings.app_id,
        "aud": settings.audience,
        "sub": settings.effective_subject,
        "room": room,
        "nbf": now - CLOCK_SKEW,
        "exp": max(until, now + CLOCK_SKEW),
        "context": {
            # No names: whoever holds the link can read the token. Words, because some clients choke on booleans.
            "user": {"id": secrets.token_hex(16), "moderator": _word(is_host)},
            "features": {name: _word(is_host and name in settings.host_features) for name in FEATURES},
        },
    }


def _room(settings: JitsiSettings, spec: MeetingSpec) -> str:
    name = f"{settings.effective_tenant or ''}|{spec.key}|{spec.generation}"
    digest = hmac.digest(settings.room_key.get_secret_value().encode(), name.encode(), hashlib.sha256)
    unguessable = base64.b32encode(digest).decode()[:26].lower()
    return f"{settings.room_prefix}-{unguessable}"


def _signing_key(settings: JitsiSettings) -> OctKey | RSAKey | None:
    if settings.private_key:
        return RSAKey.import_key(settings.private_key.get_secret_value())
    return hmac_key(settings.secret) if settings.secret else None


def _word(value: bool) -> str:
    return "true" if value else "false"


def _is_blank(value: Any) -> bool:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    return text is None or (isinstance(text, str) and not text.strip())


def _server_url(value: str) -> str:
    try:
        parts = urlsplit(value.strip())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("url is not the address of a server.") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise ValueError("url must begin with https://: browsers give other pages no camera.")
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|[0-9a-f:]*:[0-9a-f:.]*", host):
        raise ValueError("url needs a host in plain letters, such as https://meet.example.org.")
    if "@" in parts.netloc or "?" in value or "#" in value:
        raise ValueError("url must hold no user name, query or fragment.")
    if parts.path.strip("/"):
        raise ValueError("url must end after the host: what follows is the tenant and has its own field.")
    shown = f"[{host}]" if ":" in host else host
    usual = {"https": 443, "http": 80}[parts.scheme]
    return f"{parts.scheme}://{shown}" + ("" if port in (None, usual) else f":{port}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _name(field: str, value: str) -> str:
    # Other characters are stripped, folded or escaped differently by client and verifier.
    name = value.strip().lower()
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name):
        raise ValueError(f"{field} may hold only a-z, 0-9 and hyphens between them.")
    return name


PROVIDER = ProviderInfo(
    name="jitsi",
    title="Jitsi Meet",
    settings=JitsiSettings,
    options=Options,
    connect=Jitsi,
    app="Jitsi Meet",
    asks=("url", "app_id", "secret"),
    asks_more=("private_key", "key_id", "tenant", "subject", "audience", "token_in", "host_features", "room_prefix"),
    troubles=TROUBLES,
)
