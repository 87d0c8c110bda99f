"""What the API takes and gives, as its OpenAPI document says it."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from providers.base import Remark
from service.choices import Choice, Line, Uuid
from service.entry import State
from service.rehearsal import Step


class Office(Choice):
    """An office and its choice; `own` is false when the choice is the default's.

    `company` is whose it is, `own` the installation's own, None while no event named it; `claimed_by` another company
    whose events name it and are refused.
    """

    id: str
    own: bool
    company: str | None
    claimed_by: str | None


class OfficeCompany(BaseModel):
    """Whose an office is to be; `own` is the installation's own company."""

    model_config = ConfigDict(extra="forbid")

    company: Literal["own"] | Uuid


class Logo(BaseModel):
    """A logo that offices may choose: what their choice calls it."""

    logo: str


class ConnectionRead(BaseModel):
    """A connection as it may be shown: no secret ever comes back."""

    id: str
    provider: str
    method: str
    name: str
    account: str
    state: Literal["ready", "reconnect", "failing"]
    reason: str | None
    reason_code: str | None
    scopes: list[str]
    missing_scopes: list[str]
    warnings: list[str]
    budget: dict[str, int] | None
    checked_at: int | None
    since: int | None
    in_use_by: list[str]
    waiting: int
    company: str | None


class ConnectionNew(BaseModel):
    """A connection to make; the other fields are what the provider's adapter declares."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    provider: str = Field(min_length=1, max_length=64)
    name: Line | None = None
    method: str | None = Field(default=None, max_length=64)


class ConnectionName(BaseModel):
    """A connection's other name."""

    model_config = ConfigDict(extra="forbid")

    name: Line


class Disconnection(BaseModel):
    """How a connection leaves: its upcoming meetings are kept where they are, moved `to` another, or removed."""

    model_config = ConfigDict(extra="forbid")

    how: Literal["keep", "move", "remove"]
    to: str | None = Field(default=None, max_length=64)


class Disconnecting(BaseModel):
    """How far that is: `left` of `total` upcoming meetings, of which `stuck` have failed and need somebody."""

    how: Literal["keep", "move", "remove"]
    to: str | None
    total: int
    left: int
    stuck: int


class CompanyNew(BaseModel):
    """A company to add; without `tokens` one is made and shown once."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    id: Uuid
    name: Line
    endpoint_url: Annotated[str, Field(max_length=500, pattern=r"^https?://[!-~]+$")] | None = None
    tokens: list[Annotated[str, Field(min_length=1, max_length=500)]] | None = Field(
        default=None, min_length=1, max_length=10
    )


class CompanyRead(BaseModel):
    """A company; `tokens` are there only in the answer that made it. `reached_at`: its last connection.test."""

    id: str
    name: str
    endpoint_url: str
    tokens: list[str] | None = None
    valid_tokens: int
    reached_at: int | None = None


class JournalRead(BaseModel):
    """One sentence of a record's story; `code` where it tells of trouble."""

    at: int
    what: str
    text: str
    code: str | None


class RecordRead(BaseModel):
    """A record: what Vello wants and what became of it. Times in unix seconds, `duration` in seconds.

    `vello_told` is false while Vello holds another link than the one it would be told now. `chosen_by` is whose choice
    serves it, `host_by` what in it names the host. `realm` is the company whose webhook told of it, '' the
    installation's own. `warnings`: the meeting stands, but not quite as the booking asks for it, or joining it may
    fail. `host_link`: the page from which its host starts the meeting; in the answer about one record only.
    """

    id: str
    company: str | None
    realm: str
    office: str | None
    resource: str | None
    service: str | None
    number: str | None
    version: int | None
    start: int | None
    duration: int | None
    state: State
    reason: str | None
    reason_code: str | None
    who_can_fix: str | None
    released: bool
    chosen_by: Literal["office", "default"] | None
    host_by: Literal["resource", "default_host"] | None
    link: str | None
    host_link: str | None = None
    vello_told: bool
    provider: str | None
    connection: str | None
    host: str | None
    meeting_id: str | None
    join_url: str | None
    attempts: int
    next_attempt_at: int | None
    warnings: list[str]
    journal: list[JournalRead] | None = None


