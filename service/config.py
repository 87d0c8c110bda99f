"""The process's environment: every variable read, checked and named once."""

import base64
import hashlib
import os
import secrets
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from service import values as of
from service.generated import GeneratedRefused, complete, read
from service.vault import KEY_BYTES

PUBLIC_URL_DEFAULT = "http://127.0.0.1:8080"
DATA_DIR_DEFAULT = "./data"
WEBHOOK_PATH = "/webhooks/vello"

LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["json", "text"]
Tls = Literal["starttls", "implicit", "none"]
Language = Literal["en", "fi", "sv"]

_MAKERS: Mapping[str, Callable[[], str]] = {
    "VELLO_WEBHOOK_TOKEN": lambda: secrets.token_urlsafe(32),
    # A random id tells two installations' keys apart: a foreign envelope names a missing key, not damage.
    "SECRET_KEYS": lambda: f"{secrets.token_hex(4)}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}",
    "ADMIN_TOKEN": lambda: secrets.token_urlsafe(24),
}
GENERATED = frozenset(_MAKERS)
"""The variables a first start makes up when the environment does not give them."""

GOOD_TOKEN = 16
"""Characters below which an ADMIN_TOKEN is guessable: such a one is warned about."""
_ABSENT = "is not set and no start has made one yet; set it, or start the service once"


class ConfigError(Exception):
    """The environment is wrong or incomplete; the message names every variable that needs a hand.

    `problems` maps a variable's name to what is wrong and how to put it right; it holds no secret.
    """

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        lines = (f"  {name}: {problem}" for name, problem in sorted(self.problems.items()))
        super().__init__("\n".join(["The configuration cannot be used:", *lines]))


def _log_format() -> LogFormat:
    return "text" if sys.stderr and sys.stderr.isatty() else "json"


