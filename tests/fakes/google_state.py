"""What the fake Google knows: projects' clients, people, tokens, spaces, events, limits, faults, all it was asked.

Section numbers are those of Google's facts: 1 OAuth, 2 Calendar, 3 Meet; CAL and MEET are its discovery documents.
"""

import base64
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from secrets import choice, randbelow, token_hex, token_urlsafe
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pydantic import BaseModel, ConfigDict, Field

from tests.fakes.google_discovery import VERSIONS, Api

AUTH = "https://www.googleapis.com/auth/"
ACCESS_LIFETIME = 3599
"""Seconds an access token lives (§1)."""
CODE_LIFETIME = 600
"""Seconds an authorization code lives: RFC 6749's advice, Google names no number."""
TESTING_LIFETIME = 7 * 86_400
"""Seconds a refresh token lives while the consent screen is External and in Testing (§1)."""
IDLE_LIFETIME = 183 * 86_400
"""Seconds a refresh token lives unused: six months (§1)."""
TOKENS_EACH = 100
"""Live refresh tokens of one account for one client; one more and the oldest dies without a word (§1)."""
UNVERIFIED_USERS = 100
"""People an unverified external app may have in its life (§1)."""
CODE_DIES = 365 * 86_400
"""Seconds after its last use for which a meeting code lives (§3, MEET)."""
SIGN_IN = {"openid", f"{AUTH}userinfo.email", f"{AUTH}userinfo.profile"}
"""Scopes that are neither sensitive nor unticked: name, address, profile (§1)."""
LONG_NAMES = {"email": f"{AUTH}userinfo.email", "profile": f"{AUTH}userinfo.profile"}
"""Scopes that the answer names otherwise than the request did."""