class OfficePage(BaseModel):
    """All offices."""

    offices: list[Office]


class ConnectionPage(BaseModel):
    """All connections."""

    connections: list[ConnectionRead]


class CompanyPage(BaseModel):
    """All companies added in settings."""

    companies: list[CompanyRead]


class HostLink(BaseModel):
    """A link that holds the host's rights."""

    url: str


class RecordPage(BaseModel):
    """Some records by start; `cursor` continues, null at the end."""

    records: list[RecordRead]
    cursor: str | None


class DeliveryRead(BaseModel):
    """A line of the delivery log: an event that came in, or a call of a provider that went out.

    `at` in unix seconds, `milliseconds` how long the answer took. `verdict`: of an event new, old, same, no_record,
    refused (`code` says why), erased, unavailable, disconnected or failed; of a call ok or the name of the error.
    `realm` is the company whose webhook it came by, '' the installation's own, '?' none that is known. `times`: so
    often it came within a second and was answered alike. `replay_of`: the line that was replayed here.
    """

    id: str
    at: float
    kind: Literal["event", "call"]
    record: str | None
    realm: str
    type: str | None
    event: str | None
    version: int | None
    verdict: str
    code: str | None
    connection: str | None
    provider: str | None
    verb: str | None
    status: int | None
    attempt: int | None
    milliseconds: float | None
    times: int
    failing: bool
    replayable: bool
    replay_of: str | None


class DeliveryPage(BaseModel):
    """Some lines, the newest first; `cursor` continues, null at the end."""

    deliveries: list[DeliveryRead]
    cursor: str | None


class DeliveriesWanted(BaseModel):
    """Which events of the log are to be replayed: those that came from `since` on and fit all else that is given."""

    model_config = ConfigDict(extra="forbid", strict=True)

    since: float = Field(ge=0, le=99_999_999_999)
    until: float | None = Field(default=None, ge=0, le=99_999_999_999)
    record: Uuid | None = None
    type: str | None = Field(default=None, max_length=200)
    verdict: str | None = Field(default=None, max_length=64)
    connection: str | None = Field(default=None, max_length=64)
    failing: bool = False


class ReplayRead(BaseModel):
    """What a replay did, or would do: the `verdict` on the event; `does`: what becomes of its meeting, and `why`."""

    verdict: str
    does: Literal["nothing", "made", "changed", "replaced", "removed"] | None = None
    why: str | None = None


class OutlookRead(BaseModel):
    """What a replay of many would do; `complete` is false when there were more than were looked at."""

    events: int
    stale: int
    made: int
    changed: int
    replaced: int
    removed: int
    complete: bool


class ErrandRead(BaseModel):
    """What takes a while: a replay or an erasure, how far it is, and what came of it."""

    id: str
    kind: str
    who: str
    at: int
    ended_at: int | None
    state: Literal["running", "done", "stopped", "failed"]
    counts: dict[str, int]


class ErrandPage(BaseModel):
    """All that are remembered, the newest first."""

    errands: list[ErrandRead]


class ErasureNew(BaseModel):
    """What is to be erased: a record, or all records of a customer."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    record: Uuid | None = None
    customer: Uuid | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.record is None) == (self.customer is None):
            raise ValueError("Name either a `record` or a `customer`.")
        return self


class Export(BaseModel):
    """What is known; `complete` is false when there were more records than are looked through."""

    customer: str | None
    records: list[dict[str, Any]]
    complete: bool


class Error(BaseModel):
    """What went wrong: a code for programs, a sentence for people."""

    code: str
    message: str


class Failure(BaseModel):
    """The body of every error."""

    error: Error


class People(BaseModel):
    """Who may host a connection's meetings, as `hosts` names them; empty where the provider does not say."""

    people: list[str]


class Look(BaseModel):
    """What a server says of settings that are not stored; nothing where the provider has no server to ask."""

    remarks: list[Remark]


class Rehearsal(BaseModel):
    """What a connection's test did, step by step."""

    ok: bool
    steps: list[Step]
