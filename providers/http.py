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
import re
import ssl
import time
from asyncio import timeout
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from json import loads
from typing import Any, Self

import httpx
import tenacity

from providers.base import (
    Authorizer,
    OutcomeUnknown,
    PermanentError,
    ProviderError,
    ReconnectRequired,
    TemporaryError,
)

SAFE_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
SUCCESS = range(200, 300)
MAX_BODY = 1024 * 1024
"""Largest answer read, in bytes."""
MAX_RETRY_AFTER = 86_400.0
"""Longest wait a vendor may ask for, in seconds: daily limits end within it."""

_ATTEMPTS = 3
_BUSY = frozenset({502, 503, 504})
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_NOT_SENDABLE = (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError)

# httpx logs whole URLs and httpcore logs headers; both may hold secrets.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@cache
def _trust() -> ssl.SSLContext:
    # Reading all certificates takes longer than most calls.
    return httpx.create_ssl_context(trust_env=False)


def _transport() -> httpx.AsyncBaseTransport:
    return httpx.AsyncHTTPTransport(_trust(), trust_env=False, limits=httpx.Limits(max_connections=100))


class _NeverSent(Exception):
    """No byte of the call left this process."""


class _AnswerLost(Exception):
    """The call may have arrived; its answer did not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a vendor answered; its repr shows host and status only."""

    host: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
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

    def unusable(self, why: str) -> ProviderError:
        """The error to raise for an answer that cannot be what the vendor meant; `why` ends its sentence."""
        text = f"The answer of {self.host} {why} (status {self.status})."
        if self.safe or 300 <= self.status < 500:
            return TemporaryError(text, self.retry_after)
        return OutcomeUnknown(text)


Explain = Callable[[Answer], ProviderError | None]
"""A vendor's own reading of an answer that is no success; None leaves it to the table above."""


class Http:
    """One vendor host: base URL, headers, time limits, and the only place where calls are repeated.

    Times are seconds: `connect` to reach the host, `read` without a byte from it, `deadline` for everything.
    Redirects are not followed, cookies not kept, proxies and other settings of the environment not used.
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
        authorizer: Authorizer | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = dict(headers or {})
        self._explain = explain
        self._authorizer = authorizer
        self._deadline = deadline
        self._max_body = max_body
        self._client = httpx.AsyncClient(
            transport=_transport(),
            timeout=httpx.Timeout(read, connect=connect, pool=connect),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            # Only unpacked answers have a known size.
            headers={
                "accept": "application/json",
                "accept-encoding": "identity",
                "user-agent": "vello-meetings",
            },
            follow_redirects=False,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"Http({self._base_url!r})"

    @property
    def base_url(self) -> str:
        """Where calls go; what an adapter is given says where the operator wants them to go, "" if nowhere special."""
        return self._base_url

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
        other._headers = {**self._headers, **(headers or {})}
        other._explain = explain or self._explain
        other._authorizer = authorizer or self._authorizer
        return other

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

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
        token = await self._authorizer.token() if self._authorizer else None

        async def deliver() -> Answer:
            try:
                request = self._client.build_request(
                    method,
                    self._base_url + path,
                    json=json,
                    params=params,
                    content=content,
                    headers={**self._headers, **(headers or {}), **_bearer(token)},
                )
            except _NOT_SENDABLE:
                raise PermanentError("This call cannot be put into HTTP: check the address.", "admin") from None
            return await self._deliver(request, method in SAFE_METHODS if safe is None else safe)

        answer = await deliver()
        if answer.status == 401 and self._authorizer:
            token = await self._authorizer.token(refused=token)
            answer = await deliver()
        if answer.status in accept:
            return answer
        explained = self._explain(answer) if self._explain else None
        raise explained or _error_of(answer)

    async def _deliver(self, request: httpx.Request, safe: bool) -> Answer:
        host = request.url.host
        maybe_sent = False

        async def attempt() -> Answer:
            nonlocal maybe_sent
            maybe_sent = True
            try:
                return await self._attempt(request, safe)
            except _NeverSent:
                maybe_sent = False
                raise

        try:
            async with timeout(self._deadline):
                return await _retrying(safe)(attempt)
        except _NeverSent as error:
            raise TemporaryError(f"{host} cannot be reached{error}.") from None
        except (_AnswerLost, TimeoutError):
            if maybe_sent and not safe:
                raise OutcomeUnknown(f"{host} got a call and did not answer it.") from None
            raise TemporaryError(f"{host} did not answer.") from None
        except _NOT_SENDABLE:
            raise PermanentError(f"A call to {host} cannot be put into HTTP.", "developer") from None

    async def _attempt(self, request: httpx.Request, safe: bool) -> Answer:
        try:
            response = await self._client.send(request, stream=True)
            try:
                return await self._answer(response, safe)
            finally:
                await response.aclose()
        except _NEVER_SENT as error:
            untrusted = "CERTIFICATE_VERIFY_FAILED" in str(error)
            raise _NeverSent(": its certificate is not trusted" if untrusted else "") from None
        except _NOT_SENDABLE:
            raise
        except httpx.TransportError:
            raise _AnswerLost from None

    async def _answer(self, response: httpx.Response, safe: bool) -> Answer:
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > self._max_body:
                break
        answer = Answer(
            host=response.request.url.host,
            status=response.status_code,
            headers=response.headers,
            body=bytes(body[: self._max_body]),
            safe=safe,
        )
        if len(body) > self._max_body and response.is_success:
            raise answer.unusable("is too long")
        return answer


def _bearer(token: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"} if token else {}


def _retrying(safe: bool) -> tenacity.AsyncRetrying:
    if safe:
        again = tenacity.retry_if_exception_type((_NeverSent, _AnswerLost)) | tenacity.retry_if_result(_is_busy)
    else:
        again = tenacity.retry_any(tenacity.retry_if_exception_type(_NeverSent))
    return tenacity.AsyncRetrying(
        retry=again,
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=1.0),
        retry_error_callback=_last_outcome,
    )


def _last_outcome(state: tenacity.RetryCallState) -> Any:
    return state.outcome.result() if state.outcome else None


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
