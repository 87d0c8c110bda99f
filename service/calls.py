"""One call of a provider's verb: bounded in time, told in one log line."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Final, TypeVar

import structlog

from providers.base import OutcomeUnknown
from service.entry import Entry, Placement

CALL_LIMIT: Final = 60.0
"""Seconds one verb may take, however many requests it sends."""

_Answer = TypeVar("_Answer")
_log = structlog.get_logger(__name__)


async def called(entry: Entry, verb: str, on: Placement, call: Awaitable[_Answer]) -> _Answer:
    """Wait for one verb's answer. Raises OutcomeUnknown at the limit, else what the verb raises."""
    began, outcome = time.monotonic(), "ok"
    try:
        async with asyncio.timeout(CALL_LIMIT):
            return await call
    except TimeoutError:
        outcome = "OutcomeUnknown"
        raise OutcomeUnknown(f"The provider did not answer within {CALL_LIMIT:.0f} seconds.") from None
    except BaseException as error:
        outcome = type(error).__name__
        raise
    finally:
        _log.info(
            "provider_call",
            connection=on.connection,
            verb=verb,
            outcome=outcome,
            milliseconds=round((time.monotonic() - began) * 1000, 1),
            attempt=entry.attempts + 1,
        )
