"""Who sends a notice, how often, and what becomes of it when a process or the other side dies in between."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from service.matters import Silence
from service.metrics import Metrics
from service.notices.book import A_DAY
from service.notices.mail import Mail, MailServer
from service.notices.sender import HELD, Sender, standing
from service.notices.summary import Channel
from service.notices.webhook import Webhook
from service.store import Store
from service.survey import Outlook
from service.web.letter import letter
from tests.hook import SECRET, receiver, sending
from tests.mailbox import Mailbox, mailbox
from tests.notices.making import DAY, HOUR, NOW, matter, outlook, unremembered
from tests.running import together
from tests.waiting import wait_until

PUBLIC = "https://meetings.example.org"
DEAD = outlook(matter())


class World:
    """How everything is, and what the clocks show."""

    def __init__(self, look: Outlook = DEAD) -> None:
        self.look, self.now = look, NOW
        self.silences: dict[str, Silence] = {}

    async def survey(self, silences: object) -> Outlook:
        assert isinstance(silences, dict)
        self.silences = silences
        return self.look

    def process(self, store: Store, *channels: Channel) -> Sender:
        """One more process."""
        write = lambda summary: letter(summary, "en", PUBLIC)  # noqa: E731 - a whole function for less
        return Sender(store, self.survey, channels, write, Metrics(), unremembered, self.clock)

    async def clock(self, _store: Store) -> float:
        return self.now


def mail(box: Mailbox, deadline: float = 10.0) -> Mail:
    server = MailServer("127.0.0.1", "vello@clinic.example", ("it@clinic.example",), box.port, "none")
    return Mail(server, "meetings.example.org", deadline)


@asynccontextmanager
async def program() -> AsyncIterator[tuple[Webhook, list[tuple[str, object]], list[int]]]:
    """A webhook, what it took, and the statuses it answers next."""
    async with receiver() as one, sending() as client:
        yield Webhook(client, one.url, SECRET), one.took, one.answers


async def test_many_processes_at_once_send_one_by_each_channel(store: Store, store_url: str) -> None:
    others = [await Store.open(store_url) for _ in range(4)]
    async with mailbox() as box, program() as (hook, took, _):
        world = World()
        processes = [world.process(each, mail(box), hook) for each in (store, *others)]
        await together(*[each.look() for each in processes for _ in range(3)])
        assert (len(box.messages), len(took)) == (1, 1)
        world.now += DAY
        await together(*[each.look() for each in processes for _ in range(3)])
        assert (len(box.messages), len(took)) == (2, 2)
        assert box.messages[0]["Message-ID"] != box.messages[1]["Message-ID"]
    for other in others:
        await other.close()


async def test_of_all_rounds_of_a_minute_one_looks(store: Store) -> None:
    looks = []

    async def survey(_silences: object) -> Outlook:
        looks.append(1)
        return outlook()

    write = lambda summary: letter(summary, "en", PUBLIC)  # noqa: E731 - as above
    senders = [Sender(store, survey, (), write, Metrics(), unremembered) for _ in range(5)]
    await together(*[each.round() for each in senders])
    assert looks == [1]
    assert 0 < await store.execute("TTL", "vm:notices:round") <= 60


async def test_fourteen_days_and_the_account_that_comes_back(store: Store) -> None:
    async with mailbox() as box:
        world = World()
        sender = world.process(store, mail(box))
        for _ in range(20 * 4):
            await sender.look()
            world.now += 6 * HOUR
        assert len(box.messages) == 5
        assert ["reminder" in body for body in box.bodies] == [False, True, True, True, True]
        world.look = outlook(working=("c1",))
        for _ in range(3):
            await sender.look()
            world.now += 6 * HOUR
        assert len(box.messages) == 6
        assert "Works again" in box.bodies[-1]
        assert "Name of c1" in box.bodies[-1]


async def test_a_process_killed_between_sending_and_noting_loses_nothing_and_repeats_it_once(
    store: Store, store_url: str
) -> None:
    async with mailbox() as box:
        command = [sys.executable, "-m", "tests.notices.dying", store_url, str(box.port)]
        killed = await asyncio.to_thread(_started, command, box)
        assert killed == -signal.SIGKILL
        (first,) = box.messages
        world = World()
        sender = world.process(store, mail(box))
        await sender.look()
        assert len(box.messages) == 1  # as long as the other one may be at it, nobody else is
        world.now += HELD
        for _ in range(3):
            await sender.look()
            world.now += HELD
        assert [each["Message-ID"] for each in box.messages] == [first["Message-ID"]] * 2


def _started(command: list[str], _box: Mailbox) -> int:
    return subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode


async def test_one_that_does_not_arrive_is_tried_again_and_says_since_when_while_others_go_on(store: Store) -> None:
    async with mailbox() as box, program() as (hook, took, _):
        world = World()
        box.data = "451 4.3.0 try again later"
        sender = world.process(store, mail(box), hook)
        for _ in range(31):
            await sender.look()
            world.now += 60
        assert len(took) == 1
        by_mail, by_hook = await standing(store, sender.channels)
        assert by_mail.silence == Silence(NOW, "127.0.0.1 refuses the message: 451 4.3.0 try again later.")
        assert (by_mail.waiting, by_mail.last) == (True, None)
        assert (by_hook.silence, by_hook.last) == (None, NOW)
        assert world.silences == {"mail": by_mail.silence}
        box.data = ""
        world.now += HOUR
        await sender.look()
        (message,) = box.messages
        assert "Something is wrong with c1." in message.get_content()
        (by_mail, _) = await sender.standing()
        assert (by_mail.silence, by_mail.last, by_mail.waiting) == (None, world.now, False)
        assert (await store.execute("TTL", "vm:notices")) > 80 * DAY


async def test_the_same_id_comes_over_all_tries_of_a_webhook(store: Store) -> None:
    async with receiver() as one, sending() as client:
        world = World()
        one.answers = [500] * 4
        sender = world.process(store, Webhook(client, one.url, SECRET))
        for _ in range(17):
            await sender.look()
            world.now += 60
        assert one.calls == 5  # after 1, 2, 4 and 8 minutes
        assert len(set(one.raw)) == 1
        assert len(one.took) == 1


async def test_a_line_that_breaks_after_the_message_may_repeat_it_and_never_loses_it(store: Store) -> None:
    async with mailbox() as box:
        world = World()
        box.drops = True
        sender = world.process(store, mail(box))
        await sender.look()
        box.drops = False
        world.now += HOUR
        await sender.look()
        world.now += HOUR
        await sender.look()
        assert len({each["Message-ID"] for each in box.messages}) == 1
        assert len(box.messages) == 2


async def test_a_server_that_takes_a_message_and_never_says_so_gets_no_more_of_them_than_a_day_has(
    store: Store,
) -> None:
    async with mailbox() as box:
        world = World()
        box.drops = True
        sender = world.process(store, mail(box))
        for _ in range(2 * DAY // 300):
            await sender.look()
            world.now += 300
        times = [parsedate_to_datetime(each["Date"]).timestamp() for each in box.messages]
        assert 8 < len(box.messages) <= 2 * A_DAY
        assert times[-1] >= NOW + DAY  # it goes on, and says how things are then


async def test_a_server_that_hangs_holds_up_no_other_channel(store: Store) -> None:
    async with mailbox() as box, program() as (hook, took, _):
        box.silent = True
        sender = World().process(store, mail(box, 10.0), hook)
        looking = asyncio.create_task(sender.look())
        await wait_until(lambda: len(took) == 1, 9.0)
        assert not looking.done()
        await looking


async def test_a_test_notice_says_what_was_answered_and_lets_what_waits_follow(store: Store) -> None:
    async with mailbox() as box, program() as (hook, took, answers):
        world = World(outlook(matter(), matter("notices.mail", "mail", NOW)))
        box.data = "554 5.7.1 no"
        sender = world.process(store, mail(box), hook)
        await sender.look()
        assert [each.code for each in await sender.seen()] == ["connection.reconnect", "notices.mail"]
        told = await sender.test()
        assert [(each.channel, each.ok, each.text) for each in told] == [
            ("mail", False, "127.0.0.1 refuses the message: 554 5.7.1 no."),
            ("webhook", True, "127.0.0.1 took it (status 204)."),
        ]
        box.data = ""
        (by_mail, _) = await sender.test()
        assert (by_mail.ok, by_mail.text) == (True, "250 2.0.0 queued as 4711.")
        assert "test notice" in box.messages[-1]["Subject"]
        assert [each.code for each in await sender.seen()] == ["connection.reconnect"]
        assert (await sender.standing())[0].silence is None
        await sender.look()  # no hour of back-off any more
        assert [len(box.messages), len(took), answers] == [2, 3, []]


async def test_what_is_kept_and_said_names_no_booking(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    async with mailbox() as box, program() as (hook, took, _):
        world = World(outlook(matter("bookings.missing", "", NOW - HOUR, "digest-1", "digest-2")))
        await world.process(store, mail(box), hook).look()
        said = box.bodies[0] + str(took) + (await store.execute("GET", "vm:matters"))
        assert "digest" not in said
        assert "digest" not in "".join(capfd.readouterr())


async def test_when_the_last_notice_arrived_is_known_long_after(store: Store) -> None:
    async with mailbox() as box:
        world = World()
        sender = world.process(store, mail(box))
        await sender.look()
        world.look, world.now = outlook(), NOW + 5 * DAY
        await sender.look()
        assert [each.last for each in await sender.standing()] == [NOW]


async def test_a_way_that_is_no_longer_set_up_is_no_trouble_any_more(store: Store) -> None:
    async with mailbox() as box, program() as (hook, _, _):
        world = World()
        box.data = "554 5.7.1 no"
        await world.process(store, mail(box), hook).look()
        await world.process(store, mail(box), hook).look()
        assert [*world.silences] == ["mail"]
        await world.process(store, hook).look()
        assert world.silences == {}
