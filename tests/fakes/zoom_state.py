"""What the fake Zoom knows: apps, users, tokens, meetings, limits, faults, and everything it was asked.

Section numbers are those of Zoom's facts: 1 OAuth, 2 meetings, 3 errors and limits, 4 webhooks, 5 traps.
"""

import hashlib
import hmac
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import randbelow, token_urlsafe
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["user", "admin", "server_to_server"]

ACCESS_LIFETIME = 3599
"""Seconds an access token lives (§1)."""
CODE_LIFETIME = 300
"""Seconds an authorization code lives (§1)."""
PAGE_LIFETIME = 900
"""Seconds a page token lives (§2, list)."""
MEETING_LIFETIME = 30 * 86_400
"""Seconds after its scheduled time for which a meeting's id lives (§2, lifetime of ids)."""

GRANULAR = {
    "create": "meeting:write:meeting",
    "update": "meeting:update:meeting",
    "delete": "meeting:delete:meeting",
    "get": "meeting:read:meeting",
    "list": "meeting:read:list_meetings",
    "user": "user:read:user",
    "settings": "user:read:settings",
    "users": "user:read:list_users",
}
CLASSIC = {
    "create": "meeting:write",
    "update": "meeting:write",
    "delete": "meeting:write",
    "get": "meeting:read",
    "list": "meeting:read",
    "user": "user:read",
    "settings": "user:read",
    "users": "user:read",
}
"""What each call needs (§1, scopes); `:admin` follows where the app is admin-managed or Server-to-Server."""

CATEGORY = {"create": "Medium", "list": "Medium", "users": "Medium"}
"""§3: everything else is Light. Create is Medium or Light depending on the source; the strict reading holds here."""
PER_SECOND: Mapping[str, Mapping[str, int]] = {
    "free": {"Light": 4, "Medium": 2, "Heavy": 1},
    "pro": {"Light": 30, "Medium": 20, "Heavy": 10},
    "business": {"Light": 80, "Medium": 60, "Heavy": 40},
}
PER_DAY: Mapping[str, Mapping[str, int]] = {"free": {"Light": 6000, "Medium": 2000, "Heavy": 1000}}


class Strict(BaseModel):
    """No field that nobody knows, no value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class App(Strict):
    """An app of Zoom's Marketplace. Without `redirect_uris` it may send people to any loopback address."""

    client_id: str
    client_secret: str
    kind: Kind = "user"
    account_id: str = "account-1"
    scopes: list[str] = Field(default_factory=list)
    redirect_uris: list[str] = Field(default_factory=list)
    webhook_url: str | None = None
    webhook_secret: str = "webhook-secret"
    enabled: bool = True


class User(Strict):
    """A person with a Zoom account and the settings that matter for scheduled meetings."""

    id: str
    email: str
    account_id: str = "account-1"
    type: Literal[1, 2, 4, 99] = 2
    timezone: str = "Europe/Helsinki"
    pmi: int = Field(default_factory=lambda: 10**9 * 3 + randbelow(10**9))
    use_pmi: bool = False
    """New meetings take the personal meeting id unless told otherwise (§2, use_pmi; §5.6)."""
    require_passcode: bool = True
    """A meeting without a passcode gets one (§2, default_password)."""
    numeric_passcodes: bool = False
    """The account's rules let no letters into a passcode (§2, password)."""
    embeds_passcode: bool = True
    """Links hold the passcode, so that guests are not asked for it (user settings, embed_password_in_join_link)."""
    must_protect: bool = True
    """A meeting has a passcode or a waiting room (§2, account policy)."""
    locked: dict[str, Any] = Field(default_factory=dict)
    """Settings the account's admin has locked: they win over every request (§2, §5.5)."""
    dials_in: bool = True
    """The plan and the account's audio settings give meetings telephone numbers (settings.global_dial_in_numbers)."""
    may_host: bool = True
    refuses: bool = False
    """Nobody may schedule for this user (§3, 400/3000)."""
    needs_approval: bool = False
    """An admin must approve an app before this user may add it (§1)."""


@dataclass
class Grant:
    """One authorisation of one user for one app, or a Server-to-Server app's own (`user_id` None)."""

    client_id: str
    user_id: str | None
    account_id: str
    scopes: list[str]
    live: bool = True


@dataclass
class Code:
    """An authorization code: good once, for five minutes, for the redirect URI and verifier it was made for (§1)."""

    grant: Grant
    redirect_uri: str
    challenge: str | None
    method: str
    expires: float
    used: bool = False


@dataclass
class Access:
    """An access token. `live` ends with a refresh, a new authorisation or a revocation."""

    token: str
    grant: Grant
    expires: float
    live: bool = True


@dataclass
class Refresh:
    """A refresh token and how often it was presented: more than once means a lost race (§5.1)."""

    token: str
    grant: Grant
    live: bool = True
    uses: int = 0


@dataclass
class Meeting:
    """A scheduled meeting; `start` is UTC unix seconds."""

    id: int
    uuid: str
    host_id: str
    topic: str
    type: int
    start: int
    duration: int
    timezone: str
    agenda: str
    password: str
    settings: dict[str, Any]
    created: int
    live: bool = False
    ended: bool = False
    updates: list[float] = field(default_factory=list)


class Failure(Strict):
    """The next `times` calls are refused, before anything happens. `html` answers a page instead of JSON."""

    status: int = Field(ge=400, le=599)
    code: int | None = None
    message: str | None = None
    times: int = Field(default=1, ge=1)
    retry_after: str | int | None = None
    html: bool = False
    headers: dict[str, str] = Field(default_factory=dict)
    errors: list[dict[str, str]] | None = None


