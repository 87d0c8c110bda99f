"""What can be seen of the work: each event, run and provider's call is one line, one figure and one span.

The only place that names what they carry: ids, words and times, never a text of somebody else.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Any

import structlog

from providers.base import HEARD, Heard
from service.deliveries import Answered, Deliveries, Note
from service.delivery import NOWHERE
from service.logs import redacted, straight
from service.metrics import TYPES, Metrics
from service.traces import Headers, Span, Traces
from service.vello import Event
from service.verbs import Lease

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Seen:
    """One event while it is answered; whoever answers it says what it was and what became of it.

    `outcome` is the ledger's verdict, or no_record, refused (`code` says why), unavailable, disconnected, failed. The
    rest is for the delivery log, as `Answered` has it; `erased`: the record was, so the log must not name it.
    """

    type: str = "other"
    record: str | None = None
    connection: str | None = None
    outcome: str = "failed"
    code: str | None = None
    realm: str = NOWHERE
    event: Event | None = None
    note: Note = Note()  # noqa: RUF009 - it cannot be changed
    noted: str = ""
    foreign: str = ""
    erased: bool = False
    took: float = 0.0
    """Seconds until there was an answer."""

    def refused(self, code: str) -> None:
        """It was answered with an error that is the sender's."""
        self.outcome, self.code = "refused", code


class Observer:
    """Tells the log, Prometheus and OpenTelemetry; the ones that are not asked for cost next to nothing."""

    def __init__(self, metrics: Metrics | None = None, traces: Traces | None = None) -> None:
        self.metrics = metrics or Metrics()
        self.deliveries: Deliveries | None = None
        self._traces = traces or Traces()

    def event(self, headers: Headers) -> "_Event":
        """One event, from its arrival to its answer; `headers` are its request's."""
        return _Event(self.metrics, self._traces.span("event", "server", headers), self.deliveries)

    def run(self, lease: Lease) -> "_Run":
        """One run of the reconciler on one record."""
        return _Run(self.metrics, self._traces.span("reconcile", "internal"), lease)

    def call(
        self, record: str | None, attempt: int, connection: str, provider: str, verb: str, realm: str | None = None
    ) -> "_Call":
        """One call of a provider's verb; its outcome is `ok` or the name of the error."""
        about = {"record": record} if record else {}  # a probe is about none
        said = {**about, "connection": connection, "provider": provider, "verb": verb}
        return _Call(
            self.metrics, self._traces.span(f"{provider} {verb}", "client"), self.deliveries, said, attempt, realm
        )

    def refresh(self, provider: str, outcome: str) -> None:
        """Access tokens were asked for; its outcome is ok, invalid_grant, unknown, late or the name of the error."""
        self.metrics.refresh(provider, outcome)
        _log.info("token_refresh", provider=provider, outcome=outcome)


class _Event:
    """A class, not a generator: this is the hot path."""

    def __init__(self, metrics: Metrics, span: AbstractContextManager[Span], log: Deliveries | None) -> None:
        self._metrics = metrics
        self._log = log
        self._opened = span
        self._seen = Seen()

    def __enter__(self) -> Seen:
        self._span = self._opened.__enter__()
        return self._seen

    def __exit__(self, *error: Any) -> None:
        seen, took = self._seen, self._seen.took
        self._metrics.event(seen.type, seen.outcome, took)
        line = {"type": seen.type if seen.type in TYPES else redacted(seen.type), "outcome": seen.outcome}
        if seen.record:
            line["record"] = seen.record
        if seen.connection:
            line["connection"] = seen.connection
        if seen.code is None:
            straight.info("event", {**line, "milliseconds": round(took * 1000, 1)})
        else:
            line["code"] = seen.code
            _log.warning("event", **line, milliseconds=round(took * 1000, 1))
        self._span.set(**line)
        if seen.outcome in ("failed", "unavailable"):
            self._span.failed(seen.outcome)
        self._opened.__exit__(*error)
        log = self._log
        asked_again = log and seen.record and seen.outcome == "same" and not seen.noted  # most of what comes
        if log and not (asked_again and log.repeated(seen.record or "", seen.type, seen.realm, took * 1000)):
            log.answered(_answered(seen, took))


def _answered(seen: Seen, took: float) -> Answered:
    verdict = "erased" if seen.erased else seen.outcome
    return Answered(
        seen.note,
        seen.realm,
        seen.type if seen.type in TYPES else redacted(seen.type),
        verdict,
        took * 1000,
        seen.event,
        seen.noted,
        seen.code,
        seen.connection,
        seen.foreign,
    )


class _Run:
    """A class for the same reason."""

    def __init__(self, metrics: Metrics, span: AbstractContextManager[Span], lease: Lease) -> None:
        self._metrics = metrics
        self._opened = span
        self._lease = lease

    def __enter__(self) -> None:
        if self._lease.inherited:
            self._metrics.takeover()
        self._metrics.working += 1
        self._span = self._opened.__enter__()
        self._span.set(record=self._lease.entry.record, attempt=self._lease.entry.attempts + 1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._metrics.working -= 1
        outcome = kind.__name__ if kind else "ok"
        if kind:
            self._span.failed(outcome)
        self._span.set(outcome=outcome)
        self._opened.__exit__(kind, error, trace)


class _Call:
    """A class for the same reason."""

    def __init__(
        self,
        metrics: Metrics,
        span: AbstractContextManager[Span],
        log: Deliveries | None,
        said: dict[str, str],
        attempt: int,
        realm: str | None,
    ) -> None:
        self._metrics = metrics
        self._opened = span
        self._log = log
        self._said = said
        self._attempt = attempt
        self._realm = realm
        self._heard = Heard()
        self._began = perf_counter()

    def __enter__(self) -> None:
        self._watching = HEARD.set(self._heard)
        self._span = self._opened.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        took, said, outcome = perf_counter() - self._began, self._said, kind.__name__ if kind else "ok"
        HEARD.reset(self._watching)
        said["outcome"] = outcome
        if kind:
            self._span.failed(outcome)
        provider, verb, milliseconds = said["provider"], said["verb"], round(took * 1000, 1)
        self._metrics.call(provider, verb, outcome, took)
        self._span.set(attempt=self._attempt, **said)
        straight.info("provider_call", {**said, "milliseconds": milliseconds, "attempt": self._attempt})
        if self._log:
            status = self._heard.statuses[-1] if self._heard.statuses else None
            what = (said["connection"], provider, verb, outcome, milliseconds, self._attempt, status)
            self._log.called(said.get("record"), self._realm, *what)
        self._opened.__exit__(kind, error, trace)
