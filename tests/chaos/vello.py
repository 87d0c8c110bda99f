"""Vello as the storm plays it: sends an event until it is taken, and remembers the links it was told."""

import random
import re
import time
from typing import Any, Self

import httpx

from service.vello import UPDATE_METADATA, sign
from tests.chaos.booking import Booking, Word
from tests.events import body
from tests.ports import NO_TLS
from tests.processes import ADMIN, TOKEN, Service
from tests.waiting import outage

_TRIES = 600  # times one event is sent until it is taken
_PATIENCE = 10.0  # seconds Vello waits for an answer
_PAUSE = 0.1


class Vello:
    """Sends to any of the services, as through a balancer that does not know which of them live."""

    def __init__(self, services: list[Service], endpoint: str, chance: random.Random) -> None:
        self._services = services
        self._endpoint = endpoint
        self._chance = chance
        self._client = httpx.AsyncClient(trust_env=False, verify=NO_TLS, timeout=_PATIENCE)
        self.taken = 0
        self.sent = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def say(self, booking: Booking, word: Word) -> None:
        """One word, with the link Vello holds by now, again and again until it was taken."""
        data = dict(word.data)
        if booking.link and "metadata" in data:
            data["metadata"] = {"video_link": booking.link}
        raw = body(word.kind, data)
        for _ in range(_TRIES):
            answer = await self._send(raw)
            if answer is not None and answer.status_code == 200:
                self.taken += 1
                if word.kind == UPDATE_METADATA:
                    self._told(booking, answer.json())
                return
            assert answer is None or answer.status_code in (503, 500), (answer.status_code, answer.text)
            await outage(_PAUSE)
        raise AssertionError(f"{word.kind} was not taken in {_TRIES} tries")

    def _told(self, booking: Booking, answer: dict[str, Any]) -> None:
        link = answer["metadata"].get("video_link")
        if link:
            booking.link = link
            booking.told[link] = time.time()

    async def _send(self, raw: bytes) -> httpx.Response | None:
        service = self._chance.choice(self._services)
        headers = {"Vello-Signature": sign(TOKEN, self._endpoint, raw)}
        self.sent += 1
        try:
            return await self._client.post(f"{service.base}/webhooks/vello", content=raw, headers=headers)
        except httpx.HTTPError:
            return None

    async def working(self) -> int:
        """On how many records services are at work."""
        answers = [await self._asked(f"{service.base}/metrics") for service in self._services]
        found = [re.search(r"^vello_meetings_runs_in_progress (\d+)", each.text, re.MULTILINE) for each in answers]
        return sum(int(float(each[1])) if each else 1 for each in found)

    async def get(self, path: str, **params: str | int) -> httpx.Response:
        """Any page of the first service, as an admin or a customer."""
        headers = {"Authorization": f"Bearer {ADMIN}"} if path.startswith("/api/") else {}
        return await self._asked(f"{self._services[0].base}{path}", params=params, headers=headers)

    async def _asked(self, url: str, **how: Any) -> httpx.Response:
        """What it answers; asked again when a connection ended that nobody used for a while."""
        try:
            return await self._client.get(url, **how)
        except httpx.TransportError:
            return await self._client.get(url, **how)
