"""The sessions of admins: a random name in a cookie, everything else in the store.

Keys, named by hashes: `vm:session:<name>`, at most eight hours, one without a request; `vm:sessions:<person>`, the
names of all sessions of a person, eight hours; `vm:logins:<address>`, wrong tokens, five minutes.
"""

import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from service.store import Store
from service.web.peers import peer_of

LIFE: Final = 8 * 3600
"""Seconds a session lasts at most."""
IDLE: Final = 3600
"""Seconds a session lasts without a request."""
ATTEMPTS: Final = 10
"""Wrong tokens from one address, after which it must wait."""
WAIT: Final = 300
"""Seconds it must wait."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who is logged in: an e-mail address, or the one who holds ADMIN_TOKEN; `companies` None means all of them."""

    name: str
    companies: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A living session. `id` is safe to store; `form_token` goes with every form and comes back with it."""

    id: str
    person: Person
    form_token: str = field(repr=False)


class Sessions:
    """All sessions of all processes."""

    def __init__(self, store: Store, public_url: str) -> None:
        self._store = store
        parts = urlsplit(public_url)
        self.secure = parts.scheme == "https"
        self._cookie = self.cookie_name("vello_meetings")
        self._origin = f"{parts.scheme}://{parts.netloc}"

    def cookie_name(self, name: str) -> str:
        """A cookie's name; behind https one that only this very host can have set."""
        return f"__Host-{name}" if self.secure else name

    async def begin(self, request: Request, response: Response, person: Person) -> None:
        """Start a session under a new name and have `response` give it to the browser; the one before it ends."""
        name = secrets.token_urlsafe(32)
        row = {"at": int(time.time()), "name": person.name, "companies": person.companies}
        mine = f"vm:sessions:{_hash(person.name)}"
        before = request.cookies.get(self._cookie)
        await self._store.pipeline(
            [
                ("SET", _key(_hash(name)), json.dumps(row), "EX", IDLE),
                ("SADD", mine, _hash(name)),
                ("EXPIRE", mine, LIFE),
                *([("DEL", _key(_hash(before)))] if before else []),
            ]
        )
        response.set_cookie(
            self._cookie, name, max_age=LIFE, path="/", secure=self.secure, httponly=True, samesite="lax"
        )

    async def of(self, request: Request) -> Session | None:
        """The browser's session, None without a living one; whoever clicks keeps it from ending of idleness.

        What a page asks by itself does not.
        """
        name = request.cookies.get(self._cookie, "")
        if not name:
            return None
        by_itself = request.method == "GET" and "hx-request" in request.headers
        ask = ("GET", _key(_hash(name))) if by_itself else ("GETEX", _key(_hash(name)), "EX", IDLE)
        row = await self._store.execute(*ask)
        if row is None:
            return None
        data = json.loads(row)
        if data["at"] + LIFE < time.time():
            await self._store.execute("DEL", _key(_hash(name)))
            return None
        companies = data["companies"]
        person = Person(data["name"], tuple(companies) if companies is not None else None)
        return Session(_hash(name), person, _hash(f"form\0{name}"))

    async def end(self, request: Request, response: Response, *, everywhere: bool = False) -> None:
        """End the browser's session, or all sessions of its person."""
        session = await self.of(request)
        if session is not None:
            mine = f"vm:sessions:{_hash(session.person.name)}"
            names = {session.id, *(await self._store.execute("SMEMBERS", mine) if everywhere else ())}
            await self._store.pipeline([*(("DEL", _key(name)) for name in names), ("SREM", mine, *names)])
        response.delete_cookie(self._cookie, path="/", secure=self.secure, httponly=True, samesite="lax")

    def ours(self, request: Request) -> bool:
        """Whether a request that changes something comes from a page of this service."""
        site = request.headers.get("sec-fetch-site")
        if site is not None:
            return site == "same-origin"
        return request.headers.get("origin") == self._origin


class Attempts:
    """Lets in who holds ADMIN_TOKEN, and counts who does not."""

    def __init__(self, store: Store, admin_token: str) -> None:
        self._store = store
        self._admin_token = admin_token

    async def opens(self, request: Request, given: str) -> bool | None:
        """Whether `given` is the admin's token; None after too many wrong ones from the request's address."""
        key = f"vm:logins:{_hash(peer_of(request))}"
        if int(await self._store.execute("GET", key) or 0) >= ATTEMPTS:
            return None
        if hmac.compare_digest(given.strip().encode(), self._admin_token.encode()):
            return True
        await self._store.pipeline([("INCR", key), ("EXPIRE", key, WAIT)])
        return False


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _key(name: str) -> str:
    return f"vm:session:{name}"