class Strict(BaseModel):
    """No field that nobody knows, no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class App(Strict):
    """An OAuth client of a Google Cloud project. Without `redirect_uris` it may send people to any loopback address."""

    client_id: str
    client_secret: str
    project: str = "project-1"
    redirect_uris: list[str] = Field(default_factory=list)
    consent: Literal["production", "testing", "internal"] = "production"
    """The consent screen: External in production, External in Testing, or Internal to `domain` (§1)."""
    verified: bool = True
    """Without it a warning is shown, and only a hundred people may ever come in (§1)."""
    domain: str = "example.org"
    test_users: list[str] | None = None
    """Who may come in while Testing; None: everybody, for tests that are not about this."""
    enabled: bool = True
    apis: list[Api] = Field(default_factory=lambda: list(VERSIONS))
    """What is switched on in the project; the rest answers 403 accessNotConfigured (§2, errors)."""


class ServiceAccount(Strict):
    """A service account and what Workspace admins delegated to it: scopes by domain (§1, delegation)."""

    client_email: str
    client_id: str = "100000000000000000001"
    project: str = "project-1"
    public_key: str
    private_key_id: str = "key-1"
    delegated: dict[str, list[str]] = Field(default_factory=dict)
    enabled: bool = True
    apis: list[Api] = Field(default_factory=lambda: list(VERSIONS))


class User(Strict):
    """A person with a Google account. `domain` is their Workspace, None for an account of their own."""

    id: str = Field(default_factory=lambda: f"1{randbelow(10**20):020}")
    email: str
    domain: str | None = "example.org"
    exists: bool = True
    calendars: list[str] = Field(default_factory=list)
    """Secondary calendars they own, beside the primary one, whose id is their address."""
    time_zone: str = "Europe/Helsinki"
    default_access: Literal["OPEN", "TRUSTED", "RESTRICTED"] = "TRUSTED"
    """What a space without an access type gets (MEET accessType: the user's or the admin's default)."""
    may_open: bool = True
    """An admin may forbid OPEN (§3)."""
    restricted: bool = False
    """The admin has restricted the service: refreshes end in admin_policy_enforced (§1)."""
    solutions: list[str] = Field(default_factory=lambda: ["hangoutsMeet"])
    """What a calendar allows; anything else is 400 "Invalid conference type value." (§1, §2)."""
    pending_reads: int = Field(default=0, ge=0)
    """So many answers about a new event say `pending` before its conference is decided (§2)."""
    failing_conferences: int = Field(default=0, ge=0)
    """So many of the next conferences end in `failure` (§2)."""
    unseen_reads: int = Field(default=0, ge=0)
    """So many reads of a new event find nothing yet (§2, errors: 404 right after insert)."""


@dataclass(eq=False)
class Grant:
    """What one authorisation allows: of a person for a client, or of a service account, for a person or for itself."""

    client_id: str
    project: str
    user_id: str | None
    scopes: list[str]
    offline: bool = False
    nonce: str | None = None


@dataclass
class Code:
    """An authorization code: good once, for the address and the verifier it was made for."""

    grant: Grant
    redirect_uri: str
    challenge: str | None
    method: str
    expires: float
    used: bool = False


@dataclass
class Access:
    """An access token. A refresh does not end the ones before it (§1)."""

    token: str
    grant: Grant
    expires: float
    live: bool = True


@dataclass
class Refresh:
    """A refresh token. It never changes, and dies by revocation, by idling, by Testing, or as the oldest of many."""

    token: str
    grant: Grant
    made: float
    used: float
    expires: float | None
    live: bool = True
    uses: int = 0


@dataclass
class Space:
    """A Meet space. `origin` is the project that made it through the API, or None: made by Calendar (§3)."""

    id: str
    code: str
    owner_id: str
    origin: str | None
    config: dict[str, Any]
    used: float
    conference: str | None = None


@dataclass
class Event:
    """An event: `body` is what Google shows of it; a deleted one stays, `cancelled`, and its id is burnt (§2)."""

    calendar: str
    owner_id: str
    body: dict[str, Any]
    pending: int = 0
    failing: bool = False
    unseen: int = 0
    space_id: str | None = None
    purged: bool = False


class Failure(Strict):
    """The next `times` calls are refused, before anything happens or, `committed`, after all has happened.

    `reason` is Calendar's reason, Meet's status or OAuth's error; the rest of the body is the vendor's.
    """

    status: int = Field(ge=400, le=599)
    reason: str | None = None
    message: str | None = None
    times: int = Field(default=1, ge=1)
    retry_after: str | int | None = None
    html: bool = False
    committed: bool = False
    headers: dict[str, str] = Field(default_factory=dict)


class Faults(Strict):
    """What goes wrong: every call waits, some are `drop`ped unserved, `fail` are refused, then answers get lost.

    A call whose answer is lost has happened. `only` spares all calls but those of one verb.
    """

    delay: float = Field(default=0.0, ge=0, le=600)
    answer_delay: float = Field(default=0.0, ge=0, le=600)
    """Seconds between what was done and its answer."""
    drop: int = Field(default=0, ge=0)
    lose_answers: int = Field(default=0, ge=0)
    fail: list[Failure] = Field(default_factory=list)
    only: str | None = None


class Limits(Strict):
    """Calls in sixty seconds (§2 and §3, quotas); None: no limit."""

    creations_per_user: int | None = 10
    creations_per_project: int | None = 100
    meet_reads_per_user: int | None = 600
    meet_reads_per_project: int | None = 6000
    meet_writes_per_user: int | None = 100
    meet_writes_per_project: int | None = 1000
    calendar_per_user: int | None = 600
    calendar_per_project: int | None = 10_000


class Readings(Strict):
    """Where the facts conflict or are unverified: how this Google is to be read. An adapter must bear every reading."""

    over_limit: Literal[403, 429] = 403
    """Calendar says either, and means the same (§2, errors)."""
    no_space: Literal[403, 404] = 404
    """Meet says of spaces one may not see "Permission denied (or it might not exist)", GAM-team/GAM#1822."""
    no_open: Literal[400, 403] = 403
    """How an admin's ban of OPEN is told (§3)."""
    patched_when_deleted: Literal["stays", "lives", "forbidden", "gone"] = "stays"
    """A PATCH of a deleted event: 200 and still cancelled, revived (CAL status), 403 (ruby #1811) or 410 (§2)."""
    revocation_takes: float = 0.0
    """Seconds for which access tokens outlive a revocation: "takes a while to take full effect" (§1)."""


