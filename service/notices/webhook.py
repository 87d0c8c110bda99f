"""Notices by a signed webhook, as Standard Webhooks says: a program can trust them, and tell a repeat by its id.

Source: https://github.com/standard-webhooks/standard-webhooks, `spec/standard-webhooks.md`.
"""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from providers.base import ProviderError, TemporaryError
from providers.http import Http
from providers.signing import key_of, signed
from service.notices.summary import ChannelName, Letter, NotTold, Summary


class Webhook:
    """One address that takes notices; `clock` gives the time of a call (unix seconds)."""

    name: ChannelName = "webhook"

    def __init__(self, http: Http, url: str, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._http = http.at("")
        self._url = url
        self._key = key_of(secret)
        self._clock = clock

    async def tell(self, summary: Summary, letter: Letter) -> str:
        """POST it; any 2xx is a yes. A repeat has the same id and the same body."""
        body = json.dumps(payload(summary, letter), separators=(",", ":"), ensure_ascii=False).encode()
        headers = {"content-type": "application/json", **signed(self._key, summary.id, int(self._clock()), body)}
        try:
            answer = await self._http.send("POST", self._url, content=body, headers=headers, safe=True)
        except ProviderError as error:
            wait = error.retry_after if isinstance(error, TemporaryError) else None
            raise NotTold(error.text, wait) from None
        return f"{answer.host} took it (status {answer.status})."


def payload(summary: Summary, letter: Letter) -> dict[str, Any]:
    """What is sent: docs/notices.md says it field by field."""
    matters = [
        {
            "code": line.matter.code,
            "about": line.matter.about,
            "why": line.why,
            "since": line.matter.since,
            "text": text,
            "cure": cure,
            "url": url,
        }
        for line, (text, cure, url) in zip(summary.lines, letter.lines, strict=True)
    ]
    return {
        "type": "notice.test" if summary.test else "notice.summary",
        "timestamp": f"{datetime.fromtimestamp(summary.at, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "data": {
            "language": letter.language,
            "subject": letter.subject,
            "matters": matters,
            "more": summary.more,
            "working_again": [{"connection": id_, "name": name} for id_, name in summary.over],
            "last_today": summary.last,
        },
    }
