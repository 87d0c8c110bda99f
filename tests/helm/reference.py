"""Writes the chart's README and its schema from values.yaml: `.venv/bin/python -m tests.helm.reference`."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "helm" / "vello-meetings"

NAME = r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$"
"""A name of a Kubernetes object, or nothing."""
WEB_ADDRESS = r"^(https?://[^\s?#@]+)?$"

STRICTER: dict[str, dict[str, Any]] = {
    "publicUrl": {"pattern": WEB_ADDRESS},
    "jitsi.url": {"pattern": WEB_ADDRESS},
    "zoom.oauthUrl": {"pattern": WEB_ADDRESS},
    "zoom.apiUrl": {"pattern": WEB_ADDRESS},
    "oidc.issuer": {"pattern": WEB_ADDRESS},
    **{f"{part}.existingSecret": {"pattern": NAME} for part in ("auth", "redis", "valkey", "zoom", "google", "oidc")},
    **{f"notices.{part}.existingSecret": {"pattern": NAME} for part in ("smtp", "webhook")},
    "notices.language": {"enum": ["en", "fi", "sv"]},
    "notices.smtp.tls": {"enum": ["", "starttls", "implicit", "none"]},
    "notices.smtp.port": {"minimum": 0, "maximum": 65535},
    "ingress.tlsSecretName": {"pattern": NAME},
    "image.digest": {"pattern": "^(sha256:[0-9a-f]{64})?$"},
    "valkey.image.digest": {"pattern": "^(sha256:[0-9a-f]{64})?$"},
    "image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "valkey.image.pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
    "redis.url": {"pattern": r"^((redis|rediss|redis\+sentinel|redis\+cluster)://.+)?$"},
    "redis.prefix": {"pattern": r"^([\w.-]+:)+$"},
    "answerDeadline": {"type": "number", "minimum": 0.1, "maximum": 10},
    "leaseSeconds": {"type": "number", "minimum": 1, "maximum": 300},
    "sweepHour": {
        "type": ["integer", "string"],
        "minimum": 0,
        "maximum": 23,
        "pattern": "^(never|[0-9]|1[0-9]|2[0-3])$",
    },
    "logLevel": {"enum": ["debug", "info", "warning", "error", "critical"]},
    "logFormat": {"enum": ["json", "text"]},
    "expose": {"enum": ["public", "all"]},
    "service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    **{f"{path}": {"minimum": 1} for path in ("replicas", "worker.replicas", "autoscaling.minReplicas")},
    "preStopSeconds": {"minimum": 0},
    "extraEnv": {"additionalProperties": {"type": "string"}, "propertyNames": {"pattern": "^[A-Z][A-Z0-9_]*$"}},
    "extraObjects": {"items": {"type": ["string", "object"]}},
}
"""What a default cannot say about its value."""

FREE = {"resources", "labels"}
"""Maps whose keys are Kubernetes' or the user's own, though they have a default."""
TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array"}


def values() -> dict[str, Any]:
    """The chart's defaults."""
    return dict(yaml.safe_load((CHART / "values.yaml").read_text()))


def described() -> dict[str, str]:
    """Each value's dotted path, and the comment above it."""
    found: dict[str, str] = {}
    path: list[str] = []
    comment = ""
    for line in (CHART / "values.yaml").read_text().splitlines():
        if said := re.fullmatch(r" *# -- (.*)", line):
            comment = said[1]
        elif key := re.match(r"( *)(\w+):", line):
            path[len(key[1]) // 2 :] = [key[2]]
            if comment:
                found[".".join(path)] = comment
            comment = ""
    return found


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Each value that has no named parts, by its dotted path."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{prefix}{name}"
        parts = isinstance(value, dict) and value and name not in FREE
        found |= leaves(value, f"{path}.") if parts else {path: value}
    return found


def schema_of(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """What may be given, as JSON Schema."""
    properties: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict) and value and name not in FREE:
            properties[name] = schema_of(value, f"{path}.")
            continue
        kind = "object" if isinstance(value, dict) else TYPES[type(value)]
        properties[name] = {"type": kind, "description": described()[path], **STRICTER.get(path, {})}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def schema() -> str:
    """The text of values.schema.json."""
    top = schema_of(values())
    top["properties"]["global"] = {"type": "object", "description": "Helm's own, for charts that hold this one"}
    return json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", **top}, indent=2) + "\n"


def readme() -> str:
    """The text of the chart's README."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    comments = described()
    rows = [f"| `{path}` | `{json.dumps(value)}` | {comments[path]} |" for path, value in leaves(values()).items()]
    return "\n".join(
        [
            f"# {chart['name']}",
            "",
            chart["description"],
            "",
            f"Chart {chart['version']}, for Kubernetes {chart['kubeVersion'].removesuffix('-0')}, Helm 3.10 or newer. "
            "How to install it: [docs/install.md](../../docs/install.md).",
            "",
            "| value | default | meaning |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    (CHART / "values.schema.json").write_text(schema())
    (CHART / "README.md").write_text(readme())
