"""What Prometheus is told: figures of this process, and of the work that waits in the store. Names: docs/metrics.md.

A label never carries anything secret, and nothing that a caller could make up without end.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from service.gate import GateState
from service.vello import CONNECTION_TEST, RECORD_EVENTS
from service.verbs import Backlog

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
PREFIX: Final = "vello_meetings_"

TYPES = RECORD_EVENTS | {CONNECTION_TEST}
_ANSWER = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CALL = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0)
_BREAKER: dict[GateState, int] = {"closed": 0, "half_open": 1, "open": 2}

# A second series for each one, that nobody reads; the library turns it off for the whole process or not at all.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The figures of one process, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._events = Counter(f"{PREFIX}events", "Events by outcome.", ["type", "outcome"], registry=registry)
        self._answers = Histogram(
            f"{PREFIX}answer_seconds", "From an event to its answer.", ["type"], buckets=_ANSWER, registry=registry
        )
        self._calls = Histogram(
            f"{PREFIX}provider_call_seconds",
            "Calls to providers.",
            ["provider", "verb", "outcome"],
            buckets=_CALL,
            registry=registry,
        )
        self._takeovers = Counter(
            f"{PREFIX}lease_takeovers", "Records taken over from a process whose lease expired.", registry=registry
        )
        self._refreshes = Counter(
            f"{PREFIX}token_refreshes", "Access tokens asked for.", ["provider", "outcome"], registry=registry
        )
        self._waiting = _Waiting()
        registry.register(self._waiting)
        # A label's child is looked up once: that costs more than to count with it.
        self._counted: dict[tuple[str, str], Counter] = {}
        self._answered: dict[str, Histogram] = {}
        self._called: dict[tuple[str, str, str], Histogram] = {}

    def event(self, kind: str, outcome: str, seconds: float) -> None:
        """An event was answered; `kind` is what Vello called it, whatever that is."""
        kind = kind if kind in TYPES else "other"
        counter = self._counted.get((kind, outcome))
        if counter is None:
            counter = self._counted[kind, outcome] = self._events.labels(kind, outcome)
        answered = self._answered.get(kind)
        if answered is None:
            answered = self._answered[kind] = self._answers.labels(kind)
        counter.inc()
        answered.observe(seconds)

    def call(self, provider: str, verb: str, outcome: str, seconds: float) -> None:
        """A call to a provider came to its end."""
        called = self._called.get((provider, verb, outcome))
        if called is None:
            called = self._called[provider, verb, outcome] = self._calls.labels(provider, verb, outcome)
        called.observe(seconds)

    def takeover(self) -> None:
        """A record was taken over from a process whose lease expired."""
        self._takeovers.inc()

    def refresh(self, provider: str, outcome: str) -> None:
        """A provider was asked for access tokens."""
        self._refreshes.labels(provider, outcome).inc()

    def render(self, backlog: Backlog | None, breakers: Mapping[str, GateState]) -> bytes:
        """Everything as Prometheus reads it; without `backlog` the store could not be asked."""
        self._waiting.backlog, self._waiting.breakers = backlog, breakers
        return generate_latest(self._registry)


class _Waiting(Collector):
    """The figures of the store, as they were at this scrape."""

    def __init__(self) -> None:
        self.backlog: Backlog | None = None
        self.breakers: Mapping[str, GateState] = {}

    def collect(self) -> Iterable[Metric]:
        backlog = self.backlog
        yield GaugeMetricFamily(f"{PREFIX}store_up", "1 when the store answered this scrape.", int(backlog is not None))
        if backlog is not None:
            yield GaugeMetricFamily(f"{PREFIX}due_records", "Records somebody should look at now.", backlog.due)
            yield GaugeMetricFamily(
                f"{PREFIX}scheduled_records", "Records due, in work or waiting for their next try.", backlog.scheduled
            )
            yield GaugeMetricFamily(
                f"{PREFIX}oldest_due_seconds", "How long the record that is due longest has been.", backlog.oldest
            )
            gates = GaugeMetricFamily(f"{PREFIX}breaker_state", "0 closed, 1 half open, 2 open.", labels=["connection"])
            for connection, state in self.breakers.items():
                gates.add_metric([connection], _BREAKER[state])
            yield gates
