"""A process that is killed when its notice has been taken and before that is written down: `dying STORE PORT`."""

import asyncio
import os
import signal
import sys

from service.metrics import Metrics
from service.notices.mail import Mail, MailServer
from service.notices.sender import Sender
from service.notices.summary import ChannelName, Letter, Summary
from service.store import Store
from service.survey import Outlook
from service.web.letter import letter
from tests.notices.making import NOW, matter, outlook, unremembered


class Dying:
    """A channel that takes its process with it."""

    name: ChannelName = "mail"

    def __init__(self, mail: Mail) -> None:
        self._mail = mail

    async def tell(self, summary: Summary, letter: Letter) -> str:
        """Bring it there, then die."""
        await self._mail.tell(summary, letter)
        os.kill(os.getpid(), signal.SIGKILL)
        return ""


async def main(url: str, port: int) -> None:
    """One look."""

    async def survey(_silences: object) -> Outlook:
        return outlook(matter())

    async def clock(_store: Store) -> float:
        return NOW

    server = MailServer("127.0.0.1", "vello@clinic.example", ("it@clinic.example",), port, "none")
    channel = Dying(Mail(server, "meetings.example.org"))
    store = await Store.open(url)
    write = lambda it: letter(it, "en", "https://x.example")  # noqa: E731 - a whole function for less
    await Sender(store, survey, [channel], write, Metrics(), unremembered, clock).look()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
