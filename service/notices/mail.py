"""Notices by mail: one message to all recipients, over an encrypted connection whose certificate is checked.

A connection that is to be encrypted and cannot be is no connection: nothing falls back to plain text (RFC 3207, 8314).
"""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from ipaddress import ip_address
from typing import Final, Literal

import aiosmtplib

from service.logs import redacted
from service.notices.summary import ChannelName, Letter, NotTold, Summary

DEADLINE: Final = 45.0
"""Seconds for a whole message, from the name's look-up to the server's last word."""
ANSWER: Final = 20.0
"""Seconds the server may take for one answer."""
GOODBYE: Final = 2.0
"""Seconds it may take to say goodbye: the message is its business by then."""
SUBMISSION, SUBMISSION_TLS, RELAY = 587, 465, 25
"""Ports where none is named: with STARTTLS, with TLS from the first byte, without encryption."""

_LONGEST = 200  # characters of an answer that are shown


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed over, and as whom. `ca`: the authority's certificates in PEM where they are one's own."""

    host: str
    sender: str
    recipients: tuple[str, ...]
    port: int | None = None
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    ca: str | None = field(default=None, repr=False)
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def usual_port(self) -> int:
        """The port, or what is usual for its kind of encryption."""
        return self.port or {"starttls": SUBMISSION, "implicit": SUBMISSION_TLS, "none": RELAY}[self.tls]


class Mail:
    """One mail server. `name_of_ours` is what this service calls itself there."""

    name: ChannelName = "mail"

    def __init__(self, server: MailServer, name_of_ours: str, deadline: float = DEADLINE) -> None:
        self._server = server
        self._ours = _greeting(name_of_ours)
        self._deadline = deadline
        self._trust: ssl.SSLContext | None = None

    async def tell(self, summary: Summary, letter: Letter) -> str:
        """Hand over the message. Its Message-ID is the summary's, so that a repeat can be told."""
        server, message = self._server, self._message(summary, letter)

        async def send(client: aiosmtplib.SMTP) -> str:
            refused, said = await client.send_message(message, sender=server.sender, recipients=[*server.recipients])
            if refused:
                what = ", ".join(f"{address}: {_said(code, text)}" for address, (code, text) in sorted(refused.items()))
                return f"{_said(250, said)} It takes none for {what}"
            return _said(250, said)

        return await self._with(send)

    async def probe(self) -> str:
        """Connect and log in, and send nothing. Raises: NotTold."""

        async def ask(client: aiosmtplib.SMTP) -> str:
            answer = await client.noop()
            return _said(answer.code, answer.message)

        return await self._with(ask)

    async def _with(self, work: Callable[[aiosmtplib.SMTP], Awaitable[str]]) -> str:
        server = self._server
        if self._trust is None:
            self._trust = await asyncio.to_thread(ssl.create_default_context, cadata=server.ca)
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.usual_port,
            username=server.username,
            password=server.password,
            local_hostname=self._ours,
            timeout=ANSWER,
            use_tls=server.tls == "implicit",
            start_tls=server.tls == "starttls",
            tls_context=self._trust,
        )
        begun = False  # whoever loses the line from then on cannot tell whether the message was taken
        try:
            async with asyncio.timeout(self._deadline):
                await client.connect()
                begun = True
                said = await work(client)
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):  # the message is its business by now
                await client.quit(timeout=GOODBYE)
        except TimeoutError:
            raise NotTold(f"{server.host} did not answer in time.", maybe=begun) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise NotTold(_why(server.host, error), maybe=begun and isinstance(error, OSError)) from None
        finally:
            client.close()
        return said

    def _message(self, summary: Summary, letter: Letter) -> EmailMessage:
        server, message = self._server, EmailMessage()
        message["From"] = server.sender
        message["To"] = ", ".join(server.recipients)
        message["Subject"] = letter.subject
        message["Date"] = format_datetime(datetime.fromtimestamp(summary.at, UTC))
        message["Message-ID"] = f"<{summary.id}@{server.sender.rpartition('@')[2]}>"
        message["Content-Language"] = letter.language
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        message.set_content(letter.body)
        return message


def _greeting(name: str) -> str:
    """A name as EHLO takes it: a number stands in brackets (RFC 5321 4.1.3)."""
    try:
        address = ip_address(name)
    except ValueError:
        return name
    return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"


def _why(host: str, error: Exception) -> str:
    """What happened, with the server's own words where it said some."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return f"{host} takes mail for none of the recipients: {_said(*error.recipients[0].args[:2])}"
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return f"{host} refuses user name or password: {_said(error.code, error.message)}"
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{host} refuses the message: {_said(error.code, error.message)}"
    cause = error.__cause__ or error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"{host} has a certificate that is not trusted: {_line(cause.verify_message)}"
    if isinstance(cause, ssl.SSLError):
        return f"{host} speaks no TLS that this service does on this port."
    if isinstance(error, aiosmtplib.SMTPTimeoutError):
        return f"{host} did not answer in time."
    if isinstance(error, aiosmtplib.SMTPConnectError):
        return f"{host} cannot be reached."
    if isinstance(error, aiosmtplib.SMTPServerDisconnected):
        return f"{host} ended the connection, and may have taken the message."
    if isinstance(error, aiosmtplib.SMTPException):  # no STARTTLS, no way to log in
        return f"{host} does not offer what was asked of it: {_line(str(error.message))}"
    return f"Mail could not be handed to {host}: {type(error).__name__}."


def _said(code: int, text: str) -> str:
    return _line(f"{code} {text}")


def _line(text: str) -> str:
    """One printable line of somebody else's, with what looks like a secret taken out."""
    line = redacted(" ".join("".join(each if each.isprintable() else " " for each in text).split()))[:_LONGEST]
    return line if line.endswith(".") else f"{line}."
