"""Spans for OpenTelemetry: what they say, whose they continue, and that nothing needs them."""

import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from service.observer import Observer
from service.traces import Traces, configured
from service.vello import sign
from tests.events import body, record
from tests.processes import Service
from tests.running import ENDPOINT, TOKEN, running
from tests.servers import MemoryServer, Misbehaviour, RawServer, http
from tests.waiting import wait_until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
BLOCKED = """
import sys

class Nowhere:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Nowhere())
from service.cli import main
sys.exit(main(["demo"]))
"""


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def observer(spans: InMemorySpanExporter) -> Observer:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return Observer(traces=Traces(provider))


def of(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


def said(span: ReadableSpan) -> dict[str, Any]:
    attributes = span.attributes or {}
    return {name.removeprefix("vello_meetings."): value for name, value in attributes.items()}


async def test_an_event_a_run_and_a_call_are_one_trace_that_continues_the_callers(
    store_url: str, meeting_server: MemoryServer, observer: Observer, spans: InMemorySpanExporter
) -> None:
    data = record()
    raw = body("record.update_metadata", data)
    headers = {"Vello-Signature": sign(TOKEN, ENDPOINT, raw), "traceparent": f"00-{TRACE}-{PARENT}-01"}
    async with running(store_url, observer=observer) as service:
        connection = await service.connect(meeting_server.url)
        assert (await service.client.post(ENDPOINT, content=raw, headers=headers)).status_code == 200
    (event,), (run,), (call,) = of(spans, "event"), of(spans, "reconcile"), of(spans, "memory create")
    assert [span.kind for span in (event, run, call)] == [SpanKind.SERVER, SpanKind.INTERNAL, SpanKind.CLIENT]
    assert {f"{span.context.trace_id:032x}" for span in (event, run, call)} == {TRACE}
    assert event.parent
    assert run.parent
    assert call.parent
    assert f"{event.parent.span_id:016x}" == PARENT
    assert (run.parent.span_id, call.parent.span_id) == (event.context.span_id, run.context.span_id)
    about = {"record": data["id"], "connection": connection}
    assert said(event) == {**about, "type": "record.update_metadata", "outcome": "new"}
    assert said(run) == {"record": data["id"], "attempt": 1, "outcome": "ok"}
    assert said(call) == {**about, "attempt": 1, "provider": "memory", "verb": "create", "outcome": "ok"}


async def test_what_went_wrong_is_an_error_named_by_a_word_and_nothing_else(
    store_url: str, meeting_server: MemoryServer, observer: Observer, spans: InMemorySpanExporter
) -> None:
    async with running(store_url, observer=observer) as service:
        await service.connect(meeting_server.url)
        await meeting_server.faults(fail=[{"status": 401, "times": 1}], only="create")
        link = await service.link(record())
        await service.client.post(ENDPOINT, content=b"{}", headers={"traceparent": "nonsense"})
    (call,) = of(spans, "memory create")
    assert (call.status.status_code, call.status.description) == (StatusCode.ERROR, None)
    assert (said(call)["outcome"], said(call)["error.type"]) == ("ReconnectRequired", "ReconnectRequired")
    assert said(of(spans, "event")[-1]) == {"type": "other", "outcome": "refused", "code": "invalid_signature"}
    assert [span.events for span in spans.get_finished_spans() if span.events] == []
    everything = "".join(span.to_json() for span in spans.get_finished_spans())
    assert link
    assert link.rpartition("/")[2] not in everything
    assert "://" not in everything.replace(ENDPOINT, "")


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_is_recorded_that_was_not_asked_for(environ: dict[str, str]) -> None:
    traces = configured(environ)
    with traces.span("event", "server", {}) as one, traces.span("event", "client") as other:
        assert one is other
    traces.close()


def test_no_tracing_is_imported_unless_it_was_asked_for() -> None:
    script = (
        "import sys; from service import cli, traces; traces.configured({}); heavy = 'sdk.trace', 'exporter'\n"
        "print([name for name in sys.modules if name.removeprefix('opentelemetry.').startswith(heavy)])"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_without_the_extra_everything_works_whether_asked_for_or_not() -> None:
    """The extra's packages cannot be imported; OpenTelemetry's API alone comes with the web framework."""
    for asked in ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}):
        ran = subprocess.run(
            [sys.executable, "-c", BLOCKED], env={"PATH": "/usr/bin:/bin", **asked}, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
    script = BLOCKED.replace("from service.cli import main", "from service.traces import configured")
    script = script.replace('sys.exit(main(["demo"]))', 'configured({"OTEL_EXPORTER_OTLP_ENDPOINT": "x"})')
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "vello-meetings[otel]" in ran.stdout


async def test_a_collector_named_by_the_standard_variable_gets_the_spans(
    store_url: str, meeting_server: MemoryServer
) -> None:
    data = record()
    async with RawServer(http(200, b"")) as collector:
        async with Service(REDIS_URL=store_url, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as service:
            await service.connect(meeting_server.url)
            assert (await service.say("record.update_metadata", data)).json()["metadata"]
            assert await service.stop() == 0
        await wait_until(lambda: data["id"].encode() in b"".join(collector.requests))
        sent = b"".join(collector.requests)
    assert sent.startswith(b"POST /v1/traces ")
    for word in (b"vello-meetings", b"reconcile", b"memory create", data["id"].encode()):
        assert word in sent
    assert b"/m/" not in sent


async def test_a_collector_that_hangs_holds_up_neither_answers_nor_the_stop(
    store_url: str, meeting_server: MemoryServer
) -> None:
    async with RawServer(Misbehaviour.HANG) as collector:
        asked = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_TIMEOUT": "90"}
        service = Service(REDIS_URL=store_url)
        service.environment |= asked
        async with service:
            await service.connect(meeting_server.url)
            assert (await service.say("record.update_metadata", record())).json()["metadata"]
            assert await service.stop() == 0
        await wait_until(collector.arrived.is_set)
