"""Notices by mail against a real mail server: what arrives, over which connection, what is said otherwise."""

from dataclasses import replace
from pathlib import Path

import pytest

from service.matters import Matter
from service.notices.mail import Mail, MailServer
from service.notices.summary import Line, NotTold, Summary
from service.web.letter import letter
from tests.certificates import Authority
from tests.mailbox import PASSWORD, USER, Mailbox, mailbox

AT = 1_800_000_000
PUBLIC = "https://meetings.example.org"
DEAD = Matter(
    "connection.reconnect",
    AT - 3600,
    "The account of Vastaanotto no longer lets this service in.",
    "Connect the account again; what waits for it goes on by itself.",
    "/connections/c1",
    "c1",
)
SUMMARY = Summary("msg_0123456789abcdef", AT, (Line(DEAD, "new"),))


def server(box: Mailbox, **fields: object) -> MailServer:
    """The box as the service knows it, without encryption unless `fields` say otherwise."""
    plain = MailServer("127.0.0.1", "vello@clinic.example", ("it@clinic.example", "anna@clinic.example"), box.port)
    return replace(replace(plain, tls="none"), **fields)  # type: ignore[arg-type] # a test knows its fields


async def told(to: MailServer, language: str = "en", deadline: float = 10.0, summary: Summary = SUMMARY) -> str:
    return await Mail(to, "meetings.example.org", deadline).tell(summary, letter(summary, language, PUBLIC))


async def test_one_message_reaches_all_recipients_and_says_what_to_do() -> None:
    async with mailbox() as box:
        assert await told(server(box)) == "250 2.0.0 queued as 4711."
        (message,), (envelope,) = box.messages, box.envelopes
    assert envelope.rcpt_tos == ["it@clinic.example", "anna@clinic.example"]
    assert envelope.mail_from == "vello@clinic.example"
    assert message["Message-ID"] == "<msg_0123456789abcdef@clinic.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime.timestamp() == AT
    assert message["Subject"] == "Video meetings: 1 thing needs you"
    body = message.get_content()
    assert "no longer lets this service in." in body
    assert f"{PUBLIC}/connections/c1" in body
    assert "Connect the account again" in body


@pytest.mark.parametrize(
    ("language", "subject", "words"),
    [
        ("fi", "Videotapaamiset: 1 asia kaipaa sinua", "ei enää päästä tätä palvelua sisään"),
        ("sv", "Videomöten: 1 sak behöver dig", "släpper inte längre in den här tjänsten"),
    ],
)
async def test_it_is_written_in_the_operators_language(language: str, subject: str, words: str) -> None:
    async with mailbox() as box:
        await told(server(box), language)
        assert box.messages[0]["Subject"] == subject
        assert words in box.bodies[0]
        assert "no longer" not in box.bodies[0]


async def test_a_login_goes_over_starttls_and_over_tls_from_the_first_byte(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.issue("mail", ["127.0.0.1"])
    trusted = authority.path.read_text()
    for implicit in (False, True):
        async with mailbox(certificate, implicit=implicit, login=True) as box:
            tls = "implicit" if implicit else "starttls"
            mail = server(box, tls=tls, ca=trusted, username=USER, password=PASSWORD)
            assert "4711" in await told(mail)
            assert (await Mail(mail, "127.0.0.1").probe()).startswith("250")
            assert len(box.messages) == 1
            assert len(box.logins) == 2
            if not implicit:
                assert box.secure == [True]


async def test_a_wrong_password_an_untrusted_certificate_and_a_server_without_tls_are_told_apart(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    certificate = authority.issue("mail", ["127.0.0.1"])
    async with mailbox(certificate, login=True) as box:
        mail = server(box, tls="starttls", ca=authority.path.read_text(), username=USER, password="wrong-word")
        with pytest.raises(NotTold, match=r"refuses user name or password: 535") as refused:
            await told(mail)
        assert "wrong-word" not in str(refused.value)
        with pytest.raises(NotTold, match="certificate that is not trusted"):
            await told(replace(mail, ca=None))
        with pytest.raises(NotTold, match="speaks no TLS"):
            await told(replace(mail, tls="implicit"))
        assert box.messages == []
    other = authority.issue("other", ["mail.other.example"])
    async with mailbox(other) as box:
        with pytest.raises(NotTold, match="certificate that is not trusted"):
            await told(server(box, tls="starttls", ca=authority.path.read_text()))
    async with mailbox() as box:
        with pytest.raises(NotTold, match="does not offer what was asked"):
            await told(server(box, tls="starttls"))
        assert box.messages == []  # nothing falls back to plain text


@pytest.mark.parametrize("answer", ["451 4.3.0 try again later", "554 5.7.1 spam"])
async def test_what_the_server_answers_after_the_message_is_said(answer: str) -> None:
    async with mailbox() as box:
        box.data = answer
        with pytest.raises(NotTold, match=f"127.0.0.1 refuses the message: {answer}"):
            await told(server(box))


async def test_some_recipients_who_are_refused_hinder_nobody_and_are_named_and_none_is_a_failure() -> None:
    async with mailbox() as box:
        box.rcpt = {"anna@clinic.example": "550 5.1.1 nobody here"}
        said = await told(server(box))
        assert said == "250 2.0.0 queued as 4711. It takes none for anna@clinic.example: 550 5.1.1 nobody here."
        assert box.envelopes[0].rcpt_tos == ["it@clinic.example"]
        box.rcpt["it@clinic.example"] = "450 4.2.0 greylisted"
        with pytest.raises(NotTold, match=r"takes mail for none of the recipients: 450 4\.2\.0 greylisted"):
            await told(server(box))


async def test_a_server_that_is_slow_drops_the_line_or_is_not_there_is_said_in_time() -> None:
    async with mailbox() as box:
        box.silent = True
        with pytest.raises(NotTold, match="did not answer in time"):
            await told(server(box), deadline=0.3)
        box.silent, box.drops = False, True
        with pytest.raises(NotTold, match="may have taken the message"):
            await told(server(box))
        assert len(box.messages) == 1
        port = box.port
    with pytest.raises(NotTold, match="cannot be reached"):
        await told(server(Mailbox(port=port)))


async def test_what_a_server_says_is_one_line_without_secrets_and_no_longer_than_it_may_be() -> None:
    async with mailbox() as box:
        box.data = "554 no; token=abcdefghijklmnop \x07" + "x" * 300
        with pytest.raises(NotTold) as refused:
            await told(server(box))
    assert "abcdefghijklmnop" not in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 260


async def test_a_name_with_line_breaks_adds_no_header() -> None:
    evil = replace(DEAD, text="The account of A\r\nBcc: all@evil.example\r\n no longer lets this service in.")
    async with mailbox() as box:
        await told(server(box), summary=replace(SUMMARY, lines=(Line(evil, "new"),)))
        assert box.messages[0]["Bcc"] is None
        assert len(box.envelopes[0].rcpt_tos) == 2


def test_nothing_secret_is_in_its_repr() -> None:
    assert "pw-1234" not in repr(server(Mailbox(), username="user-5678", password="pw-1234", ca="pem"))
    assert "user-5678" not in repr(server(Mailbox(), username="user-5678", password="pw-1234", ca="pem"))
