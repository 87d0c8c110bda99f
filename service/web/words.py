"""The words of one request: its language, and texts, dates and lengths of time in it.

English texts are the keys of the catalogues in `locale/`, which are read as they are written.
"""

import asyncio
import gettext
import io
import re
import time
from collections.abc import Collection, Mapping
from contextvars import ContextVar
from datetime import datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from babel.dates import format_skeleton, format_time, format_timedelta

if TYPE_CHECKING:
    from babel.messages.catalog import Catalog
    from jinja2 import Environment

LANGUAGES: Final[Mapping[str, str]] = {"en": "English", "fi": "Suomi", "sv": "Svenska"}
"""Every language of the settings, in its own words; the first one is what the sources are written in."""
GUESTS: Final = (*LANGUAGES, "nb", "da", "et", "de")
"""Every language of the page behind a booking's link."""

_LONGEST = 1000  # characters of a sentence that is looked for: nothing of ours is longer
_LOCALES = {
    "en": "en_GB",
    "fi": "fi_FI",
    "sv": "sv_FI",
    "nb": "nb_NO",
    "da": "da_DK",
    "et": "et_EE",
    "de": "de_DE",
}
_SAME = {"no": "nb", "nn": "nb"}  # who asks for Norwegian reads Bokmål

_language: ContextVar[str] = ContextVar("language", default="en")
_learnt = {"en"}


async def answer_in(language: str) -> None:
    """Use a language from now on, in this request only. The first one to do so has its texts read, in a thread."""
    if language not in _learnt:
        await asyncio.to_thread(_read, language)
    speak(language)


def _read(language: str) -> None:
    catalogue(language)
    if language in LANGUAGES and language != "en":
        _shapes(language)
    _learnt.add(language)


@cache
def catalogue(language: str) -> gettext.NullTranslations:
    """A language's texts."""
    if language == "en":
        return gettext.NullTranslations()
    from babel.messages.mofile import write_mo  # who is spoken to in English only does without

    compiled = io.BytesIO()
    write_mo(compiled, _written(language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def _written(language: str) -> "Catalog":
    from babel.messages.pofile import read_po

    source = resources.files("service.web").joinpath("locale", f"{language}.po").read_bytes()
    return read_po(io.BytesIO(source), locale=language)


def environment() -> "Environment":
    """Templates whose texts are said in the language of the request; to make and to compile them takes a moment."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape  # many never show a page

    made = Environment(
        loader=PackageLoader("service.web"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.install_gettext_callables(_, several, newstyle=True)  # type: ignore[attr-defined] # the extension's
    made.globals |= {
        "languages": LANGUAGES,
        "language": language,
        "locale": locale,
        "when": when,
        "clock": clock,
        "day": day,
        "ago": ago,
        "said": said,
    }
    return made


def speak(language: str) -> None:
    """As `answer_in`, where nothing can wait."""
    _language.set(language)


def language() -> str:
    """The language of this request."""
    return _language.get()


def locale() -> str:
    """The language of this request with its country, as browsers name it."""
    return _LOCALES[_language.get()].replace("_", "-")


def wanted(chosen: str | None, accepted: str, among: Collection[str] = tuple(LANGUAGES)) -> str:
    """The language for a person: what was chosen, else the best of what an Accept-Language header names."""
    ranked = []
    for place, item in enumerate([chosen or "", *accepted[:500].split(",")]):
        name, _, weight = item.partition(";q=")
        name = name.strip().lower().replace("_", "-").partition("-")[0]
        try:
            ranked.append((-float(weight or 1) if place else -9.0, place, _SAME.get(name, name)))
        except ValueError:
            continue
    return next((name for _, _, name in sorted(ranked) if name in among), "en")


def _(text: str, **values: object) -> str:
    """A text in the language of this request, with `%(name)s` filled in."""
    said = catalogue(_language.get()).gettext(text)
    return said % values if values else said


def said(text: str) -> str:
    """A sentence of the core or of an adapter in the language of this request.

    The core speaks English and knows no languages. What it fills into a sentence stands as `{0}`, `{1}`, … in the
    catalogue, and is itself a sentence that may be there.
    """
    language = _language.get()
    if language == "en" or not text or len(text) > _LONGEST:
        return text
    known = catalogue(language).gettext(text)
    if known != text:
        return known
    for shape, translation in _shapes(language):
        found = shape.fullmatch(text)
        if found:
            return translation.format(*(said(part) for part in found.groups()))
    return text


@cache
def _shapes(language: str) -> list[tuple[re.Pattern[str], str]]:
    """Sentences with something filled in, the longest first: they say most about what they match."""
    shapes = []
    for message in _written(language):
        if isinstance(message.id, str) and re.search(r"\{\d\}", message.id) and isinstance(message.string, str):
            parts = re.split(r"\{\d\}", message.id)
            shapes.append((re.compile("(.+?)".join(map(re.escape, parts)), re.DOTALL), message.string or message.id))
    return sorted(shapes, key=lambda shape: -len(shape[0].pattern))


def several(one: str, many: str, num: int, **values: object) -> str:
    """A text that depends on a number, `%(num)s` in it."""
    return catalogue(_language.get()).ngettext(one, many, num) % {"num": num, **values}


def when(at: int, zone: str = "UTC") -> str:
    """A moment with the zone it is told in, for people."""
    moment, locale = datetime.fromtimestamp(at, ZoneInfo(zone)), _LOCALES[_language.get()]
    return f"{format_skeleton('yMMMEd', moment, moment.tzinfo, locale=locale)}, {clock(at, zone)}"


def clock(at: int, zone: str = "UTC") -> str:
    """The same without its day."""
    moment = datetime.fromtimestamp(at, ZoneInfo(zone))
    return f"{format_time(moment, 'short', locale=_LOCALES[_language.get()])} ({moment.tzname()})"


def day(at: int, zone: str = "UTC") -> str:
    """A moment's day as machines and date fields write it."""
    return datetime.fromtimestamp(at, ZoneInfo(zone)).date().isoformat()


def ago(at: float) -> str:
    """How long ago a moment was, or how soon it comes."""
    return format_timedelta(int(at - time.time()) or -1, add_direction=True, locale=_language.get())
