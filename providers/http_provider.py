"""A system of one's own as a provider: any server, in any language, that answers signed JSON calls.

The laws of the wire, all of them in docs/http-provider.md:

- Every verb is one POST to one address: `{"type", "timestamp", "data"}`, signed as Standard Webhooks says, with
  HMAC-SHA256 over `id.timestamp.body`. A call that is sent again is the same to the byte and has the same id.
- `(key, generation)` names one meeting. The server answers the same one however often it is asked to create it.
- Answers are read strictly: an id, a link or a capability that makes no sense is no answer.
- An error is read by its status *and* its code. A 404 that does not say `meeting_not_found` is a wrong address, not
  a meeting that is gone; a 503 that does not say `unavailable` may have done what it was asked.
- What is promised stands in the connection's settings, so that all processes plan alike; the probe compares it with
  what the server declares.

Source: https://github.com/standard-webhooks/standard-webhooks, `spec/standard-webhooks.md`.
"""

import json
import secrets
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from providers.base import (
    Capabilities,
    DialIn,
    Entrance,
    Fixer,
    Meeting,
    MeetingNotFound,
    MeetingSpec,
    Options,
    PermanentError,
    ProviderError,
    ProviderInfo,
    ProviderSettings,
    ReconnectRequired,
    Role,
    TemporaryError,
    Trouble,
)
from providers.http import MAX_RETRY_AFTER, Answer, Http
from providers.signing import SECRET_PREFIX, key_of, signed

MAX_TITLE = 200
"""Longest title, in characters."""
MAX_LINK = 2048
MAX_SAID = 200
"""Longest sentence of the server's that is shown, in characters."""

Capability = Literal[
    "keeps_link",
    "enforces_teardown",
    "enforces_window",
    "mints_link",
    "host_links",
    "needs_host",
    "opens_early",
    "one_at_a_time",
    "burns_keys",
    "opens_in_browser",
    "opens_in_app",
    "guests_wait",
    "guests_log_in",
]
"""What a system may promise. The last two count only with one of the two before them."""


class HttpProviderSettings(ProviderSettings):
    """Where the system takes calls, what they are signed with, and what it promises."""

    url: Annotated[str, AfterValidator(lambda value: _address(value))] = Field(
        description="Where the system takes calls, such as https://rooms.example.org/vello."
    )
    secret: Annotated[SecretStr, AfterValidator(lambda value: _secret(value))] = Field(
        description="What calls are signed with: whsec_ and 24 to 64 random bytes in base64."
    )
    capabilities: tuple[Capability, ...] = Field(
        default=("keeps_link", "enforces_teardown"), description="What the system promises, as its probe declares it."
    )
    max_duration: int | None = Field(default=None, ge=60, description="Longest meeting in seconds, if there is one.")

    @property
    def method(self) -> str:
        """Always "signed"."""
        return "signed"

    @property
    def account(self) -> str:
        """The system's address."""
        return self.url


