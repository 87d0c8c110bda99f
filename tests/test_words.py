"""Every text in every language, and dates as people there write them."""

import re
import string

import pytest

from service.web import words
from tests.catalogue import TRANSLATED, catalogue, missing, texts_in


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_is_translated(language: str) -> None:
    """`python -m tests.catalogue` writes what is missing into the catalogues."""
    assert list(missing(language)) == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_no_text_is_translated_that_is_nowhere(language: str) -> None:
    assert [message.id for message in catalogue(language) if message.id and message.id not in texts_in(language)] == []


def filled(text: str) -> list[str]:
    """The places in a text that are filled in."""
    return sorted(
        {*re.findall(r"%\(\w+\)s", text), *(f"{{{name}}}" for _, name, _, _ in string.Formatter().parse(text) if name)}
    )


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_fills_in_what_the_text_does(language: str) -> None:
    for message in catalogue(language):
        if not message.id or not message.string:
            continue
        sources = [message.id] if isinstance(message.id, str) else message.id
        said = [message.string] if isinstance(message.string, str) else message.string
        for each in said:
            assert filled(str(each)) in [filled(source) for source in sources], message.id


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        (None, "", "en"),
        (None, "sv-FI, fi;q=0.9", "sv"),
        (None, "de-DE,de;q=0.9,fi;q=0.5,en;q=0.4", "fi"),
        (None, "xx;q=nonsense, *", "en"),
        ("fi", "sv", "fi"),
        ("xx", "sv", "sv"),
        ("de", "sv", "sv"),
    ],
)
def test_a_browser_gets_the_language_it_wants_most_of_those_there_are(
    chosen: str | None, accepted: str, language: str
) -> None:
    assert words.wanted(chosen, accepted) == language


@pytest.mark.parametrize(
    ("of_the_record", "accepted", "language"),
    [
        ("et", "fi", "et"),
        ("no", "fi", "nb"),
        ("nn-NO", "", "nb"),
        ("de_AT", "", "de"),
        ("ja", "da;q=0.3,de;q=0.9", "de"),
        ("", "", "en"),
        (None, "*", "en"),
    ],
)
def test_a_guest_is_spoken_to_in_the_bookings_language_first(
    of_the_record: str | None, accepted: str, language: str
) -> None:
    assert words.wanted(of_the_record, accepted, words.GUESTS) == language


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The meeting was made.", "Tapaaminen luotiin."),
        ("No meeting: the booking was cancelled.", "Ei tapaamista: varaus peruutettiin."),
        ("Vello sent record.created (version 3).", "Vello lähetti: record.created (versio 3)."),
        (
            "Making the meeting was refused: zoom.us refuses the call (status 400). Tried again in about 2 s.",
            "Luominen hylättiin: zoom.us hylkää kutsun (tila 400). Uusi yritys: noin 2 s kuluttua.",
        ),
        ("Nobody ever said this.", "Nobody ever said this."),
        ("", ""),
    ],
)
def test_sentences_of_the_core_are_said_in_the_readers_language(text: str, said: str) -> None:
    """What is filled into them as well."""
    words.speak("fi")
    assert words.said(text) == said
    words.speak("en")
    assert words.said(text) == text


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "Wed, 10 Mar 2027, 12:00 (EET)"),
        ("fi", "ke 10.3.2027, 12:00 (EET)"),
        ("sv", "ons 10 mars 2027, 12:00 (EET)"),
        ("nb", "ons. 10. mars 2027, 12:00 (EET)"),
        ("da", "ons. 10. mar. 2027, 12:00 (EET)"),
        ("et", "K, 10. märts 2027, 12:00 (EET)"),
        ("de", "Mi., 10. März 2027, 12:00 (EET)"),
    ],
)
def test_a_moment_is_told_in_its_zone(language: str, said: str) -> None:
    words.speak(language)
    # Between hours and minutes people in some of these countries write either, and CLDR has changed its mind.
    assert words.when(1804672800, "Europe/Helsinki").replace("12.00", "12:00") == said
