"""What admins see of what needs them, and the whole way from a dead account to a mail and back."""

import json
import re
import time
import uuid
from dataclasses import asdict
from typing import Any

import pytest

from service.matters import Matter
from service.store import Store
from tests.events import record
from tests.hook import SECRET, receiver
from tests.mailbox import Mailbox, mailbox
from tests.running import PUBLIC, Running, running
from tests.servers import MemoryServer
from tests.test_login import OURS, log_in
from tests.test_settings import become, page, send
from tests.waiting import wait_until

PAGES = ("/", "/offices", "/offices/default", "/bookings", "/connections", "/companies", "/connections/new/jitsi")
GONE = "no longer lets this service in"


def mailed(box: Mailbox, **more: str) -> dict[str, Any]:
    """The environment in which notices go to a mail server."""
    people = {"SMTP_FROM": "vello@clinic.example", "NOTICE_EMAILS": "it@clinic.example"}
    return {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(box.port), "SMTP_TLS": "none", **people, **more}


async def died(service: Running, server: MemoryServer, **booking: Any) -> tuple[str, dict[str, Any]]:
    """A connection whose account refuses us, and a booking that waits for it."""
    connection = await service.connect(server.url, name="Reception")
    await server.faults(fail=[{"status": 401, "times": 99}], only="create")
    data = record(time=int(time.time()) + 7200, **booking)
    await service.link(data)
    await wait_until(lambda: _state(service, connection, "reconnect"))
    return connection, data


async def _state(service: Running, connection: str, state: str) -> bool:
    return bool((await service.admin("GET", f"/connections/{connection}")).json()["state"] == state)