class Config(BaseSettings):
    """What the environment says, checked; made by `Config.load`. Its repr holds no secret."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_default=False)

    public_url: Annotated[str, BeforeValidator(of.web_address)] = Field(validation_alias="PUBLIC_URL")
    webhook_tokens: Annotated[tuple[SecretStr, ...], BeforeValidator(of.tokens)] = Field(
        (), validation_alias="VELLO_WEBHOOK_TOKEN"
    )
    endpoint_urls: Annotated[tuple[str, ...], BeforeValidator(of.endpoint_urls)] = Field(
        default_factory=lambda known: (known["public_url"] + WEBHOOK_PATH,),
        validation_alias="VELLO_ENDPOINT_URL",
    )
    redis_url: Annotated[str | None, BeforeValidator(of.redis_url)] = Field(
        None, validation_alias="REDIS_URL", repr=False
    )
    redis_prefix: Annotated[str, BeforeValidator(of.redis_prefix)] = Field("vm:", validation_alias="REDIS_PREFIX")
    data_dir: Annotated[Path, AfterValidator(Path.absolute)] = Field(
        Path(DATA_DIR_DEFAULT).absolute(), validation_alias="DATA_DIR"
    )
    secret_keys: Annotated[tuple[tuple[str, bytes], ...], BeforeValidator(of.keys)] = Field(
        (), validation_alias="SECRET_KEYS", repr=False
    )
    admin_token: SecretStr = Field(SecretStr(""), validation_alias="ADMIN_TOKEN")
    oidc_issuer: Annotated[str | None, BeforeValidator(of.issuer)] = Field(None, validation_alias="OIDC_ISSUER")
    oidc_client_id: Annotated[str | None, BeforeValidator(of.printable)] = Field(
        None, validation_alias="OIDC_CLIENT_ID"
    )
    oidc_client_secret: Annotated[SecretStr | None, BeforeValidator(of.printable)] = Field(
        None, validation_alias="OIDC_CLIENT_SECRET"
    )
    oidc_allowed: Annotated[tuple[str, ...], BeforeValidator(of.allowed)] = Field((), validation_alias="OIDC_ALLOWED")
    oidc_companies: Annotated[str | None, BeforeValidator(of.printable)] = Field(
        None, validation_alias="OIDC_COMPANIES"
    )
    trusted_proxies: Annotated[tuple[str, ...], BeforeValidator(of.networks)] = Field(
        (), validation_alias="TRUSTED_PROXIES"
    )
    answer_deadline: Annotated[float, BeforeValidator(of.seconds(0.1, 60))] = Field(
        5.0, validation_alias="ANSWER_DEADLINE"
    )
    lease_seconds: Annotated[float, BeforeValidator(of.seconds(1, 300))] = Field(15.0, validation_alias="LEASE_SECONDS")
    retention_days: Annotated[int, BeforeValidator(of.whole(1, 400, "days"))] = Field(
        30, validation_alias="RETENTION_DAYS"
    )
    delivery_log_days: Annotated[int, BeforeValidator(of.whole(1, 90, "days"))] = Field(
        14, validation_alias="DELIVERY_LOG_DAYS"
    )
    delivery_log_lines: Annotated[int, BeforeValidator(of.whole(6_400, 100_000_000, "lines"))] = Field(
        500_000, validation_alias="DELIVERY_LOG_LINES"
    )
    sweep_hour: Annotated[int | None, BeforeValidator(of.hour)] = Field(2, validation_alias="SWEEP_HOUR")
    log_level: Annotated[LogLevel, BeforeValidator(of.one_of(LogLevel))] = Field("info", validation_alias="LOG_LEVEL")
    log_format: Annotated[LogFormat, BeforeValidator(of.one_of(LogFormat))] = Field(
        default_factory=_log_format, validation_alias="LOG_FORMAT"
    )
    jitsi_url: Annotated[str | None, BeforeValidator(of.web_address)] = Field(None, validation_alias="JITSI_URL")
    zoom_client_id: Annotated[str | None, BeforeValidator(of.printable)] = Field(
        None, validation_alias="ZOOM_CLIENT_ID"
    )
    zoom_client_secret: Annotated[SecretStr | None, BeforeValidator(of.printable)] = Field(
        None, validation_alias="ZOOM_CLIENT_SECRET"
    )
    zoom_webhook_secret: Annotated[SecretStr | None, BeforeValidator(of.printable)] = Field(
        None, validation_alias="ZOOM_WEBHOOK_SECRET"
    )
    zoom_oauth_url: Annotated[str, BeforeValidator(of.web_address)] = Field(
        "https://zoom.us/oauth", validation_alias="ZOOM_OAUTH_URL"
    )
    zoom_api_url: Annotated[str, BeforeValidator(of.web_address)] = Field(
        "https://api.zoom.us/v2", validation_alias="ZOOM_API_URL"
    )
    google_client_id: Annotated[str | None, BeforeValidator(of.printable)] = Field(
        None, validation_alias="GOOGLE_CLIENT_ID"
    )
    google_client_secret: Annotated[SecretStr | None, BeforeValidator(of.printable)] = Field(
        None, validation_alias="GOOGLE_CLIENT_SECRET"
    )
    google_service_account_key: SecretStr | None = Field(None, validation_alias="GOOGLE_SERVICE_ACCOUNT_KEY")
    google_service_account_subject: Annotated[str | None, BeforeValidator(of.printable)] = Field(
        None, validation_alias="GOOGLE_SERVICE_ACCOUNT_SUBJECT"
    )
    google_authorize_url: Annotated[str, BeforeValidator(of.web_address)] = Field(
        "https://accounts.google.com/o/oauth2/v2/auth", validation_alias="GOOGLE_AUTHORIZE_URL"
    )
    google_token_url: Annotated[str, BeforeValidator(of.web_address)] = Field(
        "https://oauth2.googleapis.com/token", validation_alias="GOOGLE_TOKEN_URL", repr=False
    )
    google_revoke_url: Annotated[str, BeforeValidator(of.web_address)] = Field(
        "https://oauth2.googleapis.com/revoke", validation_alias="GOOGLE_REVOKE_URL"
    )
    google_calendar_url: Annotated[str, BeforeValidator(of.web_address)] = Field(
        "https://www.googleapis.com/calendar/v3", validation_alias="GOOGLE_CALENDAR_URL"
    )
    google_meet_url: Annotated[str, BeforeValidator(of.web_address)] = Field(
        "https://meet.googleapis.com/v2", validation_alias="GOOGLE_MEET_URL"
    )
    smtp_host: Annotated[str | None, BeforeValidator(of.host)] = Field(None, validation_alias="SMTP_HOST")
    smtp_port: Annotated[int | None, BeforeValidator(of.port)] = Field(None, validation_alias="SMTP_PORT")
    smtp_tls: Annotated[Tls, BeforeValidator(of.one_of(Tls))] = Field(
        default_factory=lambda known: "implicit" if known.get("smtp_port") == 465 else "starttls",
        validation_alias="SMTP_TLS",
    )
    smtp_ca: Annotated[str | None, BeforeValidator(of.authority)] = Field(None, validation_alias="SMTP_CA", repr=False)
    smtp_username: Annotated[str | None, BeforeValidator(of.phrase)] = Field(None, validation_alias="SMTP_USERNAME")
    smtp_password: Annotated[SecretStr | None, BeforeValidator(of.phrase)] = Field(
        None, validation_alias="SMTP_PASSWORD"
    )
    smtp_from: Annotated[str | None, BeforeValidator(of.email)] = Field(None, validation_alias="SMTP_FROM")
    notice_emails: Annotated[tuple[str, ...], BeforeValidator(of.emails)] = Field((), validation_alias="NOTICE_EMAILS")
    notice_webhook_url: Annotated[SecretStr | None, BeforeValidator(of.webhook_url)] = Field(
        None, validation_alias="NOTICE_WEBHOOK_URL"
    )
    notice_webhook_secret: Annotated[SecretStr | None, BeforeValidator(of.webhook_secret)] = Field(
        None, validation_alias="NOTICE_WEBHOOK_SECRET"
    )
    notice_language: Annotated[Language, BeforeValidator(of.one_of(Language))] = Field(
        "en", validation_alias="NOTICE_LANGUAGE"
    )
    generated: frozenset[str] = frozenset()
    """Names of the variables whose values come from generated.json."""

    @property
    def secure(self) -> bool:
        """Whether people reach this service over TLS."""
        return self.public_url.startswith("https:")

    @property
    def installation(self) -> str:
        """A name for this installation in the markers of its meetings; it outlives the store."""
        return hashlib.sha256(self.public_url.encode()).hexdigest()[:8]

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # `load` reads the environment: it knows NAME_FILE and reports every mistake

    @classmethod
    def load(
        cls,
        environ: Mapping[str, str] = os.environ,
        *,
        public_url_default: str = PUBLIC_URL_DEFAULT,
        create: bool = True,
        needs: Collection[str] = GENERATED,
    ) -> "Config":
        """Read the environment, and the secrets that a first start made or, with `create`, makes now.

        `needs` names the secrets that must have a value: another one nobody gave stays empty. DATA_DIR is
        touched only when one of them is missing. Raises ConfigError, which names everything that is wrong.
        """
        given, problems = _variables(environ, cls.variables())
        given = {"PUBLIC_URL": public_url_default, "DATA_DIR": DATA_DIR_DEFAULT} | given
        missing = frozenset(needs) - given.keys() - problems.keys()
        problems = _lonely(given) | _in_clear(given) | cls._problems(given) | problems
        kept: dict[str, str] = {}
        try:
            if missing:
                kept = _kept(Path(given["DATA_DIR"]), missing, create=create and not problems)
        except GeneratedRefused as refused:
            problems["DATA_DIR"] = str(refused)
        else:
            if not create:
                problems |= dict.fromkeys(missing - kept.keys(), _ABSENT)
            problems |= {
                name: f"{problem} (it comes from generated.json)" for name, problem in cls._problems(kept).items()
            }
        if problems:
            raise ConfigError(problems)
        return cls.model_validate({**given, **kept, "generated": frozenset(kept)})

    @classmethod
    def variables(cls) -> tuple[str, ...]:
        """Name every variable that is read, in the order of the fields."""
        return tuple(str(field.validation_alias) for field in cls.model_fields.values() if field.validation_alias)

    @classmethod
    def _problems(cls, values: Mapping[str, str]) -> dict[str, str]:
        try:
            cls.model_validate({"PUBLIC_URL": PUBLIC_URL_DEFAULT, **values})
        except ValidationError as error:
            return {
                str(each["loc"][0]): each["msg"].removeprefix("Value error, ")
                for each in error.errors(include_input=False, include_context=False)
                if each["type"] != "default_factory_not_called"  # a default that waits for another variable
            }
        return {}


_TOGETHER = (
    ("ZOOM_CLIENT_ID", "ZOOM_CLIENT_SECRET"),
    ("GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET"),
    ("GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_SERVICE_ACCOUNT_SUBJECT"),
    ("SMTP_HOST", "SMTP_FROM", "NOTICE_EMAILS"),
    ("SMTP_USERNAME", "SMTP_PASSWORD"),
    ("NOTICE_WEBHOOK_URL", "NOTICE_WEBHOOK_SECRET"),
    ("OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "OIDC_ALLOWED"),
)


def _lonely(given: Mapping[str, str]) -> dict[str, str]:
    """Some variables are of use only together."""
    problems: dict[str, str] = {}
    for names in _TOGETHER:
        absent = [name for name in names if name not in given]
        if len(absent) < len(names):
            others = " and ".join(name for name in names if name in given)
            problems |= {name: f"is not set, but {others} is; set all of {', '.join(names)}" for name in absent}
    return problems


def _in_clear(given: Mapping[str, str]) -> dict[str, str]:
    """No password leaves this machine without encryption."""
    tells = given.get("SMTP_TLS", "").lower() == "none" and "SMTP_PASSWORD" in given
    if tells and not of.here(given.get("SMTP_HOST", "")):
        return {"SMTP_TLS": "is none, so SMTP_PASSWORD would travel in clear; use starttls or implicit"}
    return {}


def _kept(data_dir: Path, names: Collection[str], *, create: bool) -> dict[str, str]:
    """Read the named secrets that are kept, and make the ones that are not if something may be created."""
    values = read(data_dir)
    missing = {name: _MAKERS[name] for name in names if name not in values}
    if missing and create:
        values = complete(data_dir, missing)
    return {name: values[name] for name in names if name in values}


def _variables(environ: Mapping[str, str], names: Collection[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the values of the variables that are set, and what is wrong with those that cannot be read."""
    values: dict[str, str] = {}
    problems: dict[str, str] = {}
    for name in names:
        value, file = environ.get(name, "").strip(), environ.get(f"{name}_FILE", "").strip()
        if value and file:
            problems[name] = f"is set twice, by {name} and by {name}_FILE; keep one of them"
        elif file:
            try:
                value = Path(file).read_text(encoding="utf-8").strip()
            except (OSError, ValueError):
                problems[name] = f"{name}_FILE names a file that cannot be read; check its path and its rights"
            else:
                if not value:
                    problems[name] = f"{name}_FILE names an empty file; put the value into it"
        if value and name not in problems:
            values[name] = value
    return values, problems
