"""Sends an adapter's calls and says what became of them; the only import of httpx.

What an adapter sees of a call that did not work, whatever the vendor::

    never sent (refused, unresolvable, connect timeout)    TemporaryError, after a few tries
    sent, answer lost (timeout, broken connection, 5xx)    OutcomeUnknown; a safe call: TemporaryError
    425, 429                                               TemporaryError, with the vendor's Retry-After
    401                                                    ReconnectRequired
    redirects and other 4xx                                PermanentError

A call is safe when repeating it is harmless. An adapter's `explain` hook is asked before this table, because
only a vendor's code *with* its status says what is meant. Nothing of a query string, header or body ever gets
into an error's text, a repr or a log.
"""

import copy
import logging
import random
import re
import ssl
import time
from asyncio import CancelledError, sleep
from collections.abc import Awaitable, Callable, Container, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache, lru_cache
from json import JSONEncoder, loads
from typing import Any, Self

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random

from providers.base import (
    HEARD,
    Authorizer,
    Delegation,
    NoRoom,
    OutcomeUnknown,
    PermanentError,
    ProviderError,
    ReconnectRequired,
    TemporaryError,
)
from providers.limit import Limit
from providers.transport import Hosts, NeverSent, Origin, Wires
from providers.wire import AnswerLost, packed

SAFE_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
SUCCESS = range(200, 300)
MAX_BODY = 1024 * 1024
"""Largest answer read, in bytes."""
MAX_RETRY_AFTER = 86_400.0
"""Longest wait a vendor may ask for, in seconds: daily limits end within it."""

# Only unpacked answers have a known size.
_HEADERS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "vello-meetings"}
_SECOND, _THIRD = (0.05, 0.1), wait_random(0.15, 0.3)  # seconds before the second and the third try
_BUSY = frozenset({502, 503, 504})
# ValueError is what an address or a header becomes that cannot be written.
_NOT_SENDABLE = (httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError)

_PORTS = {"http": 80, "https": 443}

# httpx logs whole URLs, which may hold secrets.
logging.getLogger("httpx").setLevel(logging.WARNING)


@cache
def _trust() -> ssl.SSLContext:
    # Reading all certificates takes longer than most calls.
    return httpx.create_ssl_context(trust_env=False)


@dataclass(frozen=True, slots=True)
class _Target:
    """An address taken apart; `origin` is None where nothing can be sent to."""

    url: httpx.URL
    host: str
    netloc: str
    path: str
    origin: Origin | None


def _taken_apart(url: httpx.URL) -> _Target:
    origin = None
    if url.scheme in _PORTS and url.host:
        origin = Origin(url.scheme, url.raw_host.decode(), url.port or _PORTS[url.scheme])
    return _Target(url, url.host, url.netloc.decode(), url.raw_path.decode(), origin)


@lru_cache(maxsize=64)  # it is a seventh of what a call costs, and most calls go to a few addresses
def _target(address: str) -> _Target:
    return _taken_apart(httpx.URL(address))