class Refused(Exception):
    """A call is answered with this status and one of Google's bodies."""

    def __init__(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(str(body))
        self.status, self.body, self.headers = status, dict(body), dict(headers or {})


@cache
def private_key(name: str) -> RSAPrivateKey:
    """One key for each name and process: making one takes its time."""
    return generate_private_key(public_exponent=65_537, key_size=2048)


def private_pem(name: str) -> str:
    """A private key as Google's key files hold it."""
    pem = private_key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode()


def public_pem(name: str) -> str:
    """The public half, as it is uploaded."""
    public = private_key(name).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@dataclass
class State:
    """All of Google. `reset` brings back the apps, the service account and the people that are there at the start."""

    url: str
    apps: dict[str, App] = field(default_factory=dict)
    service_accounts: dict[str, ServiceAccount] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    consents: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    """By project and user, what was ever granted and not revoked (§1)."""
    comers: dict[str, set[str]] = field(default_factory=dict)
    """By project, everybody who ever came in: the hundred of an unverified app (§1)."""
    codes: dict[str, Code] = field(default_factory=dict)
    accesses: dict[str, Access] = field(default_factory=dict)
    refreshes: dict[str, Refresh] = field(default_factory=dict)
    spaces: dict[str, Space] = field(default_factory=dict)
    events: dict[tuple[str, str], Event] = field(default_factory=dict)
    request_ids: dict[tuple[str, str], str] = field(default_factory=dict)
    """By calendar and request id, the event that had it first."""
    pages: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    recent: dict[str, list[float]] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    limits: Limits = field(default_factory=Limits)
    readings: Readings = field(default_factory=Readings)
    calls: list[dict[str, Any]] = field(default_factory=list)
    junk: list[str] = field(default_factory=list)
    """Every request that was not as Google's documents say: there should never be one."""
    mails: list[str] = field(default_factory=list)
    """Every e-mail Google would have sent."""
    offset: float = 0.0
    changes: int = 0

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything but the address, and begin anew."""
        known: tuple[dict[Any, Any], ...] = (
            *(self.apps, self.service_accounts, self.users, self.consents, self.comers, self.codes),
            *(self.accesses, self.refreshes, self.spaces, self.events, self.request_ids),
            *(self.pages, self.recent),
        )
        for table in known:
            table.clear()
        for log in (self.calls, self.junk, self.mails):
            log.clear()
        self.faults, self.limits, self.readings, self.offset = Faults(), Limits(), Readings(), 0.0
        for app in (
            App(client_id="user-app", client_secret="user-secret"),
            App(client_id="testing-app", client_secret="testing-secret", project="project-2", consent="testing"),
            App(client_id="internal-app", client_secret="internal-secret", project="project-3", consent="internal"),
        ):
            self.apps[app.client_id] = app
        robot = ServiceAccount(
            client_email="robot@project-1.iam.gserviceaccount.com",
            public_key=public_pem("robot"),
            delegated={"example.org": [f"{AUTH}meetings.space.created", f"{AUTH}calendar.events.owned"]},
        )
        self.service_accounts[robot.client_email] = robot
        for number, email in enumerate(("anna@example.org", "ben@example.org", "carla@example.com"), 1):
            domain = "example.org" if email.endswith("@example.org") else None
            user = User(id=f"10000000000000000000{number}", email=email, domain=domain)
            self.users[user.id] = user

    def now(self) -> float:
        """Google's clock."""
        return time.time() + self.offset

    def user(self, name: str) -> User | None:
        """A person by id or address."""
        known = (user for user in self.users.values() if user.email.lower() == name.lower())
        return self.users.get(name) or next(known, None)

    def good(self, access: Access) -> bool:
        """Whether an access token opens anything now."""
        user_id = access.grant.user_id
        return access.live and access.expires > self.now() and (user_id is None or self.users[user_id].exists)

    def issue(self, grant: Grant) -> dict[str, Any]:
        """A new access token, as the token endpoint answers it, and a refresh token if the grant is `offline`."""
        access = Access(f"ya29.{token_urlsafe(24)}", grant, self.now() + ACCESS_LIFETIME)
        self.accesses[access.token] = access
        answer: dict[str, Any] = {
            "access_token": access.token,
            "expires_in": ACCESS_LIFETIME,
            "scope": " ".join(grant.scopes),
            "token_type": "Bearer",
        }
        if grant.offline:
            answer |= self._refresh_token(grant)
        if "openid" in grant.scopes and grant.user_id is not None:
            answer["id_token"] = self._id_token(grant, access)
        return answer

    def _refresh_token(self, grant: Grant) -> dict[str, Any]:
        now, app = self.now(), self.apps[grant.client_id]
        short = app.consent == "testing" and not set(grant.scopes) <= SIGN_IN
        refresh = Refresh(f"1//{token_urlsafe(24)}", grant, now, now, now + TESTING_LIFETIME if short else None)
        held = [
            other
            for other in self.refreshes.values()
            if other.live and (other.grant.client_id, other.grant.user_id) == (grant.client_id, grant.user_id)
        ]
        for oldest in held[: max(0, len(held) + 1 - TOKENS_EACH)]:
            oldest.live = False
        self.refreshes[refresh.token] = refresh
        expires = {"refresh_token_expires_in": TESTING_LIFETIME - 1} if short else {}
        return {"refresh_token": refresh.token, **expires}

    def _id_token(self, grant: Grant, access: Access) -> str:
        user, now = self.users[grant.user_id or ""], int(self.now())
        half = hashlib.sha256(access.token.encode()).digest()[:16]
        claims: dict[str, Any] = {
            "iss": "https://accounts.google.com",
            "azp": grant.client_id,
            "aud": grant.client_id,
            "sub": user.id,
            "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
            "iat": now,
            "exp": now + 3600,
        }
        claims |= {"hd": user.domain} if user.domain else {}
        claims |= {"nonce": grant.nonce} if grant.nonce else {}
        if LONG_NAMES["email"] in grant.scopes:
            claims |= {"email": user.email, "email_verified": True}
        return jwt.encode(claims, private_key("google"), algorithm="RS256", headers={"kid": "google-1"})

    def revoke(self, project: str, user_id: str) -> int:
        """End all a person has granted to a project, whichever client it was (§1, revoke); says how much there was."""
        ended, until = 0, self.now() + self.readings.revocation_takes
        tokens: list[Refresh | Access] = [*self.refreshes.values(), *self.accesses.values()]
        for token in tokens:
            grant = token.grant
            if token.live and (grant.project, grant.user_id) == (project, user_id) and grant.client_id in self.apps:
                ended += 1
                if isinstance(token, Access) and self.readings.revocation_takes:
                    token.expires = min(token.expires, until)
                else:
                    token.live = False
        self.consents.pop((project, user_id), None)
        return ended

    def within(self, name: str, most: int | None) -> bool:
        """Whether one more of `name` fits into the last sixty seconds; if so it counts."""
        now = self.now()
        times = [at for at in self.recent.get(name, []) if at > now - 60]
        self.recent[name] = times
        if most is not None and len(times) >= most:
            return False
        times.append(now)
        return True

    def new_space(self, owner: User, origin: str | None, config: Mapping[str, Any]) -> Space:
        """A space with a code of its own; nobody gives it back (§3)."""
        base = {"accessType": owner.default_access, "entryPointAccess": "ALL"}
        space = Space(token_urlsafe(9), self._code(), owner.id, origin, base | dict(config), self.now())
        self.spaces[space.id] = space
        return space

    def _code(self) -> str:
        parts = ("".join(choice("abcdefghijkmnopqrstuvwxyz") for _ in range(length)) for length in (3, 4, 3))
        return "-".join(parts)

    def space_of(self, code: str) -> Space | None:
        """The space of a meeting code, as long as the code lives: it is used, or a future event has it (§2, §3)."""
        found = (space for space in self.spaces.values() if space.code == code.lower())
        space = next(found, None)
        if space is None or space.used + CODE_DIES > self.now() or self._has_future(space):
            return space
        return None

    def _has_future(self, space: Space) -> bool:
        ends = (event.body["end"] for event in self.events.values() if event.space_id == space.id)
        today = time.strftime("%Y-%m-%d", time.gmtime(self.now()))
        return any(end.get("dateTime", end.get("date", "")) >= today for end in ends)

    def stamp(self) -> str:
        """Google's clock as Calendar writes it."""
        now = self.now()
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now * 1000) % 1000:03}Z"

    def etag(self) -> str:
        """A new one for every change (§2, ETag)."""
        self.changes += 1
        return f'"{int(self.now() * 1000)}{self.changes:06}"'

    def uuid(self) -> str:
        """A name nobody guesses."""
        return token_hex(16)