class Faults(Strict):
    """What goes wrong: every call waits, `fail` are refused one after the other, then answers get lost.

    A call whose answer is lost has happened. `only` spares all calls but those of one verb.
    """

    delay: float = Field(default=0.0, ge=0, le=600)
    lose_answers: int = Field(default=0, ge=0)
    fail: list[Failure] = Field(default_factory=list)
    only: str | None = None


class Limits(Strict):
    """§3: of the account by plan (None: no limit), of each user by day, of each meeting by day."""

    plan: Literal["free", "pro", "business"] | None = "business"
    daily: dict[str, int] = Field(default_factory=dict)
    """Calls an account may make in a day, by category, where they differ from the plan's."""
    per_user: int = 100
    per_meeting: int = 100


class Refused(Exception):
    """A call is answered with this status and Zoom's body: code, message, and errors by field."""

    def __init__(
        self,
        status: int,
        code: int,
        message: str,
        errors: list[dict[str, str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})
        self.body: dict[str, Any] = {"code": code, "message": message} | ({"errors": errors} if errors else {})


@dataclass
class State:
    """All of Zoom. `reset` brings back the three apps and two users that are there at the start."""

    url: str
    apps: dict[str, App] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    accesses: dict[str, Access] = field(default_factory=dict)
    refreshes: dict[str, Refresh] = field(default_factory=dict)
    meetings: dict[int, Meeting] = field(default_factory=dict)
    trash: dict[int, Meeting] = field(default_factory=dict)
    pages: dict[str, tuple[float, str, list[int]]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    faults: Faults = field(default_factory=Faults)
    limits: Limits = field(default_factory=Limits)
    calls: list[dict[str, Any]] = field(default_factory=list)
    junk: list[str] = field(default_factory=list)
    """Every request that was not as Zoom's documents say: there should never be one."""
    mails: list[str] = field(default_factory=list)
    """Every e-mail Zoom would have sent."""
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    """Every webhook that was sent, with the status it was answered with (0: not at all)."""
    offset: float = 0.0
    secret: bytes = field(default_factory=lambda: token_urlsafe(32).encode())

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything but the address, and begin with three apps and two users of one account."""
        for known in (self.apps, self.users, self.codes, self.accesses, self.refreshes, self.meetings, self.trash):
            known.clear()
        for log in (self.calls, self.junk, self.mails, self.deliveries):
            log.clear()
        self.pages.clear()
        self.counts.clear()
        self.faults, self.limits, self.offset = Faults(), Limits(), 0.0
        plain, admin = list(GRANULAR.values()), [f"{scope}:admin" for scope in GRANULAR.values()]
        plain.remove(GRANULAR["users"])  # it exists for admins only
        for app in (
            App(client_id="user-app", client_secret="user-secret", kind="user", scopes=plain),
            App(client_id="admin-app", client_secret="admin-secret", kind="admin", scopes=admin),
            App(client_id="s2s-app", client_secret="s2s-secret", kind="server_to_server", scopes=admin),
        ):
            self.apps[app.client_id] = app
        for name in ("anna", "ben"):
            user = User(id=f"{name.capitalize()}Zoom0123456789ab", email=f"{name}@example.org")
            self.users[user.id] = user

    def now(self) -> float:
        """Zoom's clock."""
        return time.time() + self.offset

    def user(self, name: str) -> User | None:
        """A user by id or e-mail address."""
        known = (user for user in self.users.values() if user.email.lower() == name.lower())
        return self.users.get(name) or next(known, None)

    def issue(self, grant: Grant) -> dict[str, Any]:
        """A new pair of tokens, as the token endpoint answers them; Server-to-Server apps get no refresh token (§1)."""
        access = Access(f"zat-{token_urlsafe(24)}", grant, self.now() + ACCESS_LIFETIME)
        answer: dict[str, Any] = {
            "access_token": access.token,
            "token_type": "bearer",
            "expires_in": ACCESS_LIFETIME,
            "scope": " ".join(grant.scopes),
            "api_url": self.url,
        }
        if grant.user_id is not None:
            # The strict reading of §1: a new access token ends the one before it.
            self.end_tokens(grant)
            refresh = Refresh(f"zrt-{token_urlsafe(24)}", grant)
            self.refreshes[refresh.token] = refresh
            answer["refresh_token"] = refresh.token
        self.accesses[access.token] = access
        return answer

    def end_tokens(self, grant: Grant) -> None:
        """All tokens of a grant are dead from now on."""
        for token in self._tokens():
            if token.grant is grant:
                token.live = False

    def end_grants(self, client_id: str, user_id: str) -> int:
        """End what a user has granted an app before (§1: re-authorisation, revocation); says how many there were."""
        grants = {id(token.grant): token.grant for token in self._tokens()}
        ended = [g for g in grants.values() if g.live and (g.client_id, g.user_id) == (client_id, user_id)]
        for grant in ended:
            grant.live = False
            self.end_tokens(grant)
        return len(ended)

    def _tokens(self) -> list[Access | Refresh]:
        return [*self.accesses.values(), *self.refreshes.values()]

    def join_url(self, meeting: Meeting) -> str:
        """§2: the id and a hash of the passcode; it changes with the passcode."""
        if not (meeting.password and self.users[meeting.host_id].embeds_passcode):
            return f"{self.url}/j/{meeting.id}"
        digest = hmac.new(self.secret, f"{meeting.id}|{meeting.password}".encode(), hashlib.sha256).hexdigest()
        return f"{self.url}/j/{meeting.id}?pwd={digest[:32]}.1"

    def start_url(self, meeting: Meeting) -> str:
        """§2: it carries the host's token, so it is a secret; a new one at every call."""
        return f"{self.url}/s/{meeting.id}?zak=zak-{token_urlsafe(24)}"
