"""Notices by a signed webhook, taken by the reference library's own verification."""

import pytest

from providers.http import Http
from service.notices.summary import Line, NotTold, Summary
from service.notices.webhook import Webhook
from service.web.letter import letter
from tests.hook import SECRET, receiver, sending
from tests.notices.making import NOW, matter

PUBLIC = "https://meetings.example.org"
SUMMARY = Summary("msg_1", NOW, (Line(matter(), "new"),), (("c2", "Helsinki"),), more=3, last=True)


async def test_a_program_gets_every_field_and_can_trust_it() -> None:
    async with receiver() as program, sending() as client:
        hook = Webhook(client, program.url, SECRET)
        assert await hook.tell(SUMMARY, letter(SUMMARY, "fi", PUBLIC)) == "127.0.0.1 took it (status 204)."
        ((id_, said),) = program.took
    assert id_ == "msg_1"
    assert said == {
        "type": "notice.summary",
        "timestamp": "2027-01-15T08:00:00Z",
        "data": {
            "language": "fi",
            "subject": "Videotapaamiset: 4 asiaa kaipaa sinua",
            "matters": [
                {
                    "code": "connection.reconnect",
                    "about": "c1",
                    "why": "new",
                    "since": NOW,
                    "text": "Something is wrong with c1.",
                    "cure": "Mend it.",
                    "url": f"{PUBLIC}/connections/c1",
                }
            ],
            "more": 3,
            "working_again": [{"connection": "c2", "name": "Helsinki"}],
            "last_today": True,
        },
    }


async def test_a_busy_program_is_asked_again_at_once_with_the_same_id_and_body() -> None:
    async with receiver() as program, sending() as client:
        program.answers = [503, 502]
        await Webhook(client, program.url, SECRET).tell(SUMMARY, letter(SUMMARY, "en", PUBLIC))
        assert (program.calls, len(set(program.raw)), len(program.took)) == (3, 1, 1)


@pytest.mark.parametrize(
    ("status", "says", "wait"), [(500, "status 500", None), (410, "status 410", None), (429, "status 429", 77.0)]
)
async def test_a_refusal_is_said_without_the_address_and_a_wanted_pause_is_kept(
    status: int, says: str, wait: float | None
) -> None:
    async with receiver() as program, sending() as client:
        program.answers, program.headers = [status] * 3, {"Retry-After": "77"} if wait else {}
        with pytest.raises(NotTold, match=says) as refused:
            await Webhook(client, program.url, SECRET).tell(SUMMARY, letter(SUMMARY, "en", PUBLIC))
        assert refused.value.retry_after == wait
        assert "of-the-program" not in str(refused.value)


async def test_one_that_is_not_there_or_refuses_the_signature_is_said() -> None:
    other = "whsec_" + "A" * 32
    async with receiver() as program, sending() as client:
        with pytest.raises(NotTold, match="500"):
            await Webhook(client, program.url, other).tell(SUMMARY, letter(SUMMARY, "en", PUBLIC))
        assert program.took == []
        url = program.url
    async with sending() as client:
        with pytest.raises(NotTold, match="cannot be reached"):
            await Webhook(client, url, SECRET).tell(SUMMARY, letter(SUMMARY, "en", PUBLIC))


async def test_a_test_notice_says_that_it_is_one() -> None:
    test = Summary("msg_2", NOW, test=True)
    async with receiver() as program, sending() as client:
        await Webhook(client, program.url, SECRET).tell(test, letter(test, "en", PUBLIC))
        assert program.took[0][1]["type"] == "notice.test"
        assert program.took[0][1]["data"]["matters"] == []


def test_its_address_is_in_no_repr() -> None:
    assert "key=" not in repr(Webhook(Http(), "http://127.0.0.1/hook?key=of-the-program", SECRET))
