"""What a provider adapter is: what it is asked for, what it answers, how it fails.

An adapter turns a `MeetingSpec` (what we want) into a `Meeting` (what the vendor has). It knows its vendor
and nothing else: no Redis, no Vello, no web framework. Read `jitsi.py` next to see one whole.

Errors, by what the caller does next::

    ProviderError
    ├── TemporaryError      try later, not before `retry_after`
    │   ├── NoRoom          it was never sent: too many calls are in flight here, or its time is over
    │   └── BudgetSpent     what the vendor allows a host in a while is used up
    ├── OutcomeUnknown      the call may have happened: `find` before any second create
    ├── MeetingNotFound     delete: done; update: create anew
    ├── ReconnectRequired   the account is dead until a person reconnects it
    └── PermanentError      show the text to `who_can_fix`; trying again the same way is useless
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from providers.accounts import Account as Account
from providers.accounts import Authorizer as Authorizer
from providers.accounts import Delegation as Delegation
from providers.accounts import OAuth as OAuth
from providers.accounts import Scope as Scope
from providers.capabilities import DAY as DAY
from providers.capabilities import Budget as Budget
from providers.capabilities import Capabilities as Capabilities
from providers.entrance import DialIn as DialIn
from providers.entrance import Entrance as Entrance
from providers.troubles import Trouble as Trouble

if TYPE_CHECKING:
    from providers.http import Http

Role = Literal["host", "guest"]
Fixer = Literal["admin", "operator", "developer"]


@dataclass(slots=True)
class Heard:
    """What came of the requests of one call: each answer's HTTP status, and whether any may have done something.

    `well`: the last of them was answered, and not that the vendor is broken.
    """

    statuses: list[int] = field(default_factory=list)
    acted: bool = False
    well: bool = True


HEARD: ContextVar[Heard | None] = ContextVar("heard", default=None)
"""Where whoever watches a call is told that."""

FENCE: ContextVar[Callable[[], bool] | None] = ContextVar("fence", default=None)
"""Whether who makes a call still may; asked with a wire open, since a process may stand still for long until then."""


def for_everybody() -> None:
    """From here on this task makes no call of the one that began it."""
    FENCE.set(None)
    HEARD.set(None)


@dataclass(frozen=True, slots=True)
class MeetingSpec:
    """What we want of a provider: one meeting for one booking.

    `key` names the booking: opaque, `[0-9a-f]{32}`, the same for every call about it. `generation` counts the
    meetings of that booking that were torn down for good; `(key, generation)` names one meeting. Times are
    UTC unix seconds, `duration` seconds, `time_zone` an IANA name for display only. `title` may be shown to
    everybody in the meeting. `host` is the vendor's name of a person (an e-mail address or an id) or None.
    `options` has been validated by the adapter's own options model. `owner` names the installation whose meeting it is,
    `[0-9a-f]{8}` or '' where nobody knows: it belongs into the vendor's marker and is no part of what is wanted.
    """

    key: str
    generation: int
    title: str
    start: int
    duration: int
    time_zone: str = "UTC"
    host: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    owner: str = field(default="", compare=False)

    @property
    def end(self) -> int:
        """When the meeting ends, UTC unix seconds."""
        return self.start + self.duration


@dataclass(frozen=True, slots=True)
class Meeting:
    """What a provider has. `join_url` is for guests and may carry a passcode, so it never shows in a repr.

    `warnings` are sentences for the record's journal: the meeting stands, but not quite as it was asked for.
    `entrance` is what the vendor says of the way in besides the link.
    """

    id: str
    join_url: str = field(repr=False)
    host: str | None = None
    warnings: tuple[str, ...] = field(default=(), compare=False)
    entrance: Entrance | None = field(default=None, repr=False, compare=False)


class ProviderError(Exception):
    """The provider did not do what was asked. `text` is for people: what happened, nothing secret in it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class TemporaryError(ProviderError):
    """Nothing happened, it may work later: busy, unreachable, over a limit. `retry_after` in seconds.

    `well` says that the provider answers and only this call has to wait: nothing else is held back for it.
    """

    def __init__(self, text: str, retry_after: float | None = None, *, well: bool = False) -> None:
        super().__init__(text)
        self.retry_after = retry_after
        self.well = well


