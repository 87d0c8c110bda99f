"""What Prometheus is told: figures of this process, and of the work that waits in the store. Names: docs/metrics.md.

A label never carries anything secret, and nothing that a caller could make up without end.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client import Counter as CounterMetric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from service.connections import HealthState
from service.gate import GateState
from service.swept import Kind, SweepReport
from service.vello import CONNECTION_TEST, RECORD_EVENTS
from service.verbs import Backlog

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
PREFIX: Final = "vello_meetings_"

TYPES = RECORD_EVENTS | {CONNECTION_TEST}
_ANSWER = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CALL = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0)
_BREAKER: dict[GateState, int] = {"closed": 0, "half_open": 1, "open": 2}
_STATE: dict[HealthState, int] = {"ready": 0, "failing": 1, "reconnect": 2}

# A second series for each one, that nobody reads; the library turns it off for the whole process or not at all.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The figures of one process, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._events = _Events()
        registry.register(self._events)
        self._calls = Histogram(
            f"{PREFIX}provider_call_seconds",
            "Calls to providers.",
            ["provider", "verb", "outcome"],
            buckets=_CALL,
            registry=registry,
        )
        self.working = 0
        """Runs this process has under way."""
        Gauge(f"{PREFIX}runs_in_progress", "Records this process works on.", registry=registry).set_function(
            lambda: self.working
        )
        self._takeovers = CounterMetric(
            f"{PREFIX}lease_takeovers", "Records taken over from a process whose lease expired.", registry=registry
        )
        self._refreshes = CounterMetric(
            f"{PREFIX}token_refreshes", "Access tokens asked for.", ["provider", "outcome"], registry=registry
        )
        self._notices = CounterMetric(
            f"{PREFIX}notices", "Notices that were sent to people.", ["channel", "outcome"], registry=registry
        )
        self._waiting = _Waiting()
        registry.register(self._waiting)
        # A label's child is looked up once: that costs more than to count with it.
        self._called: dict[tuple[str, str, str], Histogram] = {}

    def event(self, kind: str, outcome: str, seconds: float) -> None:
        """An event was answered; `kind` is what Vello called it, whatever that is."""
        self._events.count(kind if kind in TYPES else "other", outcome, seconds)

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

    def notice(self, channel: str, outcome: str) -> None:
        """A notice was sent, or a try at it came to nothing."""
        self._notices.labels(channel, outcome).inc()

    def render(
        self,
        backlog: Backlog | None,
        breakers: Mapping[str, GateState],
        states: Mapping[str, HealthState] | None = None,
        budgets: Mapping[str, float] | None = None,
        skew: float = 0.0,
        matters: Mapping[str, int] | None = None,
        silent: Mapping[str, float] | None = None,
        sweep: SweepReport | None = None,
    ) -> bytes:
        """Everything as Prometheus reads it; without `backlog` the store could not be asked.

        `budgets`: which part is left of its scarcest host's budget, by connection. `skew`: seconds by which
        the store's clock is ahead. `matters`: how many of each code need a person. `silent`: for how many seconds no
        notice has arrived, by channel.
        """
        waiting = self._waiting
        waiting.backlog, waiting.breakers = backlog, breakers
        waiting.states, waiting.budgets, waiting.skew, waiting.sweep = states or {}, budgets or {}, skew, sweep
        waiting.matters, waiting.silent = matters or {}, silent or {}
        return generate_latest(self._registry)


class _Events(Collector):
    """Events, counted without the library's locks: one loop counts them, and it is the hot path."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._buckets: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def count(self, kind: str, outcome: str, seconds: float) -> None:
        self._counts[kind, outcome] += 1
        buckets = self._buckets.get(kind)
        if buckets is None:
            buckets, self._sums[kind] = self._buckets.setdefault(kind, [0] * (len(_ANSWER) + 1)), 0.0
        buckets[bisect_left(_ANSWER, seconds)] += 1
        self._sums[kind] += seconds

    def collect(self) -> Iterable[Metric]:
        events = CounterMetricFamily(f"{PREFIX}events", "Events by outcome.", labels=["type", "outcome"])
        for labels, number in self._counts.items():
            events.add_metric(labels, number)
        yield events
        answers = HistogramMetricFamily(f"{PREFIX}answer_seconds", "From an event to its answer.", labels=["type"])
        bounds = [*map(str, _ANSWER), "+Inf"]
        for kind, buckets in self._buckets.items():
            pairs = list(zip(bounds, accumulate(buckets), strict=True))
            answers.add_metric([kind], pairs, self._sums[kind])
        yield answers


class _Waiting(Collector):
    """The figures of the store, as they were at this scrape."""

    def __init__(self) -> None:
        self.backlog: Backlog | None = None
        self.breakers: Mapping[str, GateState] = {}
        self.states: Mapping[str, HealthState] = {}
        self.budgets: Mapping[str, float] = {}
        self.skew = 0.0
        self.matters: Mapping[str, int] = {}
        self.silent: Mapping[str, float] = {}
        self.sweep: SweepReport | None = None

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
            states = GaugeMetricFamily(
                f"{PREFIX}connection_state", "0 ready, 1 failing, 2 a person must reconnect it.", labels=["connection"]
            )
            for connection, health in self.states.items():
                states.add_metric([connection], _STATE[health])
            yield states
            left = GaugeMetricFamily(
                f"{PREFIX}budget_left_ratio", "Left of the scarcest host's budget, from 0 to 1.", labels=["connection"]
            )
            for connection, part in self.budgets.items():
                left.add_metric([connection], part)
            yield left
            yield GaugeMetricFamily(
                f"{PREFIX}clock_skew_seconds", "By how much the store's clock is ahead of ours.", self.skew
            )
            matters = GaugeMetricFamily(f"{PREFIX}matters", "What needs a person, at the last round.", labels=["code"])
            for code, number in self.matters.items():
                matters.add_metric([code], number)
            yield matters
            silent = GaugeMetricFamily(
                f"{PREFIX}notices_silent_seconds", "How long no notice has arrived.", labels=["channel"]
            )
            for channel, seconds in self.silent.items():
                silent.add_metric([channel], seconds)
            yield silent
            if self.sweep and self.sweep.ended:
                yield from _sweep(self.sweep, self.sweep.ended)


def _sweep(sweep: SweepReport, ended: int) -> Iterable[Metric]:
    """What the last sweep came to, once it has come to its end."""
    yield GaugeMetricFamily(
        f"{PREFIX}sweep_ended_timestamp_seconds", "When the last sweep came to its end, unix time.", ended
    )
    yield GaugeMetricFamily(f"{PREFIX}sweep_meetings", "Meetings of ours that the last sweep saw.", sweep.meetings)
    findings = GaugeMetricFamily(
        f"{PREFIX}sweep_findings", "What the last sweep found, by what was done.", labels=["kind"]
    )
    for kind in Kind:
        findings.add_metric([str(kind)], sweep.counts.get(str(kind), 0))
    yield findings
    yield GaugeMetricFamily(
        f"{PREFIX}sweep_unread_connections", "Connections that the last sweep could not read.", len(sweep.left)
    )
