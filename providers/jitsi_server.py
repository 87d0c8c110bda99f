"""What a Jitsi server says of a connection's settings before anybody meets there.

A browser that enters a room reads `/config.js` for the server's own name, opens a stream at `/http-bind` with the
token in the query, and logs in with SASL ANONYMOUS; there a server with token authentication looks at signature, times,
`iss`, `aud` and whether there is a `sub`, and says what it dislikes. This does the same and enters no room. What `sub`
and `room` are compared with shows only when somebody enters one.

Sources: XEP-0124 and XEP-0206 (https://xmpp.org/extensions/); RFC 6120, 6.5 "SASL Errors"; jitsi-meet
`resources/prosody-plugins/mod_auth_token.lua` and `token/util.lib.lua`; jitsi-meet and docker-jitsi-meet `config.js`.
"""

import contextlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from providers.base import ProviderError, Remark, TemporaryError
from providers.http import Http

if TYPE_CHECKING:
    import xml.etree.ElementTree as ET

BIND = "http://jabber.org/protocol/httpbind"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"

_DOMAIN = re.compile(r"(?:^|[{,])\s*(?:config\.hosts\.)?domain\s*[:=]\s*['\"]([A-Za-z0-9.-]{1,253})['\"]", re.MULTILINE)
_GUESTS = re.compile(r"(?:^|[{,])\s*(?:config\.hosts\.)?anonymousdomain\s*[:=]\s*['\"]", re.MULTILINE)
_ROOM = "connection-test"  # no room of that name is entered
_REFUSED = (
    ("iss", "The server does not take the app_id: enter the one that it was set up with (app_id, JWT_APP_ID)."),
    ("aud", "The server does not take the audience: enter one of those it accepts (JWT_ACCEPTED_AUDIENCES)."),
    ("signature", "The server does not take the secret or key: enter the app_secret that it was set up with."),
    ("alg", "The server wants tokens that are signed otherwise: it takes a secret or a private_key, not both."),
    ("kid", "The server wants a private_key and its key_id, and takes no secret; or it does not find that key."),
    ("nbf", "The server's clock and ours differ: set both by the network's time (NTP)."),
    ("exp", "The server's clock and ours differ: set both by the network's time (NTP)."),
    ("sub", "The server does not take the subject: enter its own name, or its tenant."),
)


@dataclass(frozen=True, slots=True)
class Entered:
    """How the server answered a login: let `in`, `refused` with its words, or it wants a `password`."""

    how: str
    said: str = ""


async def look(http: Http, host: str, token: str | None, subject: str | None) -> Sequence[Remark]:
    """What the server says of `token`, or of entering without one; `subject` is the `sub` that nobody chose."""
    try:
        domain, guests = await _named(http)
    except TemporaryError as error:
        text = f"{error.text} Check the address and that the server runs; what else is entered here could not be tried."
        return [Remark("away", text)]
    if domain is None:
        text = f"{host} answers, but not as a Jitsi server does: it has no /config.js with a domain. Check the address."
        return [Remark("wrong", text)]
    found = [Remark("good", f"{host} is a Jitsi server.")]
    try:
        plain = await _enter(http, domain, None)
        with_token = await _enter(http, domain, token) if token else None
        fits = with_token is not None and with_token.how == "in" and plain.how == "in"
        with_any = await _enter(http, domain, "x.y.z") if fits else None
    except ProviderError:
        text = "Whether it takes what is entered here could not be tried: it shows when somebody enters."
        return [*found, Remark("note", text)]
    if with_token is None:
        return [*found, _of_plain(plain, guests)]
    if with_token.how != "in":
        return [*found, _of_refused(with_token)]
    if with_any and with_any.how == "in":
        text = (
            "The server checks no tokens and lets everybody in: switch them on there, or leave out app_id and secret."
        )
        return [*found, Remark("wrong", text)]
    found.append(Remark("good", "It takes tokens with this app_id and secret or key."))
    if plain.how == "in":
        text = "It lets people in without a token as well, so no link closes: set allow_empty_token to false there."
        found.append(Remark("note", text))
    if subject not in (None, domain):
        text = f"It calls itself {domain}: if people are refused in the room, enter that as subject."
        found.append(Remark("note", text))
    return found