class HttpProvider:
    """One system that takes signed calls."""

    def __init__(self, settings: HttpProviderSettings, http: Http) -> None:
        self._settings = settings
        self._http = http.at(settings.url, explain=_explain)
        self._key = key_of(settings.secret.get_secret_value())
        self._host_links = not {"host_links", "mints_link"}.isdisjoint(settings.capabilities)
        self.capabilities = _promised(settings)

    async def create(self, spec: MeetingSpec) -> Meeting:
        """`meeting.create`; not sent again by itself, so that the core knows of every answer that was lost."""
        return _meeting(await self._call("meeting.create", {**_name(spec), **_fields(spec)}, safe=False))

    async def update(self, meeting: Meeting, spec: MeetingSpec) -> Meeting:
        """`meeting.update` with all fields: the same values twice do what they do once."""
        answer = await self._call("meeting.update", {"id": meeting.id, **_name(spec), **_fields(spec)})
        updated = _meeting(answer)
        if updated.id != meeting.id:
            raise answer.unusable("is about another meeting")
        return updated

    async def delete(self, meeting: Meeting) -> None:
        """`meeting.delete`; gone already is a success."""
        try:
            answer = await self._call("meeting.delete", {"id": meeting.id})
        except MeetingNotFound:
            return
        if _read(_Found, answer).meeting is not None:
            raise answer.unusable("still holds the meeting")

    async def find(self, spec: MeetingSpec) -> Meeting | None:
        """`meeting.find` by key and generation."""
        found = _read(_Found, await self._call("meeting.find", _name(spec))).meeting
        return found.meeting() if found else None

    async def probe(self) -> str:
        """`provider.probe`: what the system is called, and that it promises what the settings say."""
        answer = await self._call("provider.probe", {})
        declared = _read(_Declared, answer)
        differing: list[str] = sorted({*declared.capabilities} ^ {*self._settings.capabilities})
        if declared.max_duration != self._settings.max_duration:
            differing.append("max_duration")
        if differing:
            text = f"{answer.host} declares other capabilities than this connection has: {', '.join(differing)}."
            raise PermanentError(text, "admin")
        return f"{_said(declared.name, answer.host).rstrip('.')} answers."

    def join_url(self, meeting: Meeting, spec: MeetingSpec, role: Role, now: int, until: int) -> str:
        """The meeting's link; where people have links of their own, `click_url` asks for them."""
        return meeting.join_url

    async def click_url(self, meeting: Meeting, spec: MeetingSpec, role: Role, now: int, until: int) -> str:
        """`meeting.link` where the system makes links at the click, for all or for hosts; else the meeting's link."""
        asks = self._host_links if role == "host" else self.capabilities.mints_link
        if not asks:
            return meeting.join_url
        return _read(_Link, await self._call("meeting.link", {"id": meeting.id, "role": role, "until": until})).url

    async def _call(self, type_: str, data: dict[str, Any], *, safe: bool = True) -> Answer:
        now = int(time.time())
        sent = {"type": type_, "timestamp": f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}", "data": data}
        body = json.dumps(sent, separators=(",", ":")).encode()
        headers = {"content-type": "application/json", **signed(self._key, f"msg_{secrets.token_hex(16)}", now, body)}
        return await self._http.send("POST", "", content=body, headers=headers, safe=safe)


def _promised(settings: HttpProviderSettings) -> Capabilities:
    promised: dict[str, Any] = {name: name in settings.capabilities for name in get_args(Capability)}
    del promised["host_links"]  # the core asks for them without knowing
    browser, app = promised.pop("opens_in_browser"), promised.pop("opens_in_app")
    promised["opens_in"] = "app_or_browser" if app else "browser" if browser else None
    if promised["opens_in"] is None:  # a system that says nothing of its guests promises them nothing
        promised |= {"guests_wait": None, "guests_log_in": None}
    return Capabilities(**promised, idempotent_create=True, max_duration=settings.max_duration)


def _name(spec: MeetingSpec) -> dict[str, Any]:
    return {"key": spec.key, "generation": spec.generation}


def _fields(spec: MeetingSpec) -> dict[str, Any]:
    return {
        "title": spec.title[:MAX_TITLE],
        "start": spec.start,
        "duration": spec.duration,
        "time_zone": spec.time_zone,
        "host": spec.host,
        "opens_before": spec.options.get("opens_before"),
    }


def _is_web(value: str) -> bool:
    """It is an https address, or an http one of this machine, and names no user."""
    if not (value.isascii() and value.isprintable()) or " " in value or len(value) > MAX_LINK:
        return False
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    here = host in ("localhost", "127.0.0.1", "::1")
    return bool(host) and "@" not in parts.netloc and (parts.scheme == "https" or (parts.scheme == "http" and here))


def _address(value: str) -> str:
    if not _is_web(value) or "?" in value or "#" in value:
        raise ValueError("The address must begin with https:// and hold no user name, query or fragment.")
    return value.rstrip("/")


def _link(value: str) -> str:
    if not _is_web(value):
        raise ValueError("a link of https was expected.")
    return value


def _secret(value: SecretStr) -> SecretStr:
    key_of(value.get_secret_value())
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, hide_input_in_errors=True)


class _DialIn(_Strict):
    number: str = Field(pattern=r"^\+[0-9][0-9 ()-]{3,30}$")
    codes: list[Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]] = Field(default=[], max_length=3)
    region: str | None = Field(default=None, pattern=r"^[A-Z]{2}$")


class _Meeting(_Strict):
    id: str = Field(pattern=r"^[\x21-\x7e]{1,200}$")
    join_url: Annotated[str, AfterValidator(_link)]
    host: str | None = Field(default=None, max_length=200)
    warnings: list[str] = Field(default=[], max_length=10)
    passcode: str | None = Field(default=None, pattern=r"^[\x21-\x7e]{1,60}$")
    dial_in: list[_DialIn] = Field(default=[], max_length=30)

    def meeting(self) -> Meeting:
        warnings = tuple(_said(each, "") for each in self.warnings)
        dial_in = tuple(DialIn(each.number, tuple(each.codes), each.region) for each in self.dial_in)
        entrance = Entrance(self.passcode, dial_in) if self.passcode or dial_in else None
        return Meeting(self.id, self.join_url, self.host, tuple(each for each in warnings if each), entrance)


