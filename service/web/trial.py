"""The test booking: one record of ours that is sent through the webhook as Vello would send it.

It has always the same id, and each version is newer than the last, so it can be made and cancelled again and again.
"""

import json
import time
from collections.abc import Mapping
from typing import Any, Final

from starlette.types import Message

from service.companies import Company
from service.config import WEBHOOK_PATH
from service.trigger import event, sample_record
from service.vello import SIGNATURE_HEADER, UPDATE_METADATA, sign
from service.web.errors import Problem
from service.web.webhook import Webhook

RECORD: Final = str(sample_record("test booking")["id"])
"""Its id."""


class Trial:
    """Books and cancels the test booking."""

    def __init__(self, webhook: Webhook, own: Company) -> None:
        self._webhook = webhook
        self._own = own

    async def book(self) -> None:
        """Ask for the link of a booking tomorrow, which makes its meeting. Raises: Problem."""
        await self._send(UPDATE_METADATA, canceled=False)

    async def cancel(self) -> None:
        """Cancel it, which removes its meeting. Raises: Problem."""
        await self._send("record.cancelled", canceled=True)

    async def _send(self, kind: str, *, canceled: bool) -> None:
        now = int(time.time() * 1000)
        nobody = dict.fromkeys(("company", "office", "resource", "service", "allocation", "user", "customer"))
        record = {**sample_record("test booking"), **nobody, "version": now, "canceled": canceled}
        body = json.dumps(event(kind, {**record, "record_number": "TEST"})).encode()
        status, answer = await self._posted(body)
        if status != 200:
            said = answer.get("error", {})
            raise Problem(status, said.get("code", "refused"), said.get("message", "The webhook refused it."))

    async def _posted(self, body: bytes) -> tuple[int, Mapping[str, Any]]:
        """The webhook's answer to a signed body, without a network between."""
        signature = sign(self._own.tokens[0], self._own.endpoint_urls[0], body)
        headers = [(SIGNATURE_HEADER.lower().encode(), signature.encode())]
        scope = {"type": "http", "method": "POST", "path": WEBHOOK_PATH, "headers": headers}
        said: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            said.append(message)

        await self._webhook(scope, receive, send)
        if not said:
            return 503, {}
        return int(said[0]["status"]), json.loads(said[-1]["body"])
