"""Fields of a form made from what an adapter declares, and what was typed read back into values."""

import json
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from service.web.kept import HUSHED
from service.web.words import _, said

_HUSHED = ("secret", "long")  # keys of several lines are secrets too: what was typed never comes back

Kind = Literal["text", "long", "secret", "number", "choice", "list"]


@dataclass(frozen=True, slots=True)
class Field:
    """One field: `name` as the form sends it, `value` as it stands there, `usual` what an empty one means."""

    name: str
    label: str
    hint: str
    kind: Kind
    value: str = field(default="", repr=False)
    usual: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    least: int | None = None
    most: int | None = None
    required: bool = False
    error: str | None = None


def label_of(name: str) -> str:
    """A field's name as people read it."""
    words = [{"url": "URL", "id": "ID"}.get(word, word) for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def fields_of(
    model: type[BaseModel],
    prefix: str,
    values: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    only: Iterable[str] | None = None,
) -> list[Field]:
    """The fields of `model`, with what was typed or is stored in `values` (see `typed`), by the model's names."""
    names = model.model_fields if only is None else only
    return [_field(name, _declared(model, name), prefix, values, errors or {}) for name in names]


def read(
    model: type[BaseModel], prefix: str, sent: Mapping[str, str], only: Iterable[str] | None = None
) -> dict[str, Any]:
    """What a form says of a model's fields, or of those it asked for and no others, as `fields_of` takes them.

    Empty ones are left out, what cannot be read stays as it was typed.
    """
    found: dict[str, Any] = {}
    for name in model.model_fields if only is None else dict.fromkeys(only):
        kind, plain = _kind(name, _declared(model, name))
        text = sent.get(_sent(name, kind, prefix), "").strip()
        if text:
            found[name] = _value(text, kind, plain)
    return found


def typed(values: Mapping[str, Any]) -> dict[str, str]:
    """Stored values as a form shows them."""
    return {name: _text(value) for name, value in values.items() if value is not None}


def sent_of(model: type[BaseModel], prefix: str, sent: Mapping[str, str]) -> dict[str, str]:
    """What was typed, by the model's names; secrets are left out, for they are never shown."""
    return {
        name: sent.get(f"{prefix}{name}", "")
        for name, info in model.model_fields.items()
        if _kind(name, info)[0] not in _HUSHED
    }


def errors_of(error: ValidationError, *within: str) -> dict[str, str]:
    """What is wrong, by field; what is wrong with all of it is under ''."""
    found: dict[str, str] = {}
    for each in error.errors(include_input=False, include_url=False):
        place = [str(part) for part in each["loc"]]
        name = ".".join([*within, *place[:1]]) if place else ""
        found.setdefault(name, said(each["msg"].removeprefix("Value error, ").rstrip(".") + "."))
    return found


def _declared(model: type[BaseModel], name: str) -> FieldInfo:
    """A field of a model; what the model only takes apart, such as a key file, is a secret of several lines."""
    return model.model_fields.get(name) or FieldInfo(annotation=SecretStr, default=None)


def _field(name: str, info: FieldInfo, prefix: str, values: Mapping[str, str], errors: Mapping[str, str]) -> Field:
    kind, plain = _kind(name, info)
    choices: tuple[tuple[str, str], ...] = ()
    if plain is bool:
        choices = (("true", _("Yes")), ("false", _("No")))
    elif get_origin(plain) is Literal:
        choices = tuple((str(each), said(str(each))) for each in get_args(plain))
    usual = None if info.is_required() else info.get_default(call_default_factory=True)
    return Field(
        name=_sent(name, kind, prefix),
        label=said(label_of(name)),
        hint=said(info.description or ""),
        kind=kind,
        value="" if kind in _HUSHED else values.get(name, ""),
        usual=next((label for value, label in choices if value == _text(usual)), _text(usual)),
        choices=choices,
        least=next((each.ge for each in info.metadata if hasattr(each, "ge")), None),
        most=next((each.le for each in info.metadata if hasattr(each, "le")), None),
        required=info.is_required(),
        error=errors.get(name),
    )


def _kind(name: str, info: FieldInfo) -> tuple[Kind, Any]:
    plain: Any = info.annotation
    if get_origin(plain) in (Union, types.UnionType):
        plain = next(each for each in get_args(plain) if each is not type(None))
    while hasattr(plain, "__metadata__"):  # Annotated within a union
        plain = plain.__origin__
    if plain is SecretStr:
        return ("long" if name == "key" or name.endswith("private_key") else "secret"), plain
    if plain is bool or get_origin(plain) is Literal:
        return "choice", plain
    if plain is int:
        return "number", plain
    if get_origin(plain) in (tuple, list):
        return "list", plain
    return ("long" if get_origin(plain) is dict or plain is dict else "text"), plain


def _sent(name: str, kind: Kind, prefix: str) -> str:
    return f"{HUSHED}{prefix}{name}" if kind in _HUSHED else f"{prefix}{name}"


def _value(text: str, kind: Kind, plain: Any) -> Any:
    if plain is bool:
        return text == "true"
    if kind == "number":
        return int(text) if text.removeprefix("-").isdecimal() and len(text) < 12 else text
    if plain is dict or get_origin(plain) is dict:
        try:
            return json.loads(text)
        except ValueError:
            return text
    if kind == "list":
        return tuple(part for each in text.split(",") if (part := each.strip()))
    return text


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(str(each) for each in value)
    return str(value)
