"""A real mail server on loopback that does what a test wants: STARTTLS, a login, refusals, silence, broken lines."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "vello", "a pass word-9"


@dataclass
class Mailbox:
    """What arrived, and how the server answers: `data` and `rcpt` in place of a yes, `drops` the line after DATA."""

    port: int = 0
    messages: list[EmailMessage] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    secure: list[bool] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    rcpt: dict[str, str] = field(default_factory=dict)
    data: str = ""
    drops: bool = False
    silent: bool = False

    @property
    def bodies(self) -> list[str]:
        """What is written in each message."""
        return [message.get_content() for message in self.messages]

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """One recipient."""
        if address in self.rcpt:
            return self.rcpt[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """A whole message."""
        if self.silent:
            await asyncio.Event().wait()
        if not self.data:
            assert isinstance(envelope.content, bytes)
            message = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(message, EmailMessage)
            self.messages.append(message)
            self.envelopes.append(envelope)
            self.secure.append(session.ssl is not None)
        if self.drops:
            assert server.transport
            server.transport.close()
        return self.data or "250 2.0.0 queued as 4711"

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, mechanism: str, given: Any
    ) -> AuthResult:
        """One login."""
        self.logins.append(mechanism)
        right = isinstance(given, LoginPassword) and given == LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=False)


@asynccontextmanager
async def mailbox(
    certificate: tuple[Path, Path] | None = None, *, implicit: bool = False, login: bool = False
) -> AsyncIterator[Mailbox]:
    """A mail server, until left; with a `certificate` it wants STARTTLS, or TLS from the first byte."""
    box, context = Mailbox(), None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)

    talks: list[SMTP] = []

    def served() -> SMTP:
        talks.append(_talk())
        return talks[-1]

    def _talk() -> SMTP:
        return SMTP(
            box,
            hostname="mail.test",
            tls_context=None if implicit else context,
            require_starttls=context is not None and not implicit,
            authenticator=box.authenticate if login else None,
            auth_required=login and not implicit,  # TLS from the first byte is nothing the library sees
            auth_require_tls=not implicit and context is not None,
            loop=asyncio.get_running_loop(),
        )

    server = await asyncio.get_running_loop().create_server(served, "127.0.0.1", 0, ssl=context if implicit else None)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
        for talk in talks:
            if talk.transport:
                talk.transport.close()
        await asyncio.sleep(0)
