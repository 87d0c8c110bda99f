"""Nothing undocumented, nothing documented that is not there."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from providers import registry
from service.__main__ import _parser
from service.app import describe
from service.config import Config

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])
PROVIDER_PAGES = {"jitsi": "jitsi.md", "memory": "providers.md"}


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


@pytest.mark.parametrize("name", Config.variables())
def test_every_variable_is_documented(name: str) -> None:
    assert f"`{name}`" in page("configuration.md")


def test_no_variable_is_documented_that_is_not_read() -> None:
    named = set(re.findall(r"^\| `([A-Z_]+)` \|", page("configuration.md"), re.MULTILINE))
    assert named == set(Config.variables())


def test_every_path_parameter_and_field_of_the_api_is_documented() -> None:
    text, described = page("api.md"), describe()
    missing = [path for path in described["paths"] if f"{path}`" not in text]
    for operations in described["paths"].values():
        for operation in operations.values():
            missing += [one["name"] for one in operation.get("parameters", []) if one["name"] not in text]
    for schema in described["components"]["schemas"].values():
        missing += [name for name in schema.get("properties", {}) if not re.search(rf"[`\"]{name}[`\"]", text)]
    assert not missing


def test_every_documented_path_of_the_api_exists() -> None:
    named = set(re.findall(r"`(?:GET|POST|PUT|DELETE) (/api/v1/[^`?]+)`", page("api.md")))
    assert named == set(describe()["paths"])


def test_every_error_of_the_api_has_the_one_shape() -> None:
    for operations in describe()["paths"].values():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    schema: Any = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Failure"}


@pytest.mark.parametrize("name", sorted(registry.load()))
def test_every_provider_has_a_page_that_names_its_settings_and_options(name: str) -> None:
    info, text = registry.load()[name], page(PROVIDER_PAGES[name])
    fields = [*info.settings.model_fields, *info.options.model_fields]
    assert [field for field in fields if f"{field}" not in text + page("links.md")] == []


def test_every_command_and_option_is_documented() -> None:
    text = "\n".join(path.read_text() for path in PAGES)
    commands = next(action for action in _parser()._actions if action.dest == "command")
    assert isinstance(commands.choices, dict)
    for command, parser in commands.choices.items():
        assert f"vello-meetings {command}" in text
        for action in parser._actions:
            assert all(
                option in text for option in action.option_strings if option.startswith("--") and option != "--help"
            )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_the_index_names_every_page() -> None:
    assert [
        path.name for path in (ROOT / "docs").glob("*.md") if f"({path.name})" not in page("index.md") + "(index.md)"
    ] == []


def test_ci_runs_the_readmes_commands() -> None:
    readme, script = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    commands = re.findall(r"^python3 -m venv .*$", readme, re.MULTILINE)
    assert len(commands) == 2
    assert "README.md" in script


@pytest.mark.parametrize("path", sorted([*ROOT.glob("service/**/*.py"), *ROOT.glob("providers/*.py")]), ids=str)
def test_every_module_class_and_error_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name
