"""The yardstick: an ASGI function that hashes, parses, runs one EVALSHA with redis-py and answers; nothing else.

Started as `python -m benchmarks.bare URL PORT [VENDOR]` on the same uvicorn as the service. With the URL of a vendor it
makes a meeting there with aiohttp where it knows no link, and keeps that with one HSET: no order, no lease, no log.
"""

import hashlib
import hmac
import json
import sys
from typing import Any

import aiohttp
import uvicorn
from redis.asyncio import Redis

from tests.processes import TOKEN

_SCRIPT = "return redis.call('HGET', KEYS[1], ARGV[1])"


class Bare:
    """Verifies Vello's signature, parses the event, asks the store once, answers a link."""

    def __init__(self, store_url: str, endpoint: str, vendor: str = "") -> None:
        self._redis = Redis.from_url(store_url, decode_responses=True, max_connections=512)
        self._vendor = vendor
        self._session: aiohttp.ClientSession | None = None
        self._prefix = f"{TOKEN}{endpoint}".encode()
        self._sha = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message["body"]
            if not message["more_body"]:
                break
        given = dict(scope["headers"]).get(b"vello-signature", b"")
        if not hmac.compare_digest(hashlib.sha512(self._prefix + body).hexdigest().encode(), given):
            raise PermissionError
        record = json.loads(body)["data"]["id"]
        if not self._sha:
            self._sha = await self._redis.script_load(_SCRIPT)
        link = await self._redis.evalsha(self._sha, 1, f"bare:{record}", "link")
        if link is None and self._vendor:
            link = await self._make(record)
        answer = json.dumps({"metadata": {"video_link": link}}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _make(self, record: str) -> str:
        self._session = self._session or aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        wanted = {"key": hashlib.sha256(record.encode()).hexdigest()[:32], "title": "Appointment", "start": 1900000000}
        async with self._session.post(f"{self._vendor}/meetings", json=wanted) as answer:
            link = str((await answer.json())["join_url"])
        await self._redis.hset(f"bare:{record}", "link", link)
        return link


def main(store_url: str, port: int, vendor: str = "") -> None:
    """Serve until stopped."""
    app = Bare(store_url, f"http://127.0.0.1:{port}/webhooks/vello", vendor)
    uvicorn.run(app, port=port, lifespan="off", access_log=False, log_level="critical", server_header=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