async def test_every_page_of_the_settings_says_what_needs_a_person_until_it_is_mended(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async with running(store_url) as service:
        await log_in(service)
        for path in PAGES:
            assert 'class="needs"' not in (await page(service, path)).text
        connection, _ = await died(service, meeting_server)
        for path in PAGES:
            text = (await page(service, path)).text
            assert GONE in text, path
            assert f'href="/connections/{connection}"' in text
            assert "Connect the account again" in text
        await service.app.app.state.sender.look()
        text = (await page(service, "/offices")).text
        assert "Bookings that wait: 1." in text
        assert "Bookings of the next 24 hours without a meeting: 1." in text
        everything = (await page(service, "/notices")).text
        assert 'class="needs"' not in everything  # the list itself stands there
        assert GONE in everything
        assert "Nobody is told outside these pages" in everything
        await meeting_server.faults()
        await service.admin("POST", f"/connections/{connection}/test")
        assert GONE not in (await page(service, "/offices")).text  # at once, not at the next round
        assert 'class="needs"' not in (await page(service, "/login")).text


async def test_it_is_said_in_the_readers_language(store_url: str, meeting_server: MemoryServer) -> None:
    async with running(store_url) as service:
        await log_in(service)
        await died(service, meeting_server)
        for language, words in (("fi", "ei enää päästä tätä palvelua sisään"), ("sv", "släpper inte längre in")):
            text = (await page(service, "/offices", **{"Accept-Language": language})).text
            assert words in text
            assert GONE not in text


async def test_an_admin_of_some_companies_sees_what_concerns_those_and_no_channel(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    company = str(uuid.uuid4())
    async with mailbox() as box, running(store_url, **mailed(box)) as service:
        await died(service, meeting_server)
        await service.app.app.state.sender.look()
        theirs = Matter("bookings.failed", 1, "Later bookings whose meetings were given up: 3.", "See.", "/bookings")
        kept = json.loads(await store.execute("GET", "vm:matters"))
        kept.append({**asdict(theirs), "about": company, "company": company})
        await store.execute("SET", "vm:matters", json.dumps(kept))
        await become(service, store, company)
        text = (await page(service, "/notices")).text
        assert "were given up: 3" in text
        assert GONE not in text
        assert "next 24 hours" not in text
        assert "Who is told" not in text
        token = re.search(r'name="form_token" value="([^"]+)"', (await page(service, "/connections/new/jitsi")).text)
        assert token
        sent = await service.client.post(f"{PUBLIC}/notices", data={"form_token": token[1]}, headers=OURS)
        assert (sent.status_code, box.bodies[1:]) == (403, [])
        await become(service, store, "own")
        text = (await page(service, "/bookings")).text
        assert "next 24 hours" in text
        assert "were given up: 3" not in text


async def test_a_test_notice_says_what_the_mail_server_and_the_program_answered(store_url: str) -> None:
    async with (
        mailbox() as box,
        receiver() as program,
        running(
            store_url, **mailed(box, NOTICE_WEBHOOK_URL=program.url, NOTICE_WEBHOOK_SECRET=SECRET, NOTICE_LANGUAGE="fi")
        ) as service,
    ):
        await log_in(service)
        assert "There was nothing to tell yet" in (await page(service, "/notices")).text
        text = (await send(service, "/notices")).text
        assert "What was answered: 250 2.0.0 queued as 4711." in text
        assert "What was answered: 127.0.0.1 took it (status 204)." in text
        assert box.messages[0]["Subject"] == "Videotapaamiset: testi-ilmoitus"
        box.data = "535 5.7.8 <script>alert(1)</script>"
        program.answers = [500] * 3
        text = (await send(service, "/notices")).text
        assert "refuses the message: 535 5.7.8 &lt;script&gt;" in text
        assert "status 500" in text
        assert "of-the-program" not in text


async def test_a_mail_server_that_is_down_shows_on_the_page_and_in_the_figures(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async with mailbox() as box, running(store_url, **mailed(box)) as service:
        await log_in(service)
        box.data = "421 4.3.2 shutting down"
        await died(service, meeting_server)
        await service.app.app.state.sender.look()
        text = (await page(service, "/notices")).text
        assert "No notice has arrived since" in text
        assert "421 4.3.2 shutting down" in text
        figures = (await service.client.get("/metrics")).text
        assert 'vello_meetings_matters{code="connection.reconnect"} 1.0' in figures
        assert 'vello_meetings_notices_total{channel="mail",outcome="not_told"} 1.0' in figures
        assert 'vello_meetings_notices_silent_seconds{channel="mail"}' in figures


@pytest.mark.parametrize("language", ["en", "fi", "sv"])
async def test_a_dead_account_is_mailed_once_by_all_processes_and_so_is_its_recovery(
    store: Store, store_url: str, meeting_server: MemoryServer, language: str
) -> None:
    """Nothing of the booking or its customer is in what is mailed, posted, kept or logged."""
    async with (
        mailbox() as box,
        running(store_url, **mailed(box, NOTICE_LANGUAGE=language)) as one,
        running(store_url, **mailed(box, NOTICE_LANGUAGE=language)) as two,
    ):
        senders = [each.app.app.state.sender for each in (one, two)]
        details = {"name": "Aino Virtanen", "email": "aino@example.org"}
        connection, data = await died(one, meeting_server, details=details)
        for sender in (*senders, *senders):
            await sender.look()
        (body,) = box.bodies
        assert f"/connections/{connection}" in body
        assert "Reception" in body
        await meeting_server.faults()
        await one.admin("POST", f"/connections/{connection}/test")
        await one.settled(data["id"])
        book = json.loads(await store.execute("HGET", "vm:notices", "mail"))
        await store.execute("HSET", "vm:notices", "mail", json.dumps({**book, "sent": []}))  # the quiet time is over
        for sender in (*senders, *senders):
            await sender.look()
        assert len(box.messages) == 2
        assert "- Reception" in box.bodies[1]
        kept = str(await store.execute("HGETALL", "vm:notices")) + str(await store.execute("GET", "vm:matters"))
        told = "\n".join([*box.bodies, kept])
        for secret in ("Aino", "aino@", data["id"], data["customer"], "/join/", "/m/"):
            assert secret not in told


async def test_rounds_tell_by_themselves_and_a_process_for_the_web_alone_does_not(
    store: Store, store_url: str, meeting_server: MemoryServer
) -> None:
    async with mailbox() as box, running(store_url, role="worker", **mailed(box)) as worker:
        assert worker.app.app.state.sender.channels
        await worker.app.app.state.sender.round()
        assert 0 < await store.execute("TTL", "vm:matters") <= 3600
    async with mailbox() as box, running(store_url, role="web", **mailed(box)) as web:
        assert not hasattr(web.app.app.state, "sender")
