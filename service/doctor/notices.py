"""Notices: whether somebody is told what needs a person, and whether the ways there work."""

import time
from collections.abc import Sequence
from typing import Final

from service.doctor.finding import Report
from service.notices.mail import Mail
from service.notices.sender import standing, tested
from service.notices.summary import Channel, NotTold, Writer
from service.store import Store

_CURE: Final = {
    "mail": "See the answers and their cures in the documentation of notices; run this again with --notice.",
    "webhook": "See what the program at NOTICE_WEBHOOK_URL says in its log; run this again with --notice.",
}
_NOBODY = "Set SMTP_HOST, SMTP_FROM and NOTICE_EMAILS, or NOTICE_WEBHOOK_URL and NOTICE_WEBHOOK_SECRET."


async def look(report: Report, channels: Sequence[Channel], write: Writer, *, send: bool) -> None:
    """Each way: with `send` by a test notice, else as far as it can be seen without one."""
    if not channels:
        report.warning("notices", "Nobody is told when something needs a person.", _NOBODY)
    for channel in channels:
        check, cure = f"notices.{channel.name}", _CURE[channel.name]
        if send:
            told = await tested(channel, write, time.time())
            if told.ok:
                report.ok(check, f"A test notice arrived: {told.text}")
            else:
                report.broken(check, told.text, cure)
        elif isinstance(channel, Mail):
            try:
                report.ok(check, f"The mail server lets us in: {await channel.probe()}")
            except NotTold as error:
                report.broken(check, str(error), cure)
        else:
            report.ok(check, "It is set up; only a test notice (--notice) shows whether one arrives.")


async def history(report: Report, channels: Sequence[Channel], store: Store) -> None:
    """The ways by which notices do not arrive at present. Raises: StoreUnavailable."""
    for each in await standing(store, channels):
        if each.silence:
            since = time.strftime("%Y-%m-%d %H:%M", time.gmtime(each.silence.since))
            text = f"No notice has arrived since {since} UTC: {each.silence.text}"
            report.warning(f"notices.{each.channel}", text, _CURE[each.channel])
