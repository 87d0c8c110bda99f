"""Every text that people can see, taken from the sources, and the catalogues in `service/web/locale` brought up to it.

`python -m tests.catalogue` writes new texts into the catalogues, without a translation, and takes out what is gone.

Pages mark their texts with `_`. The core and the adapters know no languages: of them, everything that reads like a
sentence counts, and what is filled in stands as {0}, {1}, …
"""

import ast
import io
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal, get_args, get_origin

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po
from pydantic import BaseModel

from providers import registry
from service.errors import Catalogue
from service.web.forms import label_of
from service.web.words import GUESTS, LANGUAGES

ROOT = Path(__file__).parent.parent
WEB = ROOT / "service" / "web"
LOCALE = WEB / "locale"
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "several": (1, 2)}
TRANSLATED = [name for name in GUESTS if name != "en"]
FOR_GUESTS = {
    *("service/web/entrance.py", "service/web/join.py"),
    *("service/web/templates/host.html", "service/web/templates/meeting.html"),
}
"""Sources whose texts are seen behind links, without a login: they are in every language, all others in those of the
settings."""

UNSEEN = {
    *("providers/memory.py", "providers/memory_server.py", "providers/registry.py", "providers/testing.py"),
    "providers/zoom_webhook.py",
    *(
        "service/cli.py",
        "service/web/api.py",
        "service/app.py",
        "service/choices.py",
        "service/config.py",
        "service/demo.py",
        "service/erasure.py",
    ),
    "service/findings.py",
    *("service/embedded.py", "service/generated.py", "service/logs.py", "service/metrics.py", "service/observer.py"),
    *(f"service/doctor/{name}.py" for name in ("accounts", "address", "configuration", "examination", "finding")),
    *("service/doctor/keys.py", "service/doctor/notices.py", "service/doctor/server.py"),
    *(f"service/outages/{name}.py" for name in ("acts", "people", "rehearse", "story", "zoom")),
    *(
        "service/throwaway.py",
        "service/rotation.py",
        "service/store.py",
        "service/store_address.py",
        "service/store_node.py",
    ),
    *("service/store_routes.py", "service/store_server.py", "service/traces.py", "service/trigger.py"),
    *(
        "service/values.py",
        "service/vault.py",
        "service/vello.py",
        "service/web/door.py",
        "service/web/guard.py",
    ),
    *("service/web/api.py", "service/web/schema.py", "service/web/server.py", "service/web/webhook.py"),
}
"""Sources whose sentences no page shows: they speak to operators, programs or Vello."""

FRAGMENTS = (
    "Own system (signed HTTP)",
    "{0} refuses the call: {1}",
    "{0} does not work now: {1}",
    "{0} takes mail for none of the recipients: {1}",
    "{0} refuses user name or password: {1}",
    "{0} refuses the message: {1}",
    "{0} has a certificate that is not trusted: {1}",
    "{0} does not offer what was asked of it: {1}",
    "{0} It takes none for {1}",
    "status {0}, {1}.",
    "about {0} s",
    "about {0} min",
    "Making",
    "Changing",
    "Removing",
    "Finding",
    "{0} the meeting did not work: {1} {2}",
    "{0} the meeting was refused {1} times and is given up: {2}",
    "it has a waiting room, and nobody gets in before the host lets them",
    "nobody gets in before the host",
    "only people with a Zoom login get in",
    "Vello sent {0} ({1}).",
    "Vello sent {0} ({1}); it changes nothing.",
    "Vello sent {0} ({1}); something newer is known, so it changes nothing.",
    "version {0}",
    "no version",
    "Ready: {0}.",
    "Vello wants a link and there is no meeting",
    "As many calls of the connection as may be are in flight",
    "something newer is known",
    "nothing changed",
    "the record belongs to another company or was erased",
    "The answer of a create was lost, and the provider may still carry it out",
)
"""Pieces of sentences that do not read like one."""

OF_LIBRARIES = (
    "Field required.",
    "Extra inputs are not permitted.",
    "Input should be a valid integer.",
    "Input should be a valid string.",
    "Input should be greater than or equal to {0}.",
    "Input should be less than or equal to {0}.",
    "Input should be {0}.",
    "String should have at most {0} characters.",
    "String should have at least {0} characters.",
    "String should match pattern {0}.",
    "Value should have at least {0} items after validation, not {1}.",
    "Tuple should have at most {0} items after validation, not {1}.",
    "a UUID was expected.",
    "an IANA time zone was expected, such as Europe/Helsinki.",
    "one line of text was expected.",
    "the braces do not match: {0}.",
    "braces hold nothing but a name.",
    "unknown {0}; known are {1}, {2} and {3}.",
    "an e-mail address was expected.",
    "a colour was expected, such as #0b5cad.",
)
"""What pydantic and our own checks of fields say, as `errors_of` shows it."""

Text = str | tuple[str, ...]


