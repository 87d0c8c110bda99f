"""The one catalogue of what can go wrong: every error text that a person can meet, with its code, who mends it and how.

It joins our own troubles with those that adapters declare in `ProviderInfo.troubles`. A text is known by its shape, as
in the pages' catalogues of languages: who raises an error writes the sentence, `tests/test_errors.py` holds that the
sentence stands here too, and whoever shows a text finds its code, also of one that was stored long ago.

`python -m tests.errors_page` writes docs/errors.md from it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Final

from providers.base import ProviderInfo
from providers.troubles import COMMON, Trouble
from service.errors.core import CORE
from service.errors.notices import NOTICES
from service.errors.operation import OPERATION
from service.errors.pages import CUSTOMERS, HOSTS, PAGES
from service.errors.requests import REQUESTS

_PLACE = re.compile(r"\{\w*\}|%\(\w+\)s")
_LONGEST = 2000  # characters of a text that is looked at
_LEAST = 12  # characters of its own that a sentence needs to be known by

OWN: Final[Mapping[str, tuple[Trouble, ...]]] = {
    "Requests": REQUESTS,
    "Bookings and connections": CORE,
    "Settings": PAGES,
    "Customers": CUSTOMERS,
    "Hosts": HOSTS,
    "Notices": NOTICES,
    "Every provider": COMMON,
    "Operation": OPERATION,
}
"""Our own troubles by where they are met."""


class Catalogue:
    """All troubles: by code, and by a text that tells of one."""

    def __init__(self, providers: Mapping[str, ProviderInfo]) -> None:
        vendors = {info.title: info.troubles for info in providers.values() if info.troubles}
        self.areas: Mapping[str, tuple[Trouble, ...]] = {**OWN, **vendors}
        self._shapes: dict[str, list[tuple[re.Pattern[str], Trouble]]] = {}

    @cached_property
    def codes(self) -> Mapping[str, Trouble]:
        """Every trouble by its code."""
        return {trouble.code: trouble for area in self.areas.values() for trouble in area}

    def find(
        self, text: str | None, language: str = "en", translate: Callable[[str], str] = lambda text: text
    ) -> Trouble | None:
        """The trouble that a text tells of, None if it tells of none that is known.

        `translate` gives a sentence of ours in the text's `language`.
        """
        if not text or len(text) > _LONGEST:
            return None
        if language not in self._shapes:
            self._shapes[language] = _shapes(self.codes.values(), translate)
        return next((trouble for shape, trouble in self._shapes[language] if shape.search(text)), None)


def numbered(sentence: str) -> str:
    """A sentence as the catalogues of languages hold it: {0}, {1}, … for what is filled in; that of a page as it is."""
    if "%(" in sentence:
        return sentence
    places = iter(range(sentence.count("{")))
    return re.sub(r"\{\w*\}", lambda _: f"{{{next(places)}}}", sentence)


def dotted(sentence: str) -> str:
    """A sentence for people who read of it and did not meet it: … for what is filled in."""
    return _PLACE.sub("…", sentence)


def _shapes(troubles: Iterable[Trouble], translate: Callable[[str], str]) -> list[tuple[re.Pattern[str], Trouble]]:
    """The longest first: it says most about what it matches."""
    found: list[tuple[int, re.Pattern[str], Trouble]] = []
    for trouble in troubles:
        for sentence in trouble.says:
            parts = _PLACE.split(translate(numbered(sentence)))
            known = sum(map(len, parts))
            if known >= _LEAST:
                found.append((known, re.compile(".*?".join(map(re.escape, parts)), re.DOTALL), trouble))
    return [(shape, trouble) for _, shape, trouble in sorted(found, key=lambda each: -each[0])]
