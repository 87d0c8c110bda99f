"""Nothing undocumented, nothing documented that is not there."""

import argparse
import ast
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from providers import registry
from service.app import describe
from service.cli import _parser
from service.config import Config

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
PROVIDER_PAGES = {
    "google_meet": "google-meet.md",
    "http_provider": "http-provider.md",
    "jitsi": "jitsi.md",
    "memory": "write-a-provider.md",
    "zoom": "zoom.md",
}


DESCRIBED = describe()
CODES = re.compile(
    r"(?:Problem|problem|InvalidEvent|_refuse|_(?:REFUSAL|BUSY|LARGE_HEAD) = )\(\s*(?:\d+,\s*)?\"(\w+)\""
)
"""How the sources name an error's code."""


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def section(text: str, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"there is no section {title}"
    return found[1]


def named(fields: set[str], text: str) -> list[str]:
    """The fields that `text` does not name between backticks or quotes."""
    return sorted(field for field in fields if not re.search(rf"[`\"]{re.escape(field)}[`\"]", text))


def operations() -> list[tuple[str, dict[str, Any]]]:
    paths = DESCRIBED["paths"].items()
    return [(f"{method.upper()} {path}", operation) for path, of in paths for method, operation in of.items()]


def fields_of(part: Any, schemas: dict[str, Any], seen: set[str]) -> set[str]:
    """Every property that is reachable from a part of the document."""
    if isinstance(part, list):
        return {field for each in part for field in fields_of(each, schemas, seen)}
    if not isinstance(part, dict):
        return set()
    name = str(part.get("$ref", "")).removeprefix("#/components/schemas/")
    found = set(part["properties"]) if isinstance(part.get("properties"), dict) else set()
    if name and name not in seen:
        seen.add(name)
        found |= fields_of(schemas[name], schemas, seen)
    return found.union(*(fields_of(value, schemas, seen) for value in part.values()))


def examples() -> Iterator[str]:
    """Every command in a shell block of the pages, each as one line."""
    for path in PAGES:
        for block in re.findall(r"^```sh\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
            joined = re.sub(r"\\\n|'[^']*'", lambda part: part[0].replace("\\\n", " ").replace("\n", " "), block)
            yield from joined.splitlines()


def commands() -> dict[str, argparse.ArgumentParser]:
    choices = next(action.choices for action in _parser()._actions if action.dest == "command")
    assert isinstance(choices, dict)
    return choices


@pytest.mark.parametrize("name", Config.variables())
def test_every_variable_is_documented(name: str) -> None:
    assert f"`{name}`" in page("configuration.md")


def test_no_variable_is_documented_that_is_not_read() -> None:
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", page("configuration.md"), re.MULTILINE))
    assert documented == set(Config.variables())


@pytest.mark.parametrize(("call", "operation"), operations(), ids=lambda value: value if type(value) is str else "")
def test_every_call_of_the_api_is_documented_with_its_parameters_and_fields(
    call: str, operation: dict[str, Any]
) -> None:
    text, schemas = page("api.md"), DESCRIBED["components"]["schemas"]
    of_its_kind = section(text, operation["tags"][0].capitalize())
    assert f"`{call}`" in of_its_kind
    good = {status: answer for status, answer in operation["responses"].items() if int(status) < 400}
    fields = fields_of([operation.get("requestBody"), good], schemas, set())
    queries = {one["name"] for one in operation.get("parameters", []) if one["in"] == "query"}
    assert named(fields, of_its_kind) == []
    assert [query for query in queries if not re.search(rf"[`?]{query}[`=]", of_its_kind)] == []


def test_every_error_code_is_documented() -> None:
    sources = "\n".join(path.read_text() for path in ROOT.glob("service/**/*.py"))
    codes = set(CODES.findall(sources))
    assert {"invalid_signature", "too_large", "in_use", "wrong_company"} <= codes
    assert named(codes, page("api.md") + page("vello.md")) == []


def test_every_documented_call_of_the_api_exists() -> None:
    documented = set(re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /api/v1/[^`?]+)`", page("api.md")))
    assert documented == {call for call, _ in operations()}


def test_every_error_of_the_api_has_the_one_shape() -> None:
    for _, operation in operations():
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                schema: Any = answer["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Failure"}


@pytest.mark.parametrize("name", sorted(registry.load()))
def test_every_provider_has_a_page_that_names_its_settings_and_options(name: str) -> None:
    info = registry.load()[name]
    assert named(set(info.settings.model_fields), page(PROVIDER_PAGES[name])) == []
    assert named(set(info.options.model_fields), page(PROVIDER_PAGES[name]) + page("links.md")) == []


@pytest.mark.parametrize("command", commands())
def test_every_command_is_documented_with_its_options_and_their_choices(command: str) -> None:
    text = "\n".join(path.read_text() for path in PAGES)
    assert f"vello-meetings {command}" in text
    actions = [*_parser()._actions, *commands()[command]._actions]
    options = {option for action in actions for option in action.option_strings if option.startswith("--")}
    assert named(options - {"--help"}, text) == []
    assert (
        named({str(choice) for action in commands()[command]._actions for choice in action.choices or ()}, text) == []
    )


@pytest.mark.parametrize("line", [line for line in examples() if "vello-meetings" in line])
def test_every_command_in_an_example_is_one(line: str) -> None:
    words = shlex.split(line)
    at = next(place for place, word in enumerate(words) if word.endswith("vello-meetings"))
    assert _parser().parse_args(words[at + 1 :]).command in commands()


@pytest.mark.parametrize("line", [line for line in examples() if "/api/v1" in line])
def test_every_request_in_an_example_is_one(line: str) -> None:
    words = shlex.split(line.partition("curl ")[2])
    url = next(word for word in words if "/api/v1" in word)
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    asked = f"{method} {url.removeprefix('http://127.0.0.1:8080').partition('?')[0]}"
    assert [call for call, _ in operations() if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", call), asked)], asked
    body = words[words.index("-d") + 1] if "-d" in words else "@-"
    assert body == "@-" or isinstance(json.loads(body), dict)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_index_names_every_page() -> None:
    assert [
        path.name for path in (ROOT / "docs").glob("*.md") if f"({path.name})" not in page("index.md") + "(index.md)"
    ] == []


def test_ci_runs_the_readmes_two_commands() -> None:
    """It takes them from the README by the same pattern, so there is no second wording that could differ."""
    readme, script = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    assert re.findall(r"^python3 -m venv .*$", readme, re.MULTILINE) == [
        "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/vello-meetings demo",
        "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest",
    ]
    assert "mapfile -t commands < <(grep '^python3 -m venv ' README.md)" in script
    assert 'bash -euo pipefail -c "${commands[0]}"' in script
    assert "set_up=${commands[1]%&& .venv/bin/pytest}" in script
    assert re.search(r"^\.venv/bin/pytest$", script, re.MULTILINE)


@pytest.mark.parametrize("path", sorted([*ROOT.glob("service/**/*.py"), *ROOT.glob("providers/*.py")]), ids=str)
def test_every_module_class_and_error_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name
