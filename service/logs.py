"""Structured logs on stderr, with everything secret taken out before a line is written."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_NAMES = re.compile(r"token|secret|password|passcode|authorization|cookie|join_url|private_key", re.I)
_SECRET_TEXT = re.compile(
    r"(?P<jwt>eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
    r"|(?P<bearer>(?<=Bearer )\S+)"
    r"|(?P<query>(?<=[?&#])(?:jwt|pwd|token|code|state|secret|zak|tk)=[^&\s\"']+)"
    r"|(?P<hosted>(?<=/m/)[\w-]{23})",
    re.I,
)


def configure(level: str, form: str) -> None:
    """Send our own and every library's lines through the same redaction, as `json` or `text`."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    last = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for library in ("httpx", "httpcore", "asyncio", "uvicorn"):
        logging.getLogger(library).setLevel("WARNING")


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take secrets out of a line: by the name of a field, and by what they look like in any text."""
    for name, value in event.items():
        if name.startswith("_"):
            continue
        if _SECRET_NAMES.search(name) and value is not None:
            event[name] = "[redacted]"
        elif isinstance(value, str):
            event[name] = _SECRET_TEXT.sub("[redacted]", value)
    return event