@cache
def texts() -> dict[Text, list[str]]:
    """Each text with the files it is in."""
    found: dict[Text, list[str]] = {}
    for path in sorted([*WEB.glob("*.py"), *WEB.glob("templates/*.html")]):
        method, options = ("python", {}) if path.suffix == ".py" else ("jinja2.ext:babel_extract", _JINJA)
        for _, message, _, _ in extract(method, io.BytesIO(path.read_bytes()), KEYWORDS, options=options):
            found.setdefault(message, []).append(_name(path))
    for text, where in [*_sentences(), *_scripts(), *_declared(), *_cures()]:
        found.setdefault(text, []).append(where)
    for text in (*FRAGMENTS, *OF_LIBRARIES):
        found.setdefault(text, []).append("tests/catalogue.py")
    return found


def texts_in(language: str) -> dict[Text, list[str]]:
    """The texts that a language is to have."""
    if language in LANGUAGES:
        return texts()
    return {text: kept for text, files in texts().items() if (kept := [file for file in files if file in FOR_GUESTS])}


_JINJA = {"trim_blocks": "true", "lstrip_blocks": "true", "newstyle_gettext": "true", "silent": "false"}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _sentences() -> Iterator[tuple[str, str]]:
    for path in sorted([*ROOT.glob("service/**/*.py"), *ROOT.glob("providers/*.py")]):
        if _name(path) in UNSEEN:
            continue
        tree = ast.parse(path.read_text())
        passed = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        for node in ast.walk(tree):
            marked = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KEYWORDS
            header = (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Query", "Header")
            )
            declared = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Trouble"
            if marked or header or declared:  # a trouble's sentences are those of whoever says them
                passed |= {id(part) for part in ast.walk(node)}
            if isinstance(node, ast.JoinedStr):
                passed |= {id(part) for part in node.values}
        for node in ast.walk(tree):
            text = shape(node) if id(node) not in passed else None
            if text and (
                _reads_like_a_sentence(text)
                or (path.name in ("plan.py", "drift.py") and re.match(r"[a-zV]\S* \S", text))
            ):
                yield text, _name(path)


def shape(node: ast.AST) -> str | None:
    """A text in the sources, with {0}, {1}, … for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if not isinstance(node, ast.JoinedStr):
        return None
    text, places = "", 0
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
        else:
            text, places = f"{text}{{{places}}}", places + 1
    return text


def _reads_like_a_sentence(text: str) -> bool:
    return bool(re.match(r"[A-Z{`].*\S \S.*[.:;]$", text)) and len(re.sub(r"\{\d\}", "", text)) > 8


def _scripts() -> Iterator[tuple[str, str]]:
    """What the ledger's scripts write into journals."""
    for path in sorted(ROOT.glob("service/*.lua")):
        code = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("--"))
        for quoted in re.findall(r"'([A-Z][^'\n]* [^'\n]*\.)'|\"([A-Z][^\"\n]* [^\"\n]*\.)\"", code):
            yield quoted[0] or quoted[1], _name(path)


def _declared() -> Iterator[tuple[str, str]]:
    """Labels, hints and words of the fields that adapters declare, and what their scopes are for."""
    for name, info in registry.load().items():
        if info.asks == ():
            continue
        where = f"providers/{name}.py"
        shown = [*(info.asks or info.settings.model_fields), *info.asks_more]
        yield from _of_model(info.options, list(info.options.model_fields), where)
        yield from _of_model(info.settings, shown, where)
        for scope in info.oauth.scopes if info.oauth else ():
            yield scope.need, where
        for text in info.oauth.features.values() if info.oauth else ():
            yield text, where


def _cures() -> Iterator[tuple[str, str]]:
    """What is to be done about each trouble, as the page `/errors` says it."""
    for trouble in Catalogue(registry.load()).codes.values():
        yield trouble.cure, "service/errors"


def _of_model(model: type[BaseModel], names: list[str], where: str) -> Iterator[tuple[str, str]]:
    for name in names:
        yield label_of(name), where
        field = model.model_fields.get(name)
        if field is None:
            continue
        if field.description:
            yield field.description, where
        if get_origin(field.annotation) is Literal:
            yield from ((str(word), where) for word in get_args(field.annotation))


def catalogue(language: str) -> Catalog:
    """A language's catalogue as it is written."""
    path = LOCALE / f"{language}.po"
    return read_po(io.BytesIO(path.read_bytes()), locale=language) if path.exists() else Catalog(locale=language)


def missing(language: str) -> Iterator[Text]:
    """Texts without a translation."""
    written = {message.id: message for message in catalogue(language) if message.id}
    for text in texts_in(language):
        message = written.get(text)
        said = message.string if message else ""
        if not said or (not isinstance(said, str) and not all(said)):
            yield text


def main() -> None:
    """Bring every catalogue up to the sources."""
    for language in TRANSLATED:
        found = texts_in(language)
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
