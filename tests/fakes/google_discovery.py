"""Google's discovery documents as law: what a call may say, which scopes it needs, what an answer looks like.

They come with PyPI's google-api-python-client: calendar v3, meet v2 and oauth2 v2. Enumerations and read-only fields
that Calendar's document has in words only are read from those words.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Api = Literal["calendar", "meet", "oauth2"]
VERSIONS: dict[Api, str] = {"calendar": "calendar.v3", "meet": "meet.v2", "oauth2": "oauth2.v2"}

_CHOICES = re.compile(r'- "(\w+)"')
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one field or parameter."""

    at: str
    kind: Literal["unknown", "value", "read-only"]
    text: str


@cache
def document(api: Api) -> dict[str, Any]:
    """A whole discovery document."""
    text = (files("googleapiclient.discovery_cache.documents") / f"{VERSIONS[api]}.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@cache
def method(api: Api, name: str) -> dict[str, Any]:
    """A method such as `events.insert`, with the parameters every method of its API has."""
    *resources, last = name.split(".")
    found: dict[str, Any] = document(api)
    for resource in resources:
        found = found["resources"][resource]
    found = found["methods"][last]
    return found | {"parameters": {**document(api)["parameters"], **found.get("parameters", {})}}


@cache
def scopes() -> frozenset[str]:
    """Every scope a person can be asked for: these APIs' and, for OpenID Connect, `openid` and the short names."""
    known = {scope for api in VERSIONS for scope in document(api)["auth"]["oauth2"]["scopes"]}
    return frozenset(known | {"openid", "email", "profile"})


def check_query(api: Api, name: str, query: Iterable[tuple[str, str]]) -> list[Problem]:
    """What is wrong with the parameters of a call."""
    known, problems, seen = method(api, name)["parameters"], [], set()
    for key, value in query:
        rule = known.get(key)
        if rule is None or rule["location"] != "query":
            problems.append(Problem(key, "unknown", f'Unknown name "{key}": Cannot bind query parameter.'))
        elif key in seen and not rule.get("repeated"):
            problems.append(Problem(key, "value", f"{key} is given twice"))
        elif text := _wrong_parameter(rule, value):
            problems.append(Problem(key, "value", text))
        seen.add(key)
    return problems


def _wrong_parameter(rule: dict[str, Any], value: str) -> str | None:
    if rule["type"] == "boolean":
        return None if value in ("true", "false") else "true or false was expected"
    if rule["type"] == "integer":
        if not re.fullmatch(r"-?\d+", value):
            return "a whole number was expected"
        low, high = int(rule.get("minimum", -(2**31))), int(rule.get("maximum", 2**31 - 1))
        return None if low <= int(value) <= high else f"{low} to {high} was expected"
    return _wrong_text(rule, value)


def check(api: Api, schema: str, value: Any, *, writing: bool) -> list[Problem]:
    """What is wrong with an object; in a request (`writing`) null is allowed, and read-only fields are not."""
    return list(_object(api, document(api)["schemas"][schema], value, "", writing))


def _object(api: Api, schema: dict[str, Any], value: Any, at: str, writing: bool) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield Problem(at, "value", "an object was expected")
        return
    known, more = schema.get("properties", {}), schema.get("additionalProperties")
    for key, inner in value.items():
        path = f"{at}.{key}" if at else key
        rule = known.get(key, more)
        if rule is None:
            where = f" at '{at}'" if at else ""
            yield Problem(path, "unknown", f'Unknown name "{key}"{where}: Cannot find field.')
        elif writing and is_read_only(rule):
            yield Problem(path, "read-only", f"{path} is read-only")
        elif inner is not None or not writing:
            yield from _value(api, rule, inner, path, writing)


def _value(api: Api, rule: dict[str, Any], value: Any, at: str, writing: bool) -> Iterator[Problem]:
    if "$ref" in rule or rule["type"] == "object":
        schema = document(api)["schemas"][rule["$ref"]] if "$ref" in rule else rule
        yield from _object(api, schema, value, at, writing)
    elif rule["type"] == "array":
        if isinstance(value, list):
            for index, each in enumerate(value):
                yield from _value(api, rule["items"], each, f"{at}[{index}]", writing)
        else:
            yield Problem(at, "value", "a list was expected")
    elif text := _wrong_value(rule, value):
        yield Problem(at, "value", text)


def _wrong_value(rule: dict[str, Any], value: Any) -> str | None:
    match rule["type"]:
        case "boolean":
            return None if isinstance(value, bool) else "true or false was expected"
        case "integer":
            good = isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31
            return None if good else "a whole number was expected"
        case "number":
            return None if isinstance(value, int | float) and not isinstance(value, bool) else "a number was expected"
        case "string":
            return _wrong_text(rule, value)
    return None


def _wrong_text(rule: dict[str, Any], value: Any) -> str | None:
    if not isinstance(value, str):
        return "a text was expected"
    allowed = choices(rule)
    if allowed and value not in allowed:
        return f"Invalid value: {value!r}, one of {', '.join(allowed)} was expected"
    try:
        if rule.get("format") == "date-time":
            if not _MOMENT.fullmatch(value):
                raise ValueError
            datetime.fromisoformat(value.upper())
        if rule.get("format") == "date":
            date.fromisoformat(value)
    except ValueError:
        return f"an RFC 3339 {rule['format']} was expected"
    return None


def choices(rule: dict[str, Any]) -> list[str]:
    """The values a text may have; none if any."""
    listed: list[str] = rule.get("enum", [])
    _, words, after = rule.get("description", "").partition("ossible values are:")
    return listed or (_CHOICES.findall(after) if words else [])


def is_read_only(rule: dict[str, Any]) -> bool:
    """Whether only Google writes it; an organizer may be given when importing, which nobody does here."""
    return bool(rule.get("readOnly")) or bool(re.search(r"\bread-only[.,]", rule.get("description", ""), re.IGNORECASE))
