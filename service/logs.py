"""Structured logs on stderr: one line for each thing that happens, with everything secret taken out of it.

Our own lines go straight to the file descriptor, lines of libraries come through `logging`. Both are redacted twice:
by the names of their fields, and by what secrets look like anywhere in the finished line, so nothing nested, no
exception's text and no bytes get around it.
"""

import asyncio
import atexit
import json
import logging
import os
import re
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import orjson
import structlog

_GONE: Final = "[redacted]"
_DEPTH: Final = 6
_NAMES = r"token|secret|passw|passcode|passphrase|authorization|cookie|join_url|private_key|credential|client_assertion"
_SECRET_NAMES = re.compile(_NAMES, re.I)
_IS, _AND = r"(?:=|%(?:25)*3D)", r"(?:[?&#;]|%(?:25)*(?:3F|26|23|3B))"  # as they are, or percent-encoded once or more
_WORD = r"""[^\s"'\\<>&;,(){}\[\]]"""
_SECRET_TEXT = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^-\"\\]|\\[^\"]|-(?!----END))*(?:-----END [A-Z ]*PRIVATE KEY-----)?"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|(?P<scheme>\b(?:Bearer|Basic)(?:\s|\+|%20)+)[^\s\"'\\]+"
    r"|(?P<user>://)[^\s/?#\"'\\]+@"
    r"|(?P<quoted>%(?:25)*3A(?:%(?:25)*2F){2})[^\s/?#&\"'\\]{1,200}?%(?:25)*40"
    rf"|(?P<query>{_AND}(?:jwt|pwd|code|state|zak|tk|sig|signature){_IS})"
    r"(?:(?!%(?:25)*26)[^&\s\"'\\])+"
    rf"|(?P<named>(?:{_NAMES})[\w-]{{0,40}}\\?[\"']?\s?(?::|{_IS})\s?(?:b?\\?[\"'])?(?:(?:Bearer|Basic)\s+)?)(?!null\b){_WORD}+"
    r"|(?P<hosted>/[mh]/|%(?:25)*2F[mh]%(?:25)*2F)[\w-]{23}",
    re.I,
)
_LINE = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
_PLAIN = frozenset({str, int, float, bool, type(None)})
# Most lines hold none of these, and looking for them costs a fiftieth of the pattern.
_HINTS = ("://", "%", "=", "eyj", "/m/", "/h/", "bearer", "basic", "private key", *_NAMES.split("|"))


def configure(level: str, form: str) -> None:
    """Send our own and every library's lines to stderr as `json` or `text`, from `level` upwards."""
    render = _json if form == "json" else _Text(colors=sys.stderr.isatty())
    last: list[Any] = [structlog.processors.format_exc_info, redact, render]
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, stamp, *last],
        logger_factory=_Factory(sys.stderr.fileno()),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    straight.configure(_Line(sys.stderr.fileno()) if form == "json" else None, level)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.ExtraAdder(),
                stamp,
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for library in ("httpx", "httpcore", "asyncio", "uvicorn", "urllib3", "opentelemetry"):
        logging.getLogger(library).setLevel("WARNING")


class Straight:
    """Writes lines of ids, words and numbers of ours without the processors: an event's is on the hot path.

    Lines of one turn of the loop are written together. What comes from somebody else goes through `redacted` before.
    """

    def __init__(self) -> None:
        self._line: _Line | None = None
        self._informs = True
        self._kept: list[bytes] = []
        self._log = structlog.get_logger(__name__)
        atexit.register(self.flush)

    def configure(self, line: "_Line | None", level: str) -> None:
        """Write to `line`, from `level` upwards; without one, as every other line is written."""
        self._line, self._informs = line, level in ("debug", "info")

    def info(self, event: str, fields: Mapping[str, Any]) -> None:
        """One line."""
        if self._line is None:
            self._log.info(event, **fields)
        elif self._informs:
            line = {"event": event, **fields, "level": "info", "timestamp": datetime.now(UTC)}
            self._kept.append(orjson.dumps(line, option=_LINE))
            if len(self._kept) == 1:
                asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what is kept."""
        if self._line and self._kept:
            kept, self._kept = b"".join(self._kept), []
            self._line.write(kept)


straight = Straight()


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take out what the name of a field says is secret, however deep it is nested."""
    for name, value in event.items():
        if value is not None and _names_a_secret(name):
            event[name] = _GONE
        elif type(value) not in _PLAIN:
            event[name] = _inside(value, _DEPTH)
    return event


def redacted(line: str) -> str:
    """A line without anything that looks like a secret."""
    lower = line.lower()
    for hint in _HINTS:
        if hint in lower:
            return _SECRET_TEXT.sub(_gone, line)
    return line


def _gone(found: re.Match[str]) -> str:
    kept = found[found.lastgroup] if found.lastgroup else ""
    return f"{kept}{_GONE}" + ("@" if found.lastgroup in ("user", "quoted") else "")


def _inside(value: Any, depth: int) -> Any:
    if depth == 0:
        return _GONE
    if isinstance(value, Mapping):
        return {
            str(name): _GONE if _names_a_secret(str(name)) and each is not None else _inside(each, depth - 1)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_inside(each, depth - 1) for each in value]
    return value


@lru_cache(maxsize=1024)
def _names_a_secret(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def _json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    try:
        return redacted(orjson.dumps(event, default=repr).decode())
    except TypeError:  # half a character, from wherever it came
        return redacted(json.dumps(event, separators=(",", ":"), default=repr))


class _Text(structlog.dev.ConsoleRenderer):
    """Lines for people."""

    def __call__(self, logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
        return redacted(super().__call__(logger, name, event))


class _Line:
    """Writes a finished line in one call. Where nobody listens any more there is nobody to tell, and work goes on."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def msg(self, line: str) -> None:
        self.write(f"{line}\n".encode(errors="backslashreplace"))

    def write(self, left: bytes) -> None:
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            return

    debug = info = warning = error = critical = exception = msg


class _Factory:
    """Gives every module the same line writer."""

    def __init__(self, descriptor: int) -> None:
        self._line = _Line(descriptor)

    def __call__(self, *_: Any) -> _Line:
        return self._line
