"""Spans for OpenTelemetry: with the extra `otel`, and only where the standard OTEL_* variables ask for them.

Without either none of it is imported and a span costs nothing. The provider of tracers is ours alone, not the
process's, so no library adds spans of its own. A span holds ids and outcomes: no URL, no text.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

import structlog

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Kind = Literal["server", "internal", "client"]
Headers = Iterable[tuple[bytes, bytes]]
"""A request's headers as ASGI has them."""

_ASKING = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PATIENCE: Final = 3.0  # seconds the last spans may take to leave at a stop
_log = structlog.get_logger(__name__)


class Span(Protocol):
    """What a span is told while it lasts."""

    def set(self, **attributes: str | int | float | None) -> None:
        """Add attributes; None leaves one out."""

    def failed(self, why: str) -> None:
        """Mark it as an error; `why` is a word, not a text."""


class Traces:
    """Makes spans, or nothing at all where there is no provider of tracers."""

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("vello-meetings") if provider else None

    def span(self, name: str, kind: Kind, headers: Headers | None = None) -> AbstractContextManager[Span]:
        """A span below the current one, or below the caller's that `headers` name."""
        return _OFF if self._tracer is None else _recorded(self._tracer, name, kind, headers)

    def close(self) -> None:
        """Send what is left; a collector that hangs holds nobody up."""
        if self._provider is not None:
            last = threading.Thread(target=self._provider.shutdown, daemon=True)
            last.start()
            last.join(_PATIENCE)


def configured(environ: Mapping[str, str]) -> Traces:
    """What the environment asks for: OTEL_EXPORTER_OTLP_ENDPOINT (or …_TRACES_ENDPOINT) sends spans there."""
    off = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if off or environ.get("OTEL_TRACES_EXPORTER") == "none" or not any(environ.get(name) for name in _ASKING):
        return Traces()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        _log.warning("traces_off", cure="install vello-meetings[otel], or take the OTEL_ variables away")
        return Traces()
    named = Resource.create() if _names_itself(environ) else Resource.create({"service.name": "vello-meetings"})
    provider = TracerProvider(resource=named, shutdown_on_exit=False)  # Traces.close() does it, with a bound
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider)


def _names_itself(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("OTEL_SERVICE_NAME")) or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")


class _Nothing:
    def set(self, **_: str | int | float | None) -> None: ...

    def failed(self, why: str) -> None: ...


_OFF = nullcontext[Span](_Nothing())


class _Recorded:
    def __init__(self, span: Any, error: Any) -> None:
        self._span = span
        self._error = error

    def set(self, **attributes: str | int | float | None) -> None:
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(f"vello_meetings.{name}", value)

    def failed(self, why: str) -> None:
        self._span.set_attribute("error.type", why)
        self._span.set_status(self._error)


@contextmanager
def _recorded(tracer: Any, name: str, kind: Kind, headers: Headers | None) -> Iterator[Span]:
    from opentelemetry.trace import SpanKind, Status, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {str(key, "latin-1"): str(value, "latin-1") for key, value in headers or ()}
    parent = TraceContextTextMapPropagator().extract(carrier) if headers is not None else None
    # An exception is named by its class alone: its text is for the log, which redacts it.
    quiet = {"record_exception": False, "set_status_on_exception": False}
    with tracer.start_as_current_span(name, context=parent, kind=SpanKind[kind.upper()], **quiet) as span:
        yield _Recorded(span, Status(StatusCode.ERROR))
