"""Forms that adapters declare: which fields people see, and what is read back from what they typed."""

import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr, ValidationError, model_validator

from service.web.forms import errors_of, fields_of, label_of, read, sent_of, typed

KEY = {"type": "service_account", "client_email": "a@b.c"}


class Declared(BaseModel):
    """One field of each kind."""

    url: str = Field(description="Where it is.")
    minutes: int = Field(default=15, ge=0, le=60, strict=True)
    waits: bool = False
    early: bool | None = None
    recorded: Literal["none", "cloud"] = "none"
    people: tuple[Annotated[str, Field(min_length=2)], ...] = ()
    secret: SecretStr | None = None
    private_key: SecretStr | None = None
    email: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _takes_a_file_apart(cls, given: Any) -> Any:
        if isinstance(given, dict) and "key" in given:
            key = json.loads(given["key"])
            return {**{name: value for name, value in given.items() if name != "key"}, "email": key["client_email"]}
        return given


def test_each_kind_of_field_is_shown_as_what_it_is() -> None:
    fields = {field.name: field for field in fields_of(Declared, "x.", {"url": "here", "secret": "hush"})}
    kinds = {name: field.kind for name, field in fields.items()}
    assert kinds == {
        "x.url": "text",
        "x.minutes": "number",
        "x.waits": "choice",
        "x.early": "choice",
        "x.recorded": "choice",
        "x.people": "list",
        "secret.x.secret": "secret",
        "secret.x.private_key": "long",
        "x.email": "text",
    }
    assert (fields["x.url"].value, fields["x.url"].required, fields["x.url"].hint) == ("here", True, "Where it is.")
    assert (fields["x.minutes"].least, fields["x.minutes"].most, fields["x.minutes"].usual) == (0, 60, "15")
    assert (fields["x.waits"].usual, fields["x.early"].usual) == ("No", "")
    assert fields["secret.x.secret"].value == ""


def test_what_is_typed_is_read_and_what_is_empty_is_left_out() -> None:
    sent = {"x.url": " here ", "x.minutes": "20", "x.waits": "true", "x.early": "", "x.recorded": "cloud"}
    sent |= {"x.people": "ab, cd,,", "secret.x.secret": "hush", "other": "x"}
    found = read(Declared, "x.", sent)
    assert found == {
        "url": "here",
        "minutes": 20,
        "waits": True,
        "recorded": "cloud",
        "people": ("ab", "cd"),
        "secret": "hush",
    }
    assert Declared.model_validate(found).minutes == 20


def test_what_cannot_be_read_is_wrong_where_it_was_typed_and_stays() -> None:
    sent = {"x.minutes": "soon", "x.people": "a", "x.url": "here"}
    with pytest.raises(ValidationError) as caught:
        Declared.model_validate(read(Declared, "x.", sent))
    errors = errors_of(caught.value)
    assert set(errors) == {"minutes", "people"}
    shown = {field.name: field for field in fields_of(Declared, "x.", sent_of(Declared, "x.", sent), errors)}
    assert (shown["x.minutes"].value, shown["x.minutes"].error) == ("soon", "Input should be a valid integer.")


def test_secrets_that_were_typed_never_come_back() -> None:
    sent = {"x.url": "here", "secret.x.secret": "hush", "secret.x.private_key": "hush"}
    assert "hush" not in str(sent_of(Declared, "x.", sent))
    assert "hush" not in repr(fields_of(Declared, "x.", {"secret": "hush", "private_key": "hush"}))


def test_a_file_that_the_model_takes_apart_is_a_field_as_well() -> None:
    (field,) = fields_of(Declared, "x.", {}, only=["key"])
    assert (field.name, field.kind, field.label, field.required) == ("secret.x.key", "long", "Key", False)
    found = read(Declared, "x.", {"x.url": "here", "secret.x.key": json.dumps(KEY)}, [*Declared.model_fields, "key"])
    assert Declared.model_validate(found).email == "a@b.c"


def test_what_a_form_did_not_ask_for_is_not_read() -> None:
    sent = {"x.url": "here", "x.minutes": "5", "secret.x.secret": "hush"}
    assert read(Declared, "x.", sent, ["url"]) == {"url": "here"}


def test_stored_values_are_shown_as_they_are_typed() -> None:
    assert typed({"a": True, "b": 5, "c": ["x", "y"], "d": None}) == {"a": "true", "b": "5", "c": "x, y"}
    assert [label_of(name) for name in ("url", "app_id", "opens_before")] == ["URL", "App ID", "Opens before"]