# As json.dumps, which makes an encoder for every call.
_encode = JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class Answer:
    """What a vendor answered; its repr shows host and status only."""

    host: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    """By their names in lower case."""
    body: bytes = field(repr=False)
    safe: bool = field(repr=False)
    """Repeating the call is harmless."""

    def json(self) -> Any:
        """The body as JSON.

        Raises: what `unusable` says, if it is something else.
        """
        try:
            return loads(self.body)
        except (ValueError, RecursionError):
            raise self.unusable("is not JSON") from None

    def object(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises: what `unusable` says, if it is something else.
        """
        value = self.json()
        if not isinstance(value, dict):
            raise self.unusable("is not a JSON object")
        return value

    @property
    def retry_after(self) -> float | None:
        """Seconds the vendor asks us to wait, at most `MAX_RETRY_AFTER`; None without a sensible answer."""
        value = self.headers.get("retry-after", "").strip()[:64]
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            seconds = float(value)
        elif moment := _moment(value):
            seconds = moment.timestamp() - time.time()
        else:
            return None
        return min(max(seconds, 0.0), MAX_RETRY_AFTER)

    @property
    def sound(self) -> bool:
        """The vendor is up, whatever it thinks of this call."""
        return self.status < 500 and self.status != 408

    def unusable(self, why: str) -> ProviderError:
        """The error to raise for an answer that cannot be what the vendor meant; `why` ends its sentence."""
        text = f"The answer of {self.host} {why} (status {self.status})."
        if self.safe or 300 <= self.status < 500:
            return TemporaryError(text, self.retry_after, well=self.status >= 300 and self.sound)
        return OutcomeUnknown(text)


Explain = Callable[[Answer], ProviderError | None]
"""A vendor's own reading of an answer that is no success; None leaves it to the table above."""


class Http:
    """One vendor host: base URL, headers, time limits, and the only place where calls are repeated.

    Times are seconds: `connect` to find room and to reach the host, `read` without a byte from it, `deadline`
    for everything. `hosts` is the room at each host, which clients share. Redirects are not followed, cookies
    not kept, proxies and other settings of the environment not used.
    """

    def __init__(
        self,
        base_url: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        explain: Explain | None = None,
        connect: float = 3.0,
        read: float = 10.0,
        deadline: float = 15.0,
        max_body: int = MAX_BODY,
        hosts: Hosts | None = None,
        authorizer: Authorizer | None = None,
        addresses: Mapping[str, str] | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._addresses = addresses or {}
        self._headers = _HEADERS | _lowered(headers)
        self._explain = explain
        self._patience = connect
        self._authorizer = authorizer
        self._deadline = deadline
        self._hosts = hosts or Hosts()
        self._max_body = max_body
        self._wires = Wires(_trust, connect=connect, read=read)

    def __repr__(self) -> str:
        return f"Http({self._base_url!r})"

    @property
    def base_url(self) -> str:
        """Where calls go; what an adapter is given says where the operator wants them to go, "" if nowhere special."""
        return self._base_url

    def address(self, api: str, usual: str) -> str:
        """Where the operator wants calls to go of one of a vendor's several APIs, `usual` if nowhere special."""
        return self._addresses.get(api, usual)

    def on_behalf_of(self, delegation: Delegation) -> Self:
        """The same, with tokens for one person of the account."""
        other = copy.copy(self)
        other._authorizer = self._authorizer and self._authorizer.on_behalf_of(delegation)
        return other

    def at(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        explain: Explain | None = None,
        authorizer: Authorizer | None = None,
    ) -> Self:
        """The same connections under another base URL; `headers` come on top, closing this closes both."""
        other = copy.copy(self)
        other._base_url = base_url.rstrip("/")
        other._headers = self._headers | _lowered(headers)
        other._explain = explain or self._explain
        other._authorizer = authorizer or self._authorizer
        return other

    async def close(self) -> None:
        """Close all connections."""
        await self._wires.close()

    async def send(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
        content: str | bytes | None = None,
        safe: bool | None = None,
        accept: Container[int] = SUCCESS,
    ) -> Answer:
        """Send one call and answer what came back with a status in `accept`.

        `path` is appended to the base URL. `content` is a body that is not JSON. `safe` says that repeating
        is harmless; by default the method decides. A call is made again, at most three times in all and
        inside the deadline, if it was never sent, or is safe and its answer was lost or the vendor busy. With an
        authorizer it carries an access token; a vendor that refuses that one did nothing, so it is asked once more.

        Raises: ProviderError as in the module's table.
        """
        safe = method in SAFE_METHODS if safe is None else safe
        token = await self._authorizer.token() if self._authorizer else None

        def request() -> tuple[_Target, bytes]:
            fields = {**self._headers, **_lowered(headers), **_bearer(token)}
            try:
                target = _target(self._base_url + path)
                if params is not None:
                    target = _taken_apart(target.url.copy_merge_params(params))
                body = _written(json, fields) if content is None else content
                raw = packed(method, target.path, target.netloc, fields, body)
            except _NOT_SENDABLE:
                raise PermanentError("This call cannot be put into HTTP: check the address.", "admin") from None
            if target.url.userinfo:
                raise PermanentError("The address of a call holds a user name: check the address.", "admin")
            return target, raw

        answer = await self._deliver(*request(), safe)
        if answer.status == 401 and self._authorizer:
            token = await self._authorizer.token(refused=token)
            answer = await self._deliver(*request(), safe)
        if answer.status in accept:
            return answer
        error = (self._explain(answer) if self._explain else None) or _error_of(answer)
        if isinstance(error, TemporaryError):
            error.well = error.well or answer.sound
        raise error

    async def _deliver(self, target: _Target, raw: bytes, safe: bool) -> Answer:
        host, origin, maybe_sent = target.host, target.origin, False
        if origin is None:
            raise PermanentError(f"A call to {host} cannot be put into HTTP.", "developer")

        async def attempt() -> Answer:
            nonlocal maybe_sent
            async with self._hosts.room(origin, self._patience):
                maybe_sent = True
                try:
                    answer = await self._attempt(origin, host, raw, safe)
                except NeverSent:
                    maybe_sent = False
                    raise
            if safe and _is_busy(answer):
                raise _Busy(answer)
            return answer

        try:
            with Limit(self._deadline):
                return await _repeated(attempt, (NeverSent, AnswerLost, _Busy) if safe else (NeverSent,))
        except _Busy as busy:
            return busy.answer
        except NoRoom as error:
            if (heard := HEARD.get()) and heard.acted:
                raise OutcomeUnknown(error.text, well=heard.well) from None
            raise
        except NeverSent as error:
            raise TemporaryError(f"{host} cannot be reached{error}.") from None
        except (AnswerLost, TimeoutError):
            if maybe_sent and not safe:
                raise OutcomeUnknown(f"{host} got a call and did not answer it.") from None
            raise TemporaryError(f"{host} did not answer.") from None

    async def _attempt(self, origin: Origin, host: str, raw: bytes, safe: bool) -> Answer:
        heard, acts = HEARD.get(), not raw.startswith((b"GET ", b"HEAD "))
        try:
            reply = await self._wires.call(origin, raw, most=self._max_body, bodiless=raw.startswith(b"HEAD "))
        except (AnswerLost, CancelledError):
            if heard:
                heard.acted, heard.well = heard.acted or acts, False
            raise
        answer = Answer(
            host=host,
            status=reply.status,
            headers=reply.named,
            body=reply.body[: self._max_body],
            safe=safe,
        )
        if heard:
            heard.statuses.append(reply.status)
            heard.acted, heard.well = heard.acted or (acts and reply.status != 401), answer.sound
        if len(reply.body) > self._max_body and reply.status in SUCCESS:
            raise answer.unusable("is too long")
        return answer


def _lowered(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {name.lower(): value for name, value in (headers or {}).items()}


def _bearer(token: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


def _written(value: Any, headers: dict[str, str]) -> bytes:
    """A body of JSON, which its headers say; nothing for None."""
    if value is None:
        return b""
    headers.setdefault("content-type", "application/json")
    return _encode(value).encode()


class _Busy(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


async def _repeated(attempt: Callable[[], Awaitable[Answer]], harmless: tuple[type[Exception], ...]) -> Answer:
    try:
        return await attempt()  # most calls end here, and tenacity costs each 20 us
    except harmless:
        pass
    await sleep(random.uniform(*_SECOND))  # noqa: S311 (jitter is no secret)
    again = AsyncRetrying(sleep, stop_after_attempt(2), _THIRD, retry_if_exception_type(harmless), reraise=True)
    return await again(attempt)


def _is_busy(answer: Answer) -> bool:
    # A vendor that names a time is asked again then, not now.
    return answer.status in _BUSY and answer.retry_after is None


def _error_of(answer: Answer) -> ProviderError:
    host, status = answer.host, answer.status
    if status == 401:
        return ReconnectRequired(f"{host} refuses our credentials (status 401).")
    if status in (425, 429):
        return TemporaryError(f"{host} wants fewer calls (status {status}).", answer.retry_after)
    if status >= 500 or status == 408:
        text = f"{host} has a problem of its own (status {status})."
        return TemporaryError(text, answer.retry_after) if answer.safe else OutcomeUnknown(text)
    if 300 <= status < 400:
        return PermanentError(f"{host} sends us to another address (status {status}): check the address.", "admin")
    return PermanentError(f"{host} refuses the call (status {status}).", "admin")


def _moment(value: str) -> datetime | None:
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(value)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None
