"""An OpenID provider that says whatever a test wants it to say, right or wrong."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

import uvicorn
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.waiting import wait_until

CLIENT, SECRET = "vello-meetings", "a-client-secret-of-more-than-32-bytes"


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are pytest's."""
        yield


class Issuer:
    """Lets everybody in at once. `claims` change what its ID tokens say (None takes one out), `signed` how.

    `told` is what its userinfo endpoint says, `metadata` changes what it says of itself.
    """

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.shown = self.key
        self.claims: dict[str, Any] = {}
        self.told: dict[str, Any] | None = None
        self.metadata: dict[str, Any] = {}
        self.signed = "RS256"
        self._nonces: dict[str, str] = {}
        self.url = ""
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def environment(self) -> dict[str, Any]:
        """What a service must know to trust it."""
        return {
            "OIDC_ISSUER": self.url,
            "OIDC_CLIENT_ID": CLIENT,
            "OIDC_CLIENT_SECRET": SECRET,
            "OIDC_ALLOWED": "@example.org",
        }

    async def __aenter__(self) -> Self:
        routes = [
            Route("/.well-known/openid-configuration", self._describe),
            Route("/keys", self._keys),
            Route("/authorize", self._authorize),
            Route("/token", self._token, methods=["POST"]),
            Route("/userinfo", self._userinfo),
        ]
        config = uvicorn.Config(Starlette(routes=routes), host="127.0.0.1", port=0, lifespan="off", log_config=None)
        self._server = server = _Server(config)
        self._serving = asyncio.create_task(server.serve())
        await wait_until(lambda: server.started)
        self.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server and self._serving:
            self._server.should_exit = True
            await self._serving

    async def _describe(self, _: Request) -> Response:
        own = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "userinfo_endpoint": f"{self.url}/userinfo",
        }
        return JSONResponse({**own, **self.metadata})

    async def _keys(self, _: Request) -> Response:
        return JSONResponse({"keys": [self.shown.as_dict(private=False)]})

    async def _authorize(self, request: Request) -> Response:
        query = request.query_params
        self._nonces["a-code"] = query["nonce"]
        return RedirectResponse(f"{query['redirect_uri']}?code=a-code&state={query['state']}", 303)

    async def _token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        now = int(time.time())
        own = {
            "iss": self.url,
            "aud": CLIENT,
            "sub": "anna",
            "email": "anna@example.org",
            "nonce": self._nonces.get(form["code"], ""),
            "iat": now,
            "exp": now + 60,
        }
        claims = {name: value for name, value in {**own, **self.claims}.items() if value is not None}
        header = {"alg": self.signed, "kid": "one"}
        if self.signed == "none":
            token = jwt.encode(header, claims, OctKey.import_key(""), algorithms=["none"])
        elif self.signed == "HS256":  # with what everybody can know: its public key
            public = self.key.as_pem(private=False)
            token = jwt.encode(header, claims, OctKey.import_key(public), algorithms=["HS256"])
        else:
            token = jwt.encode(header, claims, self.key, algorithms=[self.signed])
        return JSONResponse({"access_token": "an-access-token", "token_type": "Bearer", "id_token": token})

    async def _userinfo(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer an-access-token"
        return JSONResponse(self.told or {"sub": "anna"})