class _Made(_Strict):
    meeting: _Meeting


class _Found(_Strict):
    meeting: _Meeting | None


class _Link(_Strict):
    url: Annotated[str, AfterValidator(_link)]


class _Declared(_Strict):
    name: str = Field(min_length=1)
    capabilities: list[Capability]
    max_duration: int | None = None


class _Refusal(_Strict):
    code: str = Field(min_length=1)
    message: str = ""
    who_can_fix: Fixer = "admin"
    retry_after: float | None = Field(default=None, ge=0, allow_inf_nan=False)


class _Refused(_Strict):
    error: _Refusal


_Shape = TypeVar("_Shape", bound=_Strict)


def _read(shape: type[_Shape], answer: Answer) -> _Shape:
    try:
        return shape.model_validate(answer.object())
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise answer.unusable(f"does not fit the protocol at {place}") from None


def _meeting(answer: Answer) -> Meeting:
    return _read(_Made, answer).meeting.meeting()


def _said(text: str, otherwise: str) -> str:
    """One line of the server's words with a full stop; `otherwise` if it may hold a link or a secret."""
    line = " ".join(text.split())[:MAX_SAID]
    if not line or "://" in line or SECRET_PREFIX in line or not line.isprintable():
        return otherwise
    return line if line.endswith((".", "!", "?")) else f"{line}."


def _refusal(answer: Answer) -> _Refusal | None:
    """What the system says of its refusal, None if it does not say it as the protocol does."""
    try:
        return _read(_Refused, answer).error
    except ProviderError:
        return None


def _explain(answer: Answer) -> ProviderError | None:
    host, status, refusal = answer.host, answer.status, _refusal(answer)
    if status == 401 and not (refusal and refusal.code == "bad_timestamp"):
        return ReconnectRequired(f"{host} does not accept our signature: enter the secret that it has.")
    if refusal is None:
        return None
    said = _said(refusal.message, f"status {status}, {refusal.code[:50]!r}.")
    wait = answer.retry_after if refusal.retry_after is None else min(refusal.retry_after, MAX_RETRY_AFTER)
    match status, refusal.code:
        case 401, _:
            return TemporaryError(f"{host} or this service has a wrong clock: the operator sets them.", wait)
        case 404, "meeting_not_found":
            return MeetingNotFound(f"{host} has no such meeting.")
        case ((425 | 429), _):
            return TemporaryError(f"{host} wants fewer calls (status {status}).", wait)
        case 503, "unavailable":
            return TemporaryError(f"{host} does not work now: {said}", wait)
        case _ if 400 <= status < 500 and status != 408:
            return PermanentError(f"{host} refuses the call: {said}", refusal.who_can_fix)
    return None


TROUBLES = (
    Trouble(
        "own_system_promises_differ",
        "admin",
        ("{host} declares other capabilities than this connection has: {which}.",),
        "Enter the capabilities in the connection as the system declares them; bookings are planned by them.",
    ),
    Trouble(
        "own_system_signature_refused",
        "admin",
        ("{host} does not accept our signature: enter the secret that it has.",),
        "Enter the same secret, whsec_ and all, in the system and in the connection.",
    ),
    Trouble(
        "own_system_clock_wrong",
        "operator",
        ("{host} or this service has a wrong clock: the operator sets them.",),
        "Have the clocks of both machines set by NTP.",
    ),
    Trouble(
        "own_system_meeting_gone",
        "admin",
        ("{host} has no such meeting.",),
        "Nothing is to be done: a booking that needs a meeting gets a new one.",
    ),
    Trouble(
        "own_system_away",
        "provider",
        ("{host} does not work now: {said}",),
        "It is tried again by itself; who runs the system says when it is over.",
    ),
    Trouble(
        "own_system_refuses_call",
        "admin",
        ("{host} refuses the call: {said}",),
        "The system says why; who runs it knows more.",
    ),
)

PROVIDER = ProviderInfo(
    name="http_provider",
    title="Own system (signed HTTP)",
    settings=HttpProviderSettings,
    options=Options,
    connect=HttpProvider,
    asks=("url", "secret", "capabilities"),
    asks_more=("max_duration",),
    troubles=TROUBLES,
)
