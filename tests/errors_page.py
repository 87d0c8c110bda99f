"""docs/errors.md, made from the catalogue of errors, and every error text that the sources hold.

`python -m tests.errors_page` writes the page.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from providers import registry
from providers.troubles import Trouble
from service.doctor.finding import CHECKS
from service.errors import Catalogue, dotted, numbered
from tests.catalogue import ROOT, shape, texts

PAGE = ROOT / "docs" / "errors.md"
CATALOGUE = Catalogue(registry.load())

WHO: Final = {
    "customer": "the customer",
    "admin": "an admin",
    "provider": "the provider",
    "vello": "whoever sends the request, as a rule Vello",
    "operator": "the operator",
    "developer": "the maker of this service",
}

_HEAD = """# Errors

<!-- Made by `python -m tests.errors_page` from service/errors and the adapters' troubles. -->

Every error text that a person can meet, by its code. A code stands in answers of the [API](api.md#errors) and the
[webhook](vello.md#errors), and as `reason_code` of a booking or a connection and `code` of a line in a booking's
journal. Pages of the settings lead with “What is this?” to `/errors` of the service, where all this stands in the
reader's language; an answer of the API with an error names that address: `Link: <…/errors#code>; rel="help"`. Codes
never change; `…` stands for what is filled in. An adapter of somebody else brings its own codes; what it does not
declare has none.

"""


@dataclass(frozen=True)
class Raised:
    """One sentence that the sources say of an error; `code` and `who` where they say that as well."""

    where: str
    sentence: str
    code: str | None = None
    who: str | None = None


OURS = {
    *("NoticeRefused", "StoreUnavailable", "StoreRefused", "EmbeddedUnavailable", "GeneratedRefused", "RegistryError"),
    *("Held", "Spent", "UnknownKey", "Damaged", "TooMany", "NotSent", "NotTold", "Unusable"),
}
"""Exceptions whose first argument is a sentence, besides those of providers."""
CODED = {"Problem", "problem", "_refuse"}
"""What takes a status, a code and a sentence, besides `InvalidEvent`, which takes no status."""
LATER = {"held": 1, "again": 1, "mark": 2}
"""Functions that write down why something waits, and which of their arguments says it."""
SAYING = {"why_dead", "why_refused"}
"""Functions of adapters that answer with a sentence."""
SETTINGS = {"service/config.py", "service/values.py", "service/store_address.py", "service/generated.py"}
"""Where what is wrong with a variable is said, with a semicolon before what to do."""
UNSAID = {"providers/memory_server.py", "providers/testing.py", "service/demo.py", "service/throwaway.py"}
"""Sources whose errors meet nobody."""


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Every file of ours with what it says."""
    for path in sorted([*ROOT.glob("service/**/*.py"), *ROOT.glob("providers/*.py")]):
        name = str(path.relative_to(ROOT))
        if name not in UNSAID and not re.search(r"service/errors/|service/outages/|troubles\.py", name):
            yield name, ast.parse(path.read_text())


@cache
def raised() -> list[Raised]:
    """Every error text of the sources."""
    modules = list(sources())
    classes = [node for _, tree in modules for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    known = {"ProviderError"}
    for _ in classes:  # until nothing is added, however deep they lie
        more = {one.name for one in classes if {_called(base) for base in one.bases} & known}
        if more <= known:
            break
        known |= more
    return [each for name, tree in modules for each in _of(name, tree, known | OURS)]


def _of(name: str, tree: ast.Module, errors: set[str]) -> Iterator[Raised]:
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        where = f"{name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Call):
            yield from _of_call(where, node, tree, errors)
        elif isinstance(node, ast.FunctionDef) and node.name in SAYING:
            returned = [each.value for each in ast.walk(node) if isinstance(each, ast.Return) and each.value]
            yield from (Raised(where, text) for value in returned if (text := shape(value)))
        elif isinstance(node, ast.Tuple):
            yield from _of_tuple(where, node)
        elif name in SETTINGS and id(node) not in inner:
            text = shape(node) or ""
            if re.match(r"[a-z{].* .*; [a-z]", text) and "\n" not in text:
                yield Raised(where, text)


def _of_call(where: str, call: ast.Call, tree: ast.Module, errors: set[str]) -> Iterator[Raised]:
    called, arguments = _called(call.func), call.args
    if called in errors and arguments:
        who = shape(arguments[1]) if len(arguments) > 1 else None
        yield from (Raised(where, each, None, who) for each in _said(arguments[0], tree, call))
    elif called in CODED and (at := next((place for place, each in enumerate(arguments) if _is_code(each)), None)):
        code = shape(arguments[at])
        yield from (Raised(where, each, code) for each in _said(arguments[at + 1], tree, call) or [""])
    elif called == "InvalidEvent":
        yield from (Raised(where, each, shape(arguments[0])) for each in _said(arguments[1], tree, call))
    elif called == "Remark" and shape(arguments[0]) in ("wrong", "away"):
        yield from (Raised(where, each) for each in _said(arguments[1], tree, call))
    elif called in LATER and len(arguments) > LATER[called]:
        yield from (Raised(where, each) for each in _said(arguments[LATER[called]], tree, call))


def _of_tuple(where: str, node: ast.Tuple) -> Iterator[Raised]:
    """A sentence with who mends it, or a status with a code and a sentence."""
    match [shape(each) for each in node.elts]:
        case [str(text), "admin" | "operator" | "developer" as who] if " " in text:
            yield Raised(where, text, None, who)
        case [_, str(code), str(text), *_] if text.endswith(".") and _is_code(node.elts[1]):
            yield Raised(where, text, code)


def _called(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _is_code(node: ast.AST) -> bool:
    return bool(re.fullmatch(r"[a-z]+(_[a-z]+)*", shape(node) or "")) and isinstance(node, ast.Constant)


def _said(node: ast.AST, tree: ast.Module, by: ast.AST) -> list[str]:
    """The sentences that an argument of the call `by` can be; none where it was passed on."""
    functions = [each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    if (text := shape(node)) is not None:
        return [text] if re.sub(r"\{\d\}|\W", "", text) else []
    if isinstance(node, ast.IfExp):
        return _said(node.body, tree, by) + _said(node.orelse, tree, by)
    if isinstance(node, ast.BoolOp):
        return [each for value in node.values for each in _said(value, tree, by)]
    if isinstance(node, ast.Call):
        made = [each for each in functions if each.name == _called(node.func)]
        values = [each.value for one in made for each in ast.walk(one) if isinstance(each, ast.Return) and each.value]
        return [text for value in values if (text := shape(value))]
    if isinstance(node, ast.Name):
        around = [each for each in functions if any(one is by for one in ast.walk(each))]
        scope: ast.AST = min(around, key=lambda each: (each.end_lineno or 0) - each.lineno, default=tree)
        values = _assigned(node.id, scope, by) or _assigned(node.id, tree, by)
        return [each for value in values if not isinstance(value, ast.Name) for each in _said(value, tree, by)]
    return []


def _assigned(name: str, place: ast.AST, by: ast.AST) -> list[ast.expr]:
    """What a name can hold where it is used: what it was given since it was last used."""
    until = getattr(by, "lineno", 0)
    given = [each for each in ast.walk(place) if isinstance(each, ast.Assign) and name in map(_called, each.targets)]
    uses = [each.lineno for each in ast.walk(place) if isinstance(each, ast.Name) and each.id == name]
    read = set(uses) - {each.lineno for each in given}
    since = max((line for line in read if line < until), default=0)
    return [each.value for each in given if since <= each.lineno <= until] or [each.value for each in given]


@cache
def everything_said() -> set[str]:
    """Every text of the sources and the pages, whatever it is for."""
    found = {text for _, tree in sources() for node in ast.walk(tree) if (text := shape(node))}
    return found | {text for text in texts() if isinstance(text, str)}


def known_as() -> dict[str, Trouble]:
    """Every sentence of the catalogue, as the sources hold it."""
    return {numbered(sentence): trouble for trouble in CATALOGUE.codes.values() for sentence in trouble.says}


def page() -> str:
    """docs/errors.md."""
    parts = [_HEAD]
    for area, troubles in CATALOGUE.areas.items():
        parts.append(f"## {area}\n\n")
        parts += [_section(trouble) for trouble in sorted(troubles, key=lambda each: each.code)]
    parts.append("## Doctor\n\n`vello-meetings doctor` names each thing it looks at, and says itself what to do.\n\n")
    parts.append("| check | all is well when |\n|---|---|\n")
    parts += [f"| `{check}` | {text} |\n" for check, text in CHECKS.items()]
    return "".join(parts)


def _section(trouble: Trouble) -> str:
    said = "".join(f"- {_plain(sentence)}\n" for sentence in trouble.says)
    said = said or "- The provider says it in words of its own.\n"
    return f"### `{trouble.code}`\n\n{said}\nMended by {WHO[trouble.who]}. {trouble.cure}\n\n"


def _plain(sentence: str) -> str:
    return dotted(sentence).replace("<", "&lt;")


def main() -> None:
    """Write the page."""
    Path(PAGE).write_text(page())


if __name__ == "__main__":
    main()
