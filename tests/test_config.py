"""The configuration: what is given is checked and named in one message, what is missing is made once and kept."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from service.config import GENERATED, Config, ConfigError

KEY = "A" * 43 + "="
SECRETS = {"VELLO_WEBHOOK_TOKEN": "token", "ADMIN_TOKEN": "admin-token-of-16", "SECRET_KEYS": f"k1:{KEY}"}
DOCUMENTATION = Path(__file__).parents[1] / "docs" / "configuration.md"

START = """
import sys
from service.config import Config
sys.stdin.readline()
config = Config.load({"DATA_DIR": sys.argv[1]})
print(config.secret_keys, config.admin_token.get_secret_value(), config.webhook_tokens[0].get_secret_value())
"""


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def load(**environ: str) -> Config:
    """Load with the secrets given, so that DATA_DIR is left alone."""
    return Config.load({**SECRETS, **environ})


def problem(name: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(**environ)
    assert list(caught.value.problems) == [name]
    return caught.value.problems[name]


def test_secrets_are_all_it_needs() -> None:
    config = load()
    assert config.public_url == "http://127.0.0.1:8080"
    assert config.endpoint_urls == ("http://127.0.0.1:8080/webhooks/vello",)
    assert config.secret_keys == (("k1", bytes(32)),)
    assert [token.get_secret_value() for token in config.webhook_tokens] == ["token"]
    assert (config.redis_url, config.jitsi_url, config.data_dir) == (None, None, Path("data").absolute())
    assert (config.answer_deadline, config.lease_seconds, config.log_level) == (5.0, 15.0, "info")
    assert not config.generated
    assert not config.secure


def test_the_port_of_the_command_line_shows_in_the_default_addresses() -> None:
    config = Config.load(SECRETS, public_url_default="http://127.0.0.1:9000")
    assert config.endpoint_urls == ("http://127.0.0.1:9000/webhooks/vello",)
    assert Config.load({**SECRETS, "PUBLIC_URL": "https://v.example"}, public_url_default="x").public_url


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("https://Meet.Example.com/", "https://meet.example.com"),
        ("HTTPS://meet.example.com", "https://meet.example.com"),
        (" http://localhost:8080 ", "http://localhost:8080"),
        ("https://example.com/Meetings//", "https://example.com/Meetings"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_the_public_address_has_one_spelling(given: str, normal: str) -> None:
    config = load(PUBLIC_URL=given, JITSI_URL=given)
    assert (config.public_url, config.jitsi_url) == (normal, normal)
    assert config.secure == normal.startswith("https:")


@pytest.mark.parametrize(
    "given",
    [
        "meet.example.com",
        "ftp://example.com",
        "https://",
        "https://example.com:99999",
        "https://example.com?a=b",
        "https://example.com/#x",
        "https://user:password@example.com",
        "https://exa mple.com",
        "https://[::1",
    ],
)
def test_what_is_no_web_address_is_refused(given: str) -> None:
    assert "write it like https://" in problem("PUBLIC_URL", PUBLIC_URL=given)


def test_endpoint_urls_stay_as_they_were_entered_in_vello() -> None:
    config = load(VELLO_ENDPOINT_URL="https://A.example/Hook/, https://b.example/?x=1")
    assert config.endpoint_urls == ("https://A.example/Hook/", "https://b.example/?x=1")


def test_several_tokens_may_be_valid_at_once() -> None:
    tokens = load(VELLO_WEBHOOK_TOKEN="old, new,").webhook_tokens
    assert [token.get_secret_value() for token in tokens] == ["old", "new"]


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://:password@localhost:6379/2",
        "rediss://store.example:6380?ssl_ca_certs=/ca.pem",
        "unix:///run/valkey.sock?db=1",
        "redis+sentinel://user:password@h1,[::1]:5000/service/3?sentinel_password=x&ssl=true&ssl_ca_certs=/ca.pem",
        "redis+cluster://h1,h2:7001?username=user&password=x&ssl=yes&ssl_check_hostname=no",
    ],
)
def test_a_store_address_is_taken_as_given(url: str) -> None:
    assert load(REDIS_URL=url).redis_url == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis+sentinel://h1,h2", "does not name the service"),
        ("redis+sentinel://h1,h2/service?sentinel=x", "unknown options"),
        ("redis+sentinel:///service", "no store address"),
        ("redis+cluster://h1,h2/1", "only the one"),
        ("redis+cluster://h1,,h2", "no store address"),
        ("redis+cluster://h1?ssl_ca_certs=/ca.pem", "add ssl=true"),
        ("redis+cluster://h1?ssl=perhaps", "neither true nor false"),
        ("redis://h1,h2", "no store address"),
        ("redis://localhost/first", "database that is no number"),
        ("redis://localhost?ssl_ca_certs=/ca.pem", "write rediss://"),
        ("http://localhost", "no store address"),
        ("redis://", "no store address"),
        ("unix://", "no store address"),
        ("redis://localhost:port", "no store address"),
        ("redis://localhost?decode_responses=false", "unknown options"),
    ],
)
def test_another_store_address_is_refused(url: str, words: str) -> None:
    assert words in problem("REDIS_URL", REDIS_URL=url)


@pytest.mark.parametrize("prefix", ["vm", ":", "a b:", "{a}:", "*:", "a::", "x" * 64 + ":"])
def test_a_prefix_that_would_mix_keys_up_is_refused(prefix: str) -> None:
    assert load(REDIS_PREFIX="shop-1:eu:").redis_prefix == "shop-1:eu:"
    assert "is no prefix" in problem("REDIS_PREFIX", REDIS_PREFIX=prefix)


def test_the_first_key_is_the_active_one() -> None:
    config = load(SECRET_KEYS=f"new:{'_' * 43}, old:{KEY}")
    assert config.secret_keys == (("new", b"\xff" * 32), ("old", bytes(32)))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (KEY, "not id:key"),
        (f"a b:{KEY}", "not id:key"),
        (f"{'k' * 33}:{KEY}", "not id:key"),
        ("k1:AAAA", "not 32 bytes"),
        ("k1:secret!", "not 32 bytes"),
        (f"k1:{KEY},k1:{KEY}", "twice"),
        (",", "nothing but commas"),
    ],
)
def test_unusable_keys_are_refused(keys: str, words: str) -> None:
    assert words in problem("SECRET_KEYS", SECRET_KEYS=keys)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ANSWER_DEADLINE", "0"),
        ("ANSWER_DEADLINE", "61"),
        ("ANSWER_DEADLINE", "nan"),
        ("ANSWER_DEADLINE", "soon"),
        ("LEASE_SECONDS", "0.5"),
        ("LEASE_SECONDS", "inf"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("VELLO_WEBHOOK_TOKEN", ","),
        ("VELLO_ENDPOINT_URL", "example.com"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    assert problem(name, **{name: value})


def test_everything_wrong_is_named_at_once_and_no_secret_is_quoted(data_dir: Path) -> None:
    environ = {
        "DATA_DIR": str(data_dir),
        "PUBLIC_URL": "nowhere",
        "SECRET_KEYS": "k1:not-a-key-but-secret",
        "VELLO_WEBHOOK_TOKEN": ",",
        "REDIS_URL": "mysql://user:geheim@host",
        "LOG_LEVEL_FILE": "/does/not/exist",
    }
    with pytest.raises(ConfigError) as caught:
        Config.load(environ)
    assert set(caught.value.problems) == environ.keys() - {"DATA_DIR", "LOG_LEVEL_FILE"} | {"LOG_LEVEL"}
    assert len(str(caught.value).splitlines()) == 1 + len(caught.value.problems)
    chain = f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"
    assert not [word for word in ("not-a-key-but-secret", "geheim") if word in chain]
    assert not data_dir.exists()


def test_no_secret_shows() -> None:
    config = load(REDIS_URL="redis://:geheim@localhost")
    assert not [word for word in ("token'", "admin-token", "x00", "geheim") if word in f"{config!r} {config}"]


def test_any_variable_may_come_from_a_file(tmp_path: Path) -> None:
    given = {**SECRETS, "PUBLIC_URL": "https://v.example", "LOG_LEVEL": "debug", "ANSWER_DEADLINE": "2"}
    for name, value in given.items():
        (tmp_path / name).write_text(value + "\n")
    files = {f"{name}_FILE": str(tmp_path / name) for name in given}
    assert Config.load(files) == Config.load(given)


def test_a_variable_and_its_file_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "level").write_text("debug")
    assert "set twice" in problem("LOG_LEVEL", LOG_LEVEL="info", LOG_LEVEL_FILE=str(tmp_path / "level"))


def test_a_file_that_is_empty_or_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("empty", "binary", "missing", "."):
        assert "LOG_LEVEL_FILE names" in problem("LOG_LEVEL", LOG_LEVEL_FILE=str(tmp_path / name))


def test_an_empty_variable_is_an_unset_one() -> None:
    assert load(PUBLIC_URL="", REDIS_URL=" ", LOG_LEVEL_FILE="", JITSI_URL="") == load()


def test_nothing_is_kept_when_everything_is_given(data_dir: Path) -> None:
    load(DATA_DIR=str(data_dir))
    assert not data_dir.exists()


def test_a_first_start_makes_secrets_and_the_next_one_reads_them(data_dir: Path) -> None:
    first = Config.load({"DATA_DIR": str(data_dir)})
    assert first.generated == GENERATED
    assert Config.load({"DATA_DIR": str(data_dir)}) == first
    assert Config.load({"DATA_DIR": str(data_dir)}, create=False) == first
    assert [stat.S_IMODE(path.stat().st_mode) for path in (data_dir, data_dir / "generated.json")] == [0o700, 0o600]
    assert [path.name for path in data_dir.iterdir()] == ["generated.json"]


def test_two_installations_have_nothing_in_common(tmp_path: Path) -> None:
    one, other = (Config.load({"DATA_DIR": str(tmp_path / name)}) for name in ("one", "other"))
    assert one.admin_token != other.admin_token
    assert one.webhook_tokens != other.webhook_tokens
    assert one.secret_keys[0][0] != other.secret_keys[0][0]
    assert one.secret_keys[0][1] != other.secret_keys[0][1]


def test_only_what_is_missing_is_made(data_dir: Path) -> None:
    config = load(DATA_DIR=str(data_dir), ADMIN_TOKEN="")
    assert config.generated == {"ADMIN_TOKEN"}
    assert json.loads((data_dir / "generated.json").read_text()).keys() == {"ADMIN_TOKEN"}
    later = Config.load({"DATA_DIR": str(data_dir)})
    assert later.generated == GENERATED
    assert later.admin_token == config.admin_token


def test_what_the_environment_gives_goes_before_what_was_made(data_dir: Path) -> None:
    Config.load({"DATA_DIR": str(data_dir)})
    config = Config.load({"DATA_DIR": str(data_dir), "ADMIN_TOKEN": "one-of-my-own-16"})
    assert config.admin_token.get_secret_value() == "one-of-my-own-16"
    assert config.generated == GENERATED - {"ADMIN_TOKEN"}


async def test_services_that_start_at_the_same_moment_agree(data_dir: Path) -> None:
    command = [sys.executable, "-c", START, str(data_dir)]
    services = [
        await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(6)
    ]
    answers = await asyncio.gather(*(service.communicate(b"go\n") for service in services))
    assert len({out for out, _ in answers}) == 1
    assert answers[0][0]
    assert await asyncio.to_thread(os.listdir, data_dir) == ["generated.json"]


def test_reading_alone_makes_nothing(data_dir: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.load({"DATA_DIR": str(data_dir)}, create=False)
    assert caught.value.problems.keys() == GENERATED
    assert not data_dir.exists()


def test_a_command_may_need_only_some_of_the_secrets(data_dir: Path) -> None:
    environ = {"DATA_DIR": str(data_dir), "VELLO_WEBHOOK_TOKEN": "token"}
    config = Config.load(environ, create=False, needs={"VELLO_WEBHOOK_TOKEN"})
    assert (config.secret_keys, config.admin_token.get_secret_value()) == ((), "")
    assert not data_dir.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"ADMIN_TOKEN": 1}', '{"ADMIN_TOKEN": ""}', "\xff"])
def test_a_damaged_file_is_refused_and_left_alone(data_dir: Path, content: str) -> None:
    data_dir.mkdir()
    path = data_dir / "generated.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"DATA_DIR: holds a damaged .*generated\.json"):
        Config.load({"DATA_DIR": str(data_dir)})
    assert path.read_bytes() == content.encode("latin-1")


def test_a_kept_value_that_went_wrong_is_named_with_its_file(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "generated.json").write_text('{"SECRET_KEYS": "k1:AAAA"}')
    with pytest.raises(ConfigError, match=r"SECRET_KEYS: .*generated\.json"):
        Config.load({"DATA_DIR": str(data_dir)})


def test_a_file_open_to_others_is_closed(data_dir: Path) -> None:
    config = Config.load({"DATA_DIR": str(data_dir)})
    (data_dir / "generated.json").chmod(0o644)
    assert Config.load({"DATA_DIR": str(data_dir)}) == config
    assert stat.S_IMODE((data_dir / "generated.json").stat().st_mode) == 0o600


def test_a_data_dir_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("file", "file/data"):
        with pytest.raises(ConfigError, match=r"DATA_DIR: .*"):
            Config.load({"DATA_DIR": str(tmp_path / name)})


def test_every_variable_is_documented() -> None:
    documented = DOCUMENTATION.read_text()
    assert not [name for name in Config.variables() if f"`{name}`" not in documented]


@pytest.mark.parametrize("name", ["ZOOM_CLIENT_ID", "ZOOM_CLIENT_SECRET"])
def test_a_client_needs_its_id_and_its_secret(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(**{name: "something"})
    (lonely,) = caught.value.problems
    assert {lonely, name} == {"ZOOM_CLIENT_ID", "ZOOM_CLIENT_SECRET"}
    assert "set all of ZOOM_CLIENT_ID, ZOOM_CLIENT_SECRET" in str(caught.value)


def test_an_openid_provider_needs_all_its_variables() -> None:
    with pytest.raises(ConfigError) as caught:
        load(OIDC_ISSUER="https://login.example.com", OIDC_ALLOWED="anna@example.org")
    assert set(caught.value.problems) == {"OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"}


def test_an_allowed_that_lets_nobody_in_is_refused() -> None:
    with pytest.raises(ConfigError, match="OIDC_ALLOWED"):
        load(OIDC_ALLOWED="anna")


def test_a_client_that_fits_no_header_is_refused() -> None:
    pair = {"ZOOM_CLIENT_ID": "id", "ZOOM_CLIENT_SECRET": "se cret"}
    with pytest.raises(ConfigError, match="ZOOM_CLIENT_SECRET") as caught:
        load(**pair)
    assert "se cret" not in str(caught.value)


MAIL = {"SMTP_HOST": "mail.example.org", "SMTP_FROM": "a@example.org", "NOTICE_EMAILS": "b@example.org, c@example.org"}
HOOK = {"NOTICE_WEBHOOK_URL": "https://hooks.example.org/v?key=hush", "NOTICE_WEBHOOK_SECRET": "whsec_" + "A" * 32}


def test_mail_is_encrypted_unless_told_otherwise_and_port_465_is_from_the_first_byte() -> None:
    assert load(**MAIL).smtp_tls == "starttls"
    assert load(**MAIL, SMTP_PORT="465").smtp_tls == "implicit"
    assert load(**MAIL, SMTP_PORT="465", SMTP_TLS="starttls").smtp_tls == "starttls"
    assert load(**MAIL).notice_emails == ("b@example.org", "c@example.org")
    assert load().notice_language == "en"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("SMTP_TLS", {**MAIL, "SMTP_TLS": "none", "SMTP_USERNAME": "u", "SMTP_PASSWORD": "hush"}),
        ("SMTP_TLS", {**MAIL, "SMTP_TLS": "maybe"}),
        ("SMTP_PASSWORD", {**MAIL, "SMTP_USERNAME": "u"}),
        ("SMTP_FROM", {**MAIL, "SMTP_FROM": "Rooms <a@example.org>"}),
        ("SMTP_FROM", {name: MAIL[name] for name in ("SMTP_HOST", "NOTICE_EMAILS")}),
        ("NOTICE_EMAILS", {**MAIL, "NOTICE_EMAILS": "b@example.org\r\nBcc: c@example.org"}),
        ("SMTP_HOST", {**MAIL, "SMTP_HOST": "mail.example.org:587"}),
        ("SMTP_PORT", {**MAIL, "SMTP_PORT": "0"}),
        ("SMTP_CA", {**MAIL, "SMTP_CA": "-----BEGIN CERTIFICATE-----hush"}),
        ("NOTICE_WEBHOOK_URL", {**HOOK, "NOTICE_WEBHOOK_URL": "http://hooks.example.org/hush"}),
        ("NOTICE_WEBHOOK_URL", {**HOOK, "NOTICE_WEBHOOK_URL": "https://u:hush@hooks.example.org"}),
        ("NOTICE_WEBHOOK_SECRET", {**HOOK, "NOTICE_WEBHOOK_SECRET": "whsec_hush"}),
        ("NOTICE_WEBHOOK_SECRET", {"NOTICE_WEBHOOK_URL": HOOK["NOTICE_WEBHOOK_URL"]}),
        ("NOTICE_LANGUAGE", {"NOTICE_LANGUAGE": "de"}),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value),
)
def test_notices_that_could_not_be_sent_safely_are_refused_at_the_start(name: str, given: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as refused:
        load(**given)
    assert name in refused.value.problems
    assert "hush" not in str(refused.value)


def test_to_a_relay_on_this_machine_a_password_may_go_and_a_program_here_needs_no_https() -> None:
    given = {**MAIL, "SMTP_HOST": "127.0.0.1", "SMTP_TLS": "none", "SMTP_USERNAME": "u", "SMTP_PASSWORD": "two words"}
    config = load(**given, **{**HOOK, "NOTICE_WEBHOOK_URL": "http://localhost:9/hush"})
    assert config.smtp_password
    assert config.smtp_password.get_secret_value() == "two words"
    assert "two words" not in repr(config)
    assert "hush" not in repr(config)
