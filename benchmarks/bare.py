"""The yardstick: an ASGI function that hashes, parses, runs one EVALSHA with redis-py and answers; nothing else.

Started by `webhook.py` as `python -m benchmarks.bare URL PORT` on the same uvicorn as the service.
"""

import hashlib
import hmac
import json
import sys
from typing import Any

import uvicorn
from redis.asyncio import Redis

from tests.processes import TOKEN

_SCRIPT = "return redis.call('HGET', KEYS[1], ARGV[1])"


class Bare:
    """Verifies Vello's signature, parses the event, asks the store once, answers a link."""

    def __init__(self, store_url: str, endpoint: str) -> None:
        self._redis = Redis.from_url(store_url, decode_responses=True)
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
        answer = json.dumps({"metadata": {"video_link": link}}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def main(store_url: str, port: int) -> None:
    """Serve until stopped."""
    app = Bare(store_url, f"http://127.0.0.1:{port}/webhooks/vello")
    uvicorn.run(app, port=port, lifespan="off", access_log=False, log_level="critical", server_header=False)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
