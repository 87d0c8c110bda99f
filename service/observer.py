"""What can be seen of the work: each event, run and provider's call is one line, one figure and one span.

The only place that names what they carry: ids, words and times, never a text of somebody else.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Any

import structlog

from service.logs import redacted, straight
from service.metrics import TYPES, Metrics
from service.traces import Headers, Span, Traces
from service.verbs import Lease

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Seen:
    """One event while it is answered; whoever answers it says what it was and what became of it.

    `outcome` is the ledger's verdict, or no_record, refused (`code` says why), unavailable, disconnected, failed.
    """

    type: str = "other"
    record: str | None = None
    connection: str | None = None
    outcome: str = "failed"
    code: str | None = None

    def refused(self, code: str) -> None:
        """It was answered with an error that is the sender's."""
        self.outcome, self.code = "refused", code


class Observer:
    """Tells the log, Prometheus and OpenTelemetry; the ones that are not asked for cost next to nothing."""

    def __init__(self, metrics: Metrics | None = None, traces: Traces | None = None) -> None:
        self.metrics = metrics or Metrics()
        self._traces = traces or Traces()

    def event(self, headers: Headers) -> "_Event":
        """One event, from its arrival to its answer; `headers` are its request's."""
        return _Event(self.metrics, self._traces.span("event", "server", headers))

    @contextmanager
    def run(self, lease: Lease) -> Iterator[None]:
        """One run of the reconciler on one record."""
        if lease.inherited:
            self.metrics.takeover()
        with self._traces.span("reconcile", "internal") as span:
            span.set(record=lease.entry.record, attempt=lease.entry.attempts + 1)
            outcome = "ok"
            try:
                yield
            except BaseException as error:
                outcome = type(error).__name__
                span.failed(outcome)
                raise
            finally:
                span.set(outcome=outcome)

    def call(self, record: str | None, attempt: int, connection: str, provider: str, verb: str) -> "_Call":
        """One call of a provider's verb; its outcome is `ok` or the name of the error."""
        about = {"record": record} if record else {}  # a probe is about none
        said = {**about, "connection": connection, "provider": provider, "verb": verb}
        return _Call(self.metrics, self._traces.span(f"{provider} {verb}", "client"), said, attempt)

    def refresh(self, provider: str, outcome: str) -> None:
        """Access tokens were asked for; its outcome is ok, invalid_grant, unknown, late or the name of the error."""
        self.metrics.refresh(provider, outcome)
        _log.info("token_refresh", provider=provider, outcome=outcome)


class _Event:
    """A class, not a generator: this is the hot path."""

    def __init__(self, metrics: Metrics, span: AbstractContextManager[Span]) -> None:
        self._metrics = metrics
        self._opened = span
        self._seen = Seen()
        self._began = perf_counter()

    def __enter__(self) -> Seen:
        self._span = self._opened.__enter__()
        return self._seen

    def __exit__(self, *error: Any) -> None:
        seen, took = self._seen, perf_counter() - self._began
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


class _Call:
    """A class for the same reason."""

    def __init__(
        self, metrics: Metrics, span: AbstractContextManager[Span], said: dict[str, str], attempt: int
    ) -> None:
        self._metrics = metrics
        self._opened = span
        self._said = said
        self._attempt = attempt
        self._began = perf_counter()

    def __enter__(self) -> None:
        self._span = self._opened.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        took, said = perf_counter() - self._began, self._said
        said["outcome"] = kind.__name__ if kind else "ok"
        if kind:
            self._span.failed(kind.__name__)
        self._metrics.call(said["provider"], said["verb"], said["outcome"], took)
        self._span.set(attempt=self._attempt, **said)
        straight.info("provider_call", {**said, "milliseconds": round(took * 1000, 1), "attempt": self._attempt})
        self._opened.__exit__(kind, error, trace)
