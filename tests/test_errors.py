"""Every error text is in the one catalogue, by its code, and is found there again by whoever shows it."""

import ast
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest
from starlette.responses import Response

from providers import registry
from providers.troubles import Trouble
from service.errors import Catalogue, dotted
from service.matters import Code
from service.web.pages import Pages
from tests.catalogue import WEB, shape
from tests.errors_page import CATALOGUE, PAGE, everything_said, known_as, page, raised, sources
from tests.events import record
from tests.running import ADMIN, PUBLIC, Running, running
from tests.servers import MemoryServer
from tests.test_login import OURS, log_in

TROUBLES = sorted(CATALOGUE.codes.values(), key=lambda trouble: trouble.code)


@pytest.fixture
async def service(store_url: str) -> AsyncIterator[Running]:
    async with running(store_url) as service:
        yield service


def filled(sentence: str) -> str:
    return re.sub(r"\{\w*\}|%\(\w+\)s", "x", sentence)


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.code)
def test_a_text_is_known_by_its_sentence(trouble: Trouble) -> None:
    """Alone, and in the middle of a line of the journal."""
    for sentence in trouble.says:
        found = CATALOGUE.find(filled(sentence))
        assert found is trouble or len(dotted(sentence)) < 18, sentence
        within = CATALOGUE.find(f"Making the meeting did not work: {filled(sentence)} Tried again in about 2 s.")
        assert within is found


def test_every_error_that_is_raised_is_in_the_catalogue() -> None:
    """Sentence by sentence, and under the code that goes with it."""
    known = known_as()
    assert len(raised()) > 200
    missing = [each for each in raised() if each.sentence and each.sentence not in known]
    assert missing == [], "add it to service/errors, or to the adapter's troubles"
    named = [each for each in raised() if each.code and each.sentence and known[each.sentence].code != each.code]
    assert named == []


def test_every_code_of_an_answer_is_in_the_catalogue() -> None:
    codes = {each.code for each in raised() if each.code}
    assert {"invalid_signature", "too_large", "in_use", "wrong_company", "unavailable"} <= codes
    assert sorted(codes - CATALOGUE.codes.keys()) == []


def test_nothing_is_in_the_catalogue_that_nobody_says() -> None:
    codes, said = {each.code for each in raised()}, everything_said()
    assert [sentence for sentence in known_as() if sentence not in said] == []
    unsaid = [trouble.code for trouble in TROUBLES if not trouble.says and trouble.code not in codes]
    assert unsaid == []


def test_who_mends_it_is_who_the_error_names() -> None:
    known: dict[str, set[str]] = {}
    for each in raised():
        if each.who in ("admin", "operator", "developer"):
            known.setdefault(each.sentence, set()).add(each.who)
    assert len(known) > 30
    assert [sentence for sentence, whos in known.items() if known_as()[sentence].who not in whos] == []


def test_a_code_and_a_sentence_stand_there_once() -> None:
    everywhere = [trouble for area in CATALOGUE.areas.values() for trouble in area]
    codes = Counter(trouble.code for trouble in everywhere)
    sentences = Counter(sentence for trouble in everywhere for sentence in trouble.says)
    assert [each for each, times in [*codes.items(), *sentences.items()] if times > 1] == []
    assert [code for code in codes if not re.fullmatch(r"[a-z]+(_[a-z]+)*", code)] == []


