"""Every text that people can see, taken from the sources, and the catalogues in `service/web/locale` brought up to it.

`python -m tests.catalogue` writes new texts into the catalogues, without a translation, and takes out what is gone.
"""

import io
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po

from service.web.words import LANGUAGES

ROOT = Path(__file__).parent.parent
WEB = ROOT / "service" / "web"
LOCALE = WEB / "locale"
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "several": (1, 2)}
TRANSLATED = [name for name in LANGUAGES if name != "en"]

Text = str | tuple[str, ...]


@cache
def texts() -> dict[Text, list[str]]:
    """Each text with the files it is in."""
    found: dict[Text, list[str]] = {}
    for path in sorted([*WEB.glob("*.py"), *WEB.glob("templates/*.html")]):
        method, options = ("python", {}) if path.suffix == ".py" else ("jinja2.ext:babel_extract", _JINJA)
        for _, message, _, _ in extract(method, io.BytesIO(path.read_bytes()), KEYWORDS, options=options):
            found.setdefault(message, []).append(str(path.relative_to(ROOT)))
    return found


_JINJA = {"trim_blocks": "true", "lstrip_blocks": "true", "newstyle_gettext": "true", "silent": "false"}


def catalogue(language: str) -> Catalog:
    """A language's catalogue as it is written."""
    return read_po(io.BytesIO((LOCALE / f"{language}.po").read_bytes()), locale=language)


def missing(language: str) -> Iterator[Text]:
    """Texts without a translation."""
    written = {message.id: message for message in catalogue(language) if message.id}
    for text in texts():
        message = written.get(text)
        said = message.string if message else ""
        if not said or (not isinstance(said, str) and not all(said)):
            yield text


def main() -> None:
    """Bring every catalogue up to the sources."""
    found = texts()
    for language in TRANSLATED:
        old = {message.id: message.string for message in catalogue(language) if message.id}
        new = Catalog(locale=language, project="vello-meetings", fuzzy=False, header_comment="")
        for text, files in found.items():
            new.add(text, old.get(text, ""), [(file, 0) for file in sorted(set(files))])
        out = io.BytesIO()
        write_po(out, new, width=120, include_lineno=False, sort_output=True, omit_header=False)
        kept = [line for line in out.getvalue().decode().splitlines() if not _dated(line)]
        (LOCALE / f"{language}.po").write_text("\n".join(kept).strip() + "\n")


def _dated(line: str) -> bool:
    return line.startswith(('"POT-', '"PO-', '"Report', '"Last-', '"Generated', '"Language-Team'))


if __name__ == "__main__":
    main()