class NoRoom(TemporaryError):
    """The call was never sent: as many are in flight as may be, or its time is over. Says nothing of the provider."""


class BudgetSpent(TemporaryError):
    """Nothing is left of what the vendor allows the meeting's host; there will be in `retry_after`."""


class OutcomeUnknown(ProviderError):
    """The call was sent and its answer lost: it may have happened. `find` before any second create.

    `well` says that the provider did answer, and is not done yet.
    """

    def __init__(self, text: str, *, well: bool = False) -> None:
        super().__init__(text)
        self.well = well


class MeetingNotFound(ProviderError):
    """The provider no longer has this meeting."""


class ReconnectRequired(ProviderError):
    """The account refuses us until a person connects it again."""


class PermanentError(ProviderError):
    """Trying again the same way is useless. `who_can_fix`: the office's admin, the operator, a developer."""

    def __init__(self, text: str, who_can_fix: Fixer) -> None:
        super().__init__(text)
        self.who_can_fix = who_can_fix


class Options(BaseModel):
    """What an office may choose for its meetings; an adapter adds its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    opens_before: int = Field(
        default=15,
        ge=0,
        le=1440,
        strict=True,
        description="Minutes before the start at which the meeting opens, where the provider can enforce it.",
    )


class ProviderSettings(BaseModel, ABC):
    """What a connection is made of. Secrets are `SecretStr`, so they never show in a repr or an answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, str_strip_whitespace=True)

    @property
    @abstractmethod
    def method(self) -> str:
        """How this connection authenticates, in the vendor's words."""

    @property
    @abstractmethod
    def account(self) -> str:
        """Which account or server this is, for people."""

    @property
    def account_key(self) -> str:
        """Which account its hosts belong to, for programs: the same for every connection that reaches them."""
        return self.account

    @property
    def person(self) -> tuple[str, ...]:
        """All names of who connected it, first the one that hosts are named by; () if it was nobody."""
        return ()

    def again(self, before: "ProviderSettings") -> Self:
        """These settings of an account that is connected again, with what of `before` is to outlive that."""
        return self

    def warnings(self) -> list[str]:
        """What an admin should know about these settings, one sentence each."""
        return []

    @property
    def access_life(self) -> int | None:
        """Seconds after which the vendor ends the access that a person gave, whatever is done; None: it does not."""
        return None

    def token_request(self, delegation: Delegation | None = None) -> Mapping[str, str] | None:
        """The body with which this connection gets access tokens by itself, None if it has a grant or needs none.

        It is sent by the client that the settings' fields `client_id` and `client_secret` name, if they have them.
        With a `delegation` the token is to be one for that; only adapters that ask for one are given one.
        """
        return None

    def reveal(self) -> dict[str, Any]:
        """All fields with secrets in clear: for the vault, nothing else."""
        return {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in self.model_dump(exclude_none=True).items()
        }


class MeetingProvider(Protocol):
    """One connected account or server. Every verb is safe to repeat and may raise a `ProviderError`."""

    @property
    def capabilities(self) -> Capabilities:
        """What this connection can promise; it may depend on the connection's settings."""

    async def create(self, spec: MeetingSpec) -> Meeting:
        """Make the meeting of `spec`, or answer the one an earlier call with this key and generation made.

        Raises: TemporaryError, OutcomeUnknown, ReconnectRequired, PermanentError.
        """

    async def update(self, meeting: Meeting, spec: MeetingSpec) -> Meeting:
        """Make `meeting` what `spec` says and answer it as it is afterwards.

        Raises: MeetingNotFound if it is gone, TemporaryError, OutcomeUnknown, ReconnectRequired,
        PermanentError.
        """

    async def delete(self, meeting: Meeting) -> None:
        """Remove `meeting`. One that is gone already is a success.

        Raises: TemporaryError, OutcomeUnknown, ReconnectRequired, PermanentError.
        """

    async def find(self, spec: MeetingSpec) -> Meeting | None:
        """The meeting that a `create(spec)` whose answer was lost has made, None if it made none.

        Of several, which only a vendor without idempotency can have, the one that was made last.

        Raises: TemporaryError, ReconnectRequired, PermanentError.
        """

    async def probe(self) -> str:
        """Ask the vendor the cheapest question that proves the connection works; the answer is for people.

        Raises: TemporaryError, ReconnectRequired, PermanentError.
        """

    def join_url(self, meeting: Meeting, spec: MeetingSpec, role: Role, now: int, until: int) -> str:
        """The URL that lets one person in, asked for at the click at `now`, good until `until` (unix times).

        Providers that do not mint links answer `meeting.join_url`. The answer is a secret: never store or log
        it.
        """


