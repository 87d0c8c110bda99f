"""The registry with real packages on the path."""

from pathlib import Path

import pytest

from providers.registry import RegistryError, load


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path for packages of other people."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def a_package(folder: Path, module: str, source: str) -> None:
    """Install a package `<module>-dist` whose one module has an entry point `own` to its PROVIDER."""
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{module}_dist-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}-dist\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[vello_meetings.providers]\nown = {module}:PROVIDER\n")


def test_the_built_in_providers_are_listed_under_their_names() -> None:
    providers = load()
    assert {"jitsi", "memory"} <= providers.keys()
    assert all(name == info.name for name, info in providers.items())


def test_a_package_brings_its_provider_along(install: Path) -> None:
    source = "from dataclasses import replace\nfrom providers.memory import PROVIDER as OTHER\n"
    a_package(install, "brings_one", source + "PROVIDER = replace(OTHER, name='own')\n")
    assert load()["own"].title == "Reference server"


@pytest.mark.parametrize(
    ("module", "source", "problem"),
    [
        ("breaks", "raise RuntimeError('half installed')", "does not load: RuntimeError: half installed"),
        ("lacks_it", "", "does not load: AttributeError"),
        ("is_something_else", "PROVIDER = {}", "is dict, not ProviderInfo"),
        ("clashes", "from providers.jitsi import PROVIDER", "a second provider named 'jitsi'"),
    ],
)
def test_a_broken_package_is_named(install: Path, module: str, source: str, problem: str) -> None:
    a_package(install, module, source)
    with pytest.raises(RegistryError) as caught:
        load()
    assert problem in str(caught.value)
    assert f"'own' ({module}:PROVIDER) of {module}-dist" in str(caught.value)