def test_every_page_that_says_no_says_something_of_the_catalogue() -> None:
    """A notice with a status of 400 or more."""
    said, checked = {sentence for trouble in TROUBLES for sentence in trouble.says}, 0
    for name, tree in sources():
        for made in ast.walk(tree) if name in ("service/web/connect.py", "service/web/login.py") else ():
            if not isinstance(made, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            refuses = any(
                isinstance(part, ast.Constant) and isinstance(part.value, int) and 400 <= part.value < 600
                for call in ast.walk(made)
                if isinstance(call, ast.Call)
                for part in call.args
            )
            texts = {text for node in ast.walk(made) if (text := shape(node)) and " " in text}
            if refuses and not any(isinstance(node, ast.Attribute) and node.attr == "text" for node in ast.walk(made)):
                checked += 1
                assert texts & said, f"{name}: {made.name}"
    assert checked >= 5


def test_every_trouble_of_the_customers_page_is_in_the_catalogue() -> None:
    said = {sentence for trouble in CATALOGUE.areas["Customers"] for sentence in trouble.says}
    template = (WEB / "templates" / "meeting.html").read_text()
    moments = re.findall(
        r"{% (?:el)?if at (?:==|in) (.+?) %}(.*?)(?={% elif|{% else %}|{% endif %}\n{% if)", template, re.DOTALL
    )
    assert len(moments) >= 8
    for moment, text in moments:
        assert moment == '"open"' or said & set(re.findall(r'_\("([^"]+)"\)', text)), moment


def test_the_page_of_the_documentation_is_up_to_date() -> None:
    """`python -m tests.errors_page` writes it."""
    assert PAGE.read_text() == page()


def test_a_text_that_nobody_knows_has_no_code() -> None:
    assert CATALOGUE.find("All is well.") is None
    assert CATALOGUE.find("") is CATALOGUE.find(None) is None
    assert CATALOGUE.find("Zoom has no such user: choose another host." * 1000) is None


def test_a_sentence_in_which_nothing_was_filled_in_has_its_code() -> None:
    found = CATALOGUE.find("api.zoom.us cannot be reached. It is tried again.")
    assert found is CATALOGUE.codes["provider_unreachable"]


def test_adapters_of_others_bring_their_own_troubles() -> None:
    theirs = Trouble("acme_asleep", "provider", ("Acme sleeps until {hour}.",), "Wait.")
    info = registry.load()["memory"]
    with_it = {"acme": type(info)("acme", "Acme", info.settings, info.options, info.connect, troubles=(theirs,))}
    assert Catalogue(with_it).find("Acme sleeps until 8.") is theirs
    assert Catalogue(with_it).areas["Acme"] == (theirs,)


async def test_the_page_says_all_of_it_in_the_readers_language(service: Running) -> None:
    """Also to somebody who cannot log in."""
    for language, cure in (
        ("en", "Try again in a few seconds."),
        ("fi", "Yritä uudelleen muutaman sekunnin kuluttua."),
    ):
        answer = await service.client.get(f"{PUBLIC}/errors", headers={"Accept-Language": language})
        assert answer.status_code == 200
        assert cure in answer.text
        assert [code for code in CATALOGUE.codes if f'<section id="{code}"' not in answer.text] == []
        assert "{" not in answer.text.partition("</head>")[2]


async def test_an_error_of_the_api_leads_to_the_page(service: Running) -> None:
    for call, code in (("/connections/nobody", "unknown_connection"), ("/nothing", "not_found")):
        answer = await service.admin("GET", call)
        assert answer.json()["error"]["code"] == code
        assert answer.links["help"]["url"] == f"{PUBLIC}/errors#{code}"
    answer = await service.admin("PUT", "/offices/default", json={"link": 7})
    assert answer.links["help"]["url"] == f"{PUBLIC}/errors#invalid"


@pytest.mark.parametrize("language", ["en", "fi", "sv"])
async def test_what_went_wrong_has_its_code_in_the_api_and_a_way_to_the_page(
    service: Running, meeting_server: MemoryServer, language: str
) -> None:
    connection = await service.connect(meeting_server.url)
    await meeting_server.faults(fail=[{"status": 401, "times": 9}], only="create")
    booking = record()
    await service.link(booking)
    shown = await service.record(booking["id"])
    assert shown["reason_code"] == "provider_refuses_credentials"
    assert [line["code"] for line in shown["journal"]][-2:] == ["provider_refuses_credentials", None]
    assert (await service.admin("GET", f"/connections/{connection}")).json()["reason_code"] == shown["reason_code"]
    await service.client.post(f"{PUBLIC}/login", data={"admin_token": ADMIN, "next": "/"}, headers=OURS)
    for page_ in (f"/bookings/{booking['id']}", "/bookings", "/connections", f"/connections/{connection}"):
        answer = await service.client.get(f"{PUBLIC}{page_}", headers={"Accept-Language": language})
        assert 'href="/errors#provider_refuses_credentials"' in answer.text, page_


async def test_a_page_that_is_not_there_leads_to_what_that_means(service: Running) -> None:
    await service.client.post(f"{PUBLIC}/login", data={"admin_token": ADMIN, "next": "/"}, headers=OURS)
    answer = await service.client.get(f"{PUBLIC}/connections/nobody")
    assert answer.status_code == 404
    assert 'href="/errors#unknown_connection"' in answer.text
    wrong = await service.client.post(f"{PUBLIC}/login", data={"admin_token": "no", "next": "/"}, headers=OURS)
    assert 'href="/errors#login_wrong_token"' in wrong.text


def test_every_matter_of_a_notice_is_in_the_catalogue() -> None:
    codes = {trouble.code for trouble in CATALOGUE.areas["Notices"]}
    assert codes - {"notice_not_mailed"} == {code.replace(".", "_") for code in get_args(Code)}


async def test_strangers_who_read_one_language_share_a_page_that_was_rendered_once(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered, show = 0, Pages.show

    def counted(self: Pages, *given: Any, **values: Any) -> Response:
        nonlocal rendered
        rendered += 1
        return show(self, *given, **values)

    monkeypatch.setattr(Pages, "show", counted)
    seen: dict[str, set[tuple[str, str]]] = {}
    for language in ("en", "fi", "sv") * 2:
        answer = await service.client.get(f"{PUBLIC}/errors", headers={"Accept-Language": language})
        assert answer.status_code == 200
        policy = answer.headers["content-security-policy"]
        assert (answer.headers["cache-control"], "frame-ancestors 'none'" in policy) == ("no-store", True)
        seen.setdefault(language, set()).add((answer.text, policy))
    assert ([len(each) for each in seen.values()], len(set.union(*seen.values()))) == ([1, 1, 1], 3)
    assert rendered == 3
    await log_in(service)
    assert "Log out" in (await service.client.get(f"{PUBLIC}/errors", headers={"Accept-Language": "en"})).text