def _of_plain(plain: Entered, guests: bool) -> Remark:
    if plain.how == "in":
        return Remark("good", "It lets people in without a token.")
    if plain.how == "refused":
        return Remark("wrong", "It lets nobody in without a token: enter the server's app_id and its secret or key.")
    if guests:
        return Remark("note", "A host must log in there with an account of that server before a meeting begins.")
    return Remark("wrong", "It lets in only people with an account of that server: guests would stay outside.")


def _of_refused(answer: Entered) -> Remark:
    if answer.how == "password":
        return Remark("wrong", "The server takes accounts with passwords, not tokens: switch tokens on there first.")
    said = answer.said.lower()
    known = next((text for word, text in _REFUSED if re.search(rf"\b{word}", said)), None)
    if known:
        return Remark("wrong", known)
    return Remark("wrong", f"The server refuses the token and says: {answer.said or 'nothing more'}.")


async def _named(http: Http) -> tuple[str | None, bool]:
    """What the server calls itself, None when it is no Jitsi, and whether it has a door for guests without accounts."""
    answer = await http.send("GET", "/config.js", headers={"accept": "*/*"}, accept=range(200, 500))
    text = answer.body.decode("utf-8", "replace") if answer.status == 200 else ""
    domain = _DOMAIN.search(text)
    return (domain[1] if domain else None), bool(_GUESTS.search(text))


async def _enter(http: Http, domain: str, token: str | None) -> Entered:
    """Log in as a browser does, and out again. Raises: ProviderError where that cannot be told."""
    stream = _Stream(http, {"room": _ROOM, **({"token": token} if token else {})})
    try:
        opened = await stream.say(
            {
                "to": domain,
                "content": "text/xml; charset=utf-8",
                "ver": "1.6",
                "wait": "5",
                "hold": "1",
                "xml:lang": "en",
                "xmpp:version": "1.0",
                "xmlns:xmpp": "urn:xmpp:xbosh",
            }
        )
        ways = [each.text for each in opened.iter(f"{{{SASL}}}mechanism")]
        if not stream.sid or not ways:
            raise TemporaryError("It opens no stream")
        if "ANONYMOUS" not in ways:
            return Entered("password")
        said = await stream.say({}, f'<auth xmlns="{SASL}" mechanism="ANONYMOUS"/>')
        if said.find(f"{{{SASL}}}success") is not None:
            return Entered("in")
        failure = said.find(f"{{{SASL}}}failure")
        if failure is None:
            raise TemporaryError("It says neither yes nor no")
        text = failure.findtext(f"{{{SASL}}}text") or ""
        return Entered("refused", re.sub(r"[^ -~]+", " ", text)[:200].strip(" ."))
    finally:
        if stream.sid:
            with contextlib.suppress(ProviderError):  # a stream that nobody uses ends by itself
                await stream.say({"type": "terminate"})


class _Stream:
    """Requests that belong together: each with the next number, and from the second on with the stream's id."""

    def __init__(self, http: Http, params: Mapping[str, str]) -> None:
        self.sid = ""
        self._http = http
        self._params = params
        self._rid = secrets.randbelow(2**40)

    async def say(self, attributes: Mapping[str, str], inner: str = "") -> "ET.Element":
        """One request, and the body that answers it. Raises: ProviderError."""
        import xml.etree.ElementTree as ET  # few processes ever ask a server

        self._rid += 1
        given = {"rid": str(self._rid), **({"sid": self.sid} if self.sid else {}), **attributes}
        written = " ".join(f"{name}={quoteattr(value)}" for name, value in given.items())
        answer = await self._http.send(
            "POST",
            "/http-bind",
            params=self._params,
            content=f'<body xmlns="{BIND}" {written}>{inner}</body>',
            headers={"content-type": "text/xml; charset=utf-8", "accept": "*/*"},
            safe=True,
        )
        if b"<!" in answer.body:  # no declarations, so no entities
            raise answer.unusable("is no stream")
        try:
            body = ET.fromstring(answer.body)  # noqa: S314 - see above
        except ET.ParseError:
            raise answer.unusable("is no stream") from None
        if body.tag != f"{{{BIND}}}body":
            raise answer.unusable("is no stream")
        self.sid = self.sid or body.get("sid", "")
        return body
