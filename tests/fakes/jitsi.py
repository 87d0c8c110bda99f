"""A Jitsi server as a browser meets it before it enters a room: `/config.js` and the login at `/http-bind`.

As strict as prosody with jitsi-meet's `mod_auth_token`: streams in the order of XEP-0206 with ids that count up, tokens
looked at as `token/util.lib.lua` does, without leeway. Everything else is a 404.
"""

import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

import jwt
from aiohttp import web

BIND, SASL = "http://jabber.org/protocol/httpbind", "urn:ietf:params:xml:ns:xmpp-sasl"
DEBIAN = """/* eslint-disable */
var config = {
    // Connection
    hosts: {
        // XMPP domain.
        domain: '%(domain)s',
        // When using authentication, domain for guest users.
        %(guests)sanonymousdomain: 'guest.%(domain)s',
        muc: 'conference.' + subdomain + '%(domain)s',
    },
    bosh: 'https://%(domain)s/' + subdir + 'http-bind',
};
"""
DOCKER = """// Begin default config overrides.
config.hosts = {};
config.hosts.domain = '%(domain)s';
config.hosts.muc = 'muc.%(domain)s';
config.bosh = '/http-bind';
"""


@dataclass
class _Stream:
    rid: int
    token: str | None


@dataclass
class FakeJitsi:
    """Use it as an async context manager. `auth` is prosody's `authentication`; `token` wants `app_id` and `secret`."""

    auth: Literal["anonymous", "token", "internal_hashed"] = "anonymous"
    app_id: str = "clinic"
    secret: str = "s" * 40
    domain: str = "meet.example.org"
    audiences: tuple[str, ...] = ("*",)
    allow_empty: bool = False
    guests: bool = False
    config: str = DEBIAN
    clock: float = 0.0
    """Seconds by which its clock is ahead."""
    bosh: bool = True
    url: str = ""
    logins: list[str] = field(default_factory=list)
    """What became of each login: in, or the error's name."""
    open: int = 0
    """Streams that were opened and not ended."""
    _streams: dict[str, _Stream] = field(default_factory=dict)
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.get("/config.js", self._config), web.post("/http-bind", self._bind)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner
        await self._runner.cleanup()

    async def _config(self, _request: web.Request) -> web.Response:
        if not self.config:
            raise web.HTTPNotFound
        text = self.config % {"domain": self.domain, "guests": "" if self.guests else "// "}
        return web.Response(text=text, content_type="application/javascript")

    async def _bind(self, request: web.Request) -> web.Response:
        if not self.bosh:
            raise web.HTTPNotFound
        assert request.content_type == "text/xml"
        body = ET.fromstring(await request.text())  # noqa: S314 - ours
        assert body.tag == f"{{{BIND}}}body"
        rid = int(body.attrib["rid"])
        sid = body.get("sid")
        if sid is None:
            return self._opened(request, body, rid)
        stream = self._streams.get(sid)
        if stream is None or rid != stream.rid + 1:
            return _body('type="terminate" condition="item-not-found"')
        stream.rid = rid
        if body.get("type") == "terminate":
            del self._streams[sid]
            self.open -= 1
            return _body('type="terminate"')
        auth = body.find(f"{{{SASL}}}auth")
        assert auth is not None
        assert auth.get("mechanism") == "ANONYMOUS"
        wrong = self._wrong(stream.token)
        self.logins.append(wrong[0] if wrong else "in")
        if wrong is None:
            return _body("", f'<success xmlns="{SASL}"/>')
        condition, text = wrong
        return _body("", f'<failure xmlns="{SASL}"><{condition}/><text>{text}</text></failure>')

    def _opened(self, request: web.Request, body: ET.Element, rid: int) -> web.Response:
        assert body.get("{urn:xmpp:xbosh}version") == "1.0"
        if body.get("to") != self.domain:
            return _body('type="terminate" condition="host-unknown"')
        sid = f"stream-{len(self.logins)}-{rid}"
        self._streams[sid] = _Stream(rid, request.query.get("token"))
        self.open += 1
        assert request.query.get("room")
        ways = ("SCRAM-SHA-1", "PLAIN") if self.auth == "internal_hashed" else ("ANONYMOUS",)
        listed = "".join(f"<mechanism>{way}</mechanism>" for way in ways)
        features = (
            f'<stream:features xmlns:stream="http://etherx.jabber.org/streams">'
            f'<mechanisms xmlns="{SASL}">{listed}</mechanisms></stream:features>'
        )
        return _body(f'sid="{sid}" authid="{sid}" wait="5" hold="1" ver="1.6"', features)

    def _wrong(self, token: str | None) -> tuple[str, str] | None:
        """What token/util.lib.lua dislikes, in its order; times without leeway."""
        if self.auth == "anonymous" or (self.allow_empty and not token):
            return None
        if not token:
            return "not-allowed", "token required"
        try:
            header, claims = jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})
        except jwt.DecodeError:
            return "not-allowed", "Invalid token"
        now = time.time() + self.clock
        if header.get("typ") != "JWT":
            return "not-allowed", "Invalid typ"
        if header["alg"] != "HS256":
            return "not-allowed", "Algorithm mismatch: alg"
        try:
            jwt.decode(
                token, self.secret, ["HS256"], options={"verify_aud": False, "verify_exp": False, "verify_nbf": False}
            )
        except jwt.InvalidSignatureError:
            return "not-allowed", "Invalid signature"
        return self._wrong_claims(claims, now)

    def _wrong_claims(self, claims: dict[str, Any], now: float) -> tuple[str, str] | None:
        if "exp" in claims and now >= claims["exp"]:
            return "not-allowed", f"Not acceptable by exp ({int(now - claims['exp'])} sec since expired)"
        if "nbf" in claims and now < claims["nbf"]:
            return "not-allowed", "Not acceptable by nbf"
        if claims.get("iss") != self.app_id:
            return "not-allowed", "Invalid issuer ('iss' claim)"
        if "*" not in self.audiences and claims.get("aud") not in self.audiences:
            return "not-allowed", "Invalid audience ('aud' claim)"
        if "room" not in claims:
            return "not-authorized", "'room' claim is missing"
        return None if "sub" in claims else ("not-authorized", "'sub' claim is missing")


def _body(attributes: str, inner: str = "") -> web.Response:
    text = f'<body xmlns="{BIND}" {attributes}>{inner}</body>'
    return web.Response(text=text, content_type="text/xml", charset="utf-8")
