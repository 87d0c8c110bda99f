"""The environment: every variable that cannot be used, at once. Makes no keys and no files."""

from collections.abc import Mapping

from service.config import GOOD_TOKEN, Config, ConfigError
from service.doctor.finding import Report, parted


def look(report: Report, environ: Mapping[str, str]) -> Config | None:
    """The configuration if there is one that can be used."""
    try:
        config = Config.load(environ, create=False)
    except ConfigError as error:
        refused(report, error)
        return None
    if len(config.admin_token.get_secret_value()) < GOOD_TOKEN:
        text = f"It has fewer than {GOOD_TOKEN} characters and can be guessed."
        report.warning("configuration", text, "Make a longer one with `openssl rand -hex 16`.", about="ADMIN_TOKEN")
    kept = sorted(config.generated)
    where = f" {', '.join(kept)} come from {config.data_dir}." if kept else ""
    report.ok("configuration", f"Every variable can be used.{where}")
    return config


def refused(report: Report, error: ConfigError) -> None:
    """One line for each variable that needs a hand."""
    for name, problem in sorted(error.problems.items()):
        what, cure = parted(problem)
        report.broken("configuration", f"It {what}", cure, about=name)
