"""Alerts and dashboard ask for figures that exist."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from service.metrics import Metrics
from service.verbs import Backlog
from tests.helm.reference import CHART

FIGURE = re.compile(r"\b(?:vello_meetings|process)_\w+")
DOCS = (CHART.parents[1] / "docs" / "operate.md").read_text()


def alerts() -> Iterator[dict[str, str]]:
    for group in yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"]:
        yield from group["rules"]


def questions() -> Iterator[str]:
    yield from (alert["expr"] for alert in alerts())
    for panel in json.loads((CHART / "files" / "dashboard.json").read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def figures() -> set[str]:
    """The names of a process that has counted each of its figures once."""
    metrics = Metrics()
    metrics.event("connection.test", "new", 0.1)
    metrics.call("jitsi", "create", "ok", 0.1)
    metrics.takeover()
    metrics.refresh("zoom", "ok")
    metrics.notice("mail", "told")
    rest: tuple[Any, ...] = ({"c1": "open"}, {"c1": "ready"}, {"c1": 0.5}, 0.0, {"clock": 1}, {"mail": 9.0})
    text = metrics.render(Backlog(due=0, scheduled=0, oldest=0), *rest).decode()
    return set(re.findall(r"^(\w+)(?:\{| )", text, re.MULTILINE))


@pytest.mark.parametrize("question", [*questions()])
def test_every_figure_that_is_asked_for_exists(question: str) -> None:
    asked = set(FIGURE.findall(question))
    assert asked
    assert asked <= figures()


@pytest.mark.parametrize("alert", [*alerts()], ids=lambda alert: alert["alert"])
def test_every_alert_says_what_to_do_and_stands_in_the_docs(alert: dict[str, str]) -> None:
    assert yaml.safe_dump(alert["annotations"])
    assert f"`{alert['alert']}`" in DOCS


def test_every_figure_of_ours_is_watched() -> None:
    ours = {name for name in figures() if name.startswith("vello_meetings_") and not name.endswith(("_sum", "_bucket"))}
    asked = {name.replace("_bucket", "_count") for question in questions() for name in FIGURE.findall(question)}
    assert ours <= asked
