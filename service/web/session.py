"""The admin's sessions: a random name in a cookie, everything else in the store, and the login that starts them.

Keys: `vm:session:<hash of the name>`, eight hours; `vm:logins:<hash of an address>`, wrong tokens, five minutes.
"""

import hashlib
import hmac
import json
import secrets
import time
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from service.store import Store

LIFE: Final = 8 * 3600
"""Seconds a session lasts."""
ATTEMPTS: Final = 10
"""Wrong tokens from one address, after which it must wait."""
WAIT: Final = 300
"""Seconds it must wait."""


class Sessions:
    """All sessions of all processes."""

    def __init__(self, store: Store, public_url: str) -> None:
        self._store = store
        parts = urlsplit(public_url)
        self._secure = parts.scheme == "https"
        self._cookie = "__Host-vello_meetings" if self._secure else "vello_meetings"
        self._origin = f"{parts.scheme}://{parts.netloc}"

    async def begin(self, response: Response) -> None:
        """Start a session and have `response` give it to the browser."""
        name = secrets.token_urlsafe(32)
        await self._store.execute("SET", _key(name), json.dumps({"at": int(time.time())}), "EX", LIFE)
        response.set_cookie(
            self._cookie, name, max_age=LIFE, path="/", secure=self._secure, httponly=True, samesite="lax"
        )

    async def of(self, request: Request) -> str | None:
        """A fingerprint of the browser's session, None without a living one."""
        name = request.cookies.get(self._cookie, "")
        if not name or await self._store.execute("GET", _key(name)) is None:
            return None
        return _hash(name)

    def ours(self, request: Request) -> bool:
        """Whether a request that changes something comes from a page of this service."""
        site = request.headers.get("sec-fetch-site")
        if site is not None:
            return site == "same-origin"
        return request.headers.get("origin") == self._origin


class Login:
    """Lets in who holds ADMIN_TOKEN."""

    def __init__(self, store: Store, sessions: Sessions, admin_token: str) -> None:
        self._store = store
        self.sessions = sessions
        self._admin_token = admin_token

    async def opens(self, request: Request, given: str) -> bool | None:
        """Whether `given` is the admin's token; None after too many wrong ones from the request's address."""
        key = f"vm:logins:{_hash(request.client.host if request.client else '')}"
        if int(await self._store.execute("GET", key) or 0) >= ATTEMPTS:
            return None
        if hmac.compare_digest(given.strip().encode(), self._admin_token.encode()):
            return True
        await self._store.pipeline([("INCR", key), ("EXPIRE", key, WAIT)])
        return False


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _key(name: str) -> str:
    return f"vm:session:{_hash(name)}"