@runtime_checkable
class Kinds(Protocol):
    """A provider that makes meetings of several kinds, as offices choose; `capabilities` are the usual one's."""

    def promises(self, spec: MeetingSpec, meeting: Meeting | None) -> Capabilities:
        """What holds for this meeting, or for the one that `spec` would make."""


@runtime_checkable
class HostLinks(Protocol):
    """A provider whose hosts come in by a link of their own; with all others it is `join_url` in the role of host."""

    async def host_url(self, meeting: Meeting) -> str:
        """The host's link, fetched at the click. It is a secret: never store or log it, never show it to a guest.

        Raises: MeetingNotFound, TemporaryError, ReconnectRequired, PermanentError.
        """


@runtime_checkable
class ClickLinks(Protocol):
    """A provider that is asked for a person's link at the click, because it cannot make one without a call."""

    async def click_url(self, meeting: Meeting, spec: MeetingSpec, role: Role, now: int, until: int) -> str:
        """What `join_url` says of itself, in its place.

        Raises: MeetingNotFound, TemporaryError, ReconnectRequired, PermanentError.
        """


@runtime_checkable
class Directory(Protocol):
    """A provider that knows who may host meetings."""

    async def people(self) -> Sequence[str]:
        """Some hundreds of them at most, as `MeetingSpec.host` names them; none where the account keeps that to itself.

        Raises: TemporaryError, ReconnectRequired, PermanentError.
        """


@dataclass(frozen=True, slots=True)
class Remark:
    """What a look at a server told of a connection's settings, a sentence that says what to change if anything.

    `good`; `note`: worth knowing; `away`: it could not be asked; `wrong`: with these settings nobody would get in, or
    everybody.
    """

    kind: Literal["good", "note", "away", "wrong"]
    text: str


@runtime_checkable
class Inspects(Protocol):
    """A provider whose server can be asked about settings before they are stored."""

    async def inspect(self) -> Sequence[Remark]:
        """What the server says; a server that cannot be asked is a remark, not an error."""


class NoticeRefused(Exception):
    """The vendor did not send this, not now, or not so; the text says which and holds no secret."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a vendor's own webhook said. `at` is when it happened there, UTC unix seconds.

    `challenge`: the vendor wants `answer`, to see that the address is ours. `changed`: somebody changed or removed
    `meeting`, an id as `Meeting.id` has it; it may have been us. `left`: `account` took its grant for `client` back.
    """

    kind: Literal["challenge", "changed", "left", "other"]
    at: float = 0.0
    meeting: str | None = None
    account: str | None = None
    client: str | None = None
    answer: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """One row of the registry: everything the core and the pages need to know of an adapter."""

    name: str
    title: str
    settings: type[ProviderSettings]
    options: type[Options]
    connect: Callable[[Any, "Http"], MeetingProvider]
    """Makes the adapter from its validated settings and an HTTP client, authorised where the connection needs it."""
    asks: tuple[str, ...] | None = None
    """Fields of `settings` that people fill in where no browser login does it, None for all; () offers no form."""
    asks_more: tuple[str, ...] = ()
    """Fields that few people need; the form hides them at first."""
    oauth: OAuth | None = None
    """How accounts are connected, for providers that use OAuth."""
    notice: Callable[[Mapping[str, str], bytes, str, float], Notice] | None = None
    """Reads the vendor's webhook: headers, raw body, the shared secret, the time now.

    Raises: NoticeRefused.
    """
    app: str | None = None
    """What guests know it by, and its app if there is one; None where they know no name of it."""
    troubles: tuple[Trouble, ...] = ()
    """Its error texts by their codes, besides what `providers.troubles` has for everybody."""
