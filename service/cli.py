"""The command line: `vello-meetings serve`, `demo`, `trigger`, `doctor` and the rest."""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import socket
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import cast, get_args

import structlog
from pydantic import SecretStr

from service import logs, traces
from service.app import STORE_PATIENCE, Role, opened
from service.commands import erase, examine, export, replay, rotate_keys, sweep_once
from service.config import GOOD_TOKEN, Config, ConfigError
from service.connections import UnknownConnection
from service.delivery import Wanted, is_delivery
from service.embedded import EmbeddedUnavailable
from service.erasure import TooMany
from service.errands import Errand
from service.generated import FILE_NAME
from service.observer import Observer
from service.replays import Foreseen, Outlook
from service.store import StoreRefused, StoreUnavailable
from service.sweep import SweepElsewhere
from service.trigger import NotSent, changed, event, sample_record, send
from service.vello import RECORD_EVENTS, is_uuid
from service.web.door import Apart
from service.web.server import Server

_log = structlog.get_logger(__name__)
_HOST, _PORT = "127.0.0.1", 8080
_YOUNG = 100_000  # objects after which garbage is looked for: what waits for a provider is looked through in vain


async def _serve(config: Config, listeners: list[socket.socket], role: Role, observer: Observer) -> None:
    async with opened(config, role, observer, patience=STORE_PATIENCE) as app:
        gc.freeze()  # what is here by now stays: looking through it again and again would hold up answers
        gc.set_threshold(_YOUNG)
        addresses = [listener.getsockname()[:2] for listener in listeners]
        _log.info("listening", address=addresses[0], metrics=addresses[-1], role=role)
        await Server(Apart(app, addresses[1][1]) if addresses[1:] else app).run_on(*listeners)
        _log.info("stopping")


def serve(host: str, port: int, role: Role, metrics_port: int | None = None) -> int:
    """Run the service until SIGTERM or SIGINT; its figures are on `metrics_port`, or on `port` like all else."""
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    url = f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"
    first = not (Config.load(create=False, needs=(), public_url_default=url).data_dir / FILE_NAME).exists()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listeners = []
    for each in [port] if metrics_port is None else [port, metrics_port]:
        try:  # before anything is made up: the start that makes it is the one that shows it
            listeners.append(socket.create_server((host, each), family=family, backlog=2048))
        except OSError as error:
            print(f"{host}:{each} cannot be listened on: {error.strerror}", file=sys.stderr)
            return 2
    config = Config.load(public_url_default=url)
    logs.configure(config.log_level, config.log_format)
    print(_greeting(config, first=first), flush=True)
    if len(config.admin_token.get_secret_value()) < GOOD_TOKEN:
        _log.warning("admin_token_short", cure="make a longer ADMIN_TOKEN with `openssl rand -hex 16`")
    spans = traces.configured(os.environ)
    with contextlib.ExitStack() as stack:
        for listener in listeners:
            stack.enter_context(listener)
        stack.enter_context(contextlib.closing(spans))
        runner = stack.enter_context(asyncio.Runner(loop_factory=_loop_factory()))
        runner.run(_serve(config, listeners, role, Observer(traces=spans)))
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # it has no build for this platform
        return None
    return uvloop.new_event_loop


def _greeting(config: Config, *, first: bool) -> str:
    """Six lines; what the first start made up is shown then, and never again."""
    kept = config.data_dir / FILE_NAME

    def shown(name: str, value: SecretStr) -> str:
        if name not in config.generated:
            return f"the one in {name}"
        return value.get_secret_value() if first else f"the one kept in {kept}"

    return "\n".join(
        (
            f"vello-meetings {metadata.version('vello-meetings')} starts at {config.public_url}",
            f"In Vello, enter the webhook URL {config.endpoint_urls[0]}",
            f"and the token: {shown('VELLO_WEBHOOK_TOKEN', config.webhook_tokens[0])}",
            f"Settings are at {config.public_url} in a browser: it leads through the rest. Log in with",
            f"the admin token: {shown('ADMIN_TOKEN', config.admin_token)}",
            f"Made once, kept in {kept}: {', '.join(sorted(config.generated)) or 'nothing'}",
        )
    )


def trigger(arguments: argparse.Namespace) -> int:
    """Sign and send one event; 0 if the service answered with success."""
    config = Config.load(create=False, needs=() if arguments.token else ("VELLO_WEBHOOK_TOKEN",))
    token = arguments.token or config.webhook_tokens[0].get_secret_value()
    about = next((text.removeprefix("id=") for text in reversed(arguments.set) if text.startswith("id=")), None)
    try:
        record = json.loads(Path(arguments.record).read_text()) if arguments.record else sample_record(about)
        record = changed(record, arguments.set)
    except (OSError, ValueError) as error:
        print(f"The record cannot be used: {error}", file=sys.stderr)
        return 2
    message = event(arguments.type, record if arguments.type in RECORD_EVENTS or arguments.record else None)
    url = arguments.url or config.endpoint_urls[0]
    print(f"POST {url}\n{json.dumps(message, indent=2)}\n")
    answer = send(url, token, message)
    print(f"{answer.status}\n{answer.body}")
    return 0 if 200 <= answer.status < 300 else 1


def rotate() -> int:
    """Seal everything with the newest key; 0 if nothing needs an older one any more."""
    config = Config.load(create=False, needs=("SECRET_KEYS",))
    logs.configure(config.log_level, config.log_format)
    done = asyncio.run(rotate_keys(config))
    sealed = ", ".join(f"{kind} {count}" for kind, count in done.sealed.items())
    print(f"Sealed anew with the key '{config.secret_keys[0][0]}': {sealed}.")
    for why, count in done.unreadable.items():
        print(f"{count} left as they were: {why}", file=sys.stderr)
    for key_id in done.retired:
        print(f"Nothing needs the key '{key_id}' any more: take it out of SECRET_KEYS.")
    return 1 if done.unreadable else 0


def doctor(arguments: argparse.Namespace) -> int:
    """Look at everything and say what is wrong; 0 if nothing is a problem."""
    logs.configure("critical", "text")  # what is wrong stands in the report
    report = asyncio.run(examine(arguments.connection, notice=arguments.notice))
    print(json.dumps(report.json(), indent=2) if arguments.json else report.table())
    return 0 if report.well else 1


def sweep(arguments: argparse.Namespace) -> int:
    """Hold what stands at the providers against the ledger; 0 if everything could be read."""
    config = Config.load(create=False, needs=("SECRET_KEYS",))
    logs.configure(config.log_level, config.log_format)
    dry, unknown = arguments.dry_run, arguments.remove_unknown
    done = asyncio.run(sweep_once(config, arguments.connection, dry=dry, remove_unknown=unknown))
    print(json.dumps(done.json(dry=dry), indent=2) if arguments.json else done.table(dry=dry))
    return 1 if done.report.left else 0


def forget(arguments: argparse.Namespace) -> int:
    """Erase a record or a customer's records; 0 if nothing of them is left, here and at the providers."""
    config = Config.load(create=False, needs=("SECRET_KEYS",))
    logs.configure(config.log_level, config.log_format)
    done = asyncio.run(erase(config, record=arguments.record, customer=arguments.customer))
    if done is None:
        print("Nothing is known of this record.")
        return 0
    print(f"Erased with their meetings: {done.gone}.")
    for record, why in done.left.items():
        print(
            f"{record}: its meeting could not be removed yet, so its entry is left until a worker has done it: {why}",
            file=sys.stderr,
        )
    return 1 if done.left else 0


def show(arguments: argparse.Namespace) -> int:
    """Print all that is known of a customer's records, or of one."""
    config = Config.load(create=False, needs=("SECRET_KEYS",))
    logs.configure(config.log_level, config.log_format)
    print(json.dumps(asyncio.run(export(config, arguments.customer, arguments.record)), indent=2))
    return 0


def again(arguments: argparse.Namespace) -> int:
    """Replay events of the delivery log, or say what that would do; 0 if they were found and nothing failed."""
    config = Config.load(create=False, needs=("SECRET_KEYS",))
    logs.configure(config.log_level, config.log_format)
    wanted = Wanted(
        arguments.since or 0,
        arguments.until,
        arguments.record,
        "event",
        arguments.type,
        arguments.verdict,
        arguments.connection,
        arguments.failing,
    )
    done = asyncio.run(replay(config, wanted, arguments.delivery, dry_run=arguments.dry_run))
    match done:
        case None:
            print("This is not in the delivery log, or what it said is not.", file=sys.stderr)
            return 1
        case Errand():
            said = done.counts
            print(f"{done.state}: {said.get('replayed', 0)} replayed, of those {said.get('new', 0)} new.")
            return 0 if done.state == "done" else 1
        case Foreseen():
            print(f"{done.verdict}: {done.does}, because {done.why}.")
        case Outlook():
            left = "" if done.complete else " There are more than were looked at."
            print(
                f"{done.events} events, {done.stale} of them stale or known. Meetings: {done.made} made, "
                f"{done.changed} changed, {done.replaced} replaced, {done.removed} removed.{left}"
            )
        case _:
            print(done)
    return 0


def _moment(text: str) -> float:
    """Unix seconds of a moment as ISO 8601 writes it, in UTC where it names no zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2027-03-01T08:00 (UTC)") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _act(text: str) -> str:
    from service.outages.acts import ACTS

    if text not in ACTS:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(ACTS)}")
    return text


def _delivery(text: str) -> str:
    if not is_delivery(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no delivery's id")
    return text


def _id(text: str) -> str:
    if not is_uuid(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no UUID")
    return text.lower()


def _port(text: str) -> int:
    if not (text.isdecimal() and 0 < int(text[:9]) < 65_536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 1 to 65535")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vello-meetings", description="Video links for Vello bookings.")
    parser.add_argument("--version", action="version", version=metadata.version("vello-meetings"))
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("serve", help="take Vello's events and make meetings")
    run.add_argument("--host", default=_HOST)
    run.add_argument("--port", default=_PORT, type=_port)
    run.add_argument("--metrics-port", metavar="PORT", type=_port, help="port for /metrics alone (default: --port)")
    run.add_argument("--role", default="all", choices=get_args(Role))
    commands.add_parser("demo", help="walk one booking through its life on a throw-away store")
    play = commands.add_parser("rehearse", help="play outages on a throw-away store and say what people saw")
    play.add_argument("--only", action="append", default=[], type=_act, help="this outage; may be repeated")
    one = commands.add_parser("trigger", help="sign one event as Vello does and send it")
    one.add_argument("type", help="such as connection.test or record.update_metadata")
    one.add_argument("--url", help="endpoint URL to sign for and send to (default: VELLO_ENDPOINT_URL)")
    one.add_argument("--token", help="webhook token (default: VELLO_WEBHOOK_TOKEN, or the generated one)")
    one.add_argument("--record", metavar="FILE", help="JSON file with the record (default: a sample, tomorrow)")
    one.add_argument(
        "--set",
        metavar="key=value",
        action="append",
        default=[],
        help="change a field; with an id and no version the event counts as the newest word on that record",
    )
    look = commands.add_parser("doctor", help="look at everything this service stands on and say what is wrong")
    look.add_argument("--connection", metavar="ID", help="make, move, find and remove a real meeting with this one")
    look.add_argument("--notice", action="store_true", help="send a test notice to whoever is told of troubles")
    look.add_argument("--json", action="store_true", help="print the report as JSON")
    hold = commands.add_parser("sweep", help="hold what stands at the providers against the bookings, and set it right")
    hold.add_argument("--dry-run", action="store_true", help="only say what would be done, and why")
    hold.add_argument("--connection", metavar="ID", help="look at this connection alone")
    hold.add_argument(
        "--remove-unknown",
        action="store_true",
        help="remove meetings that this installation made for bookings it does not know; look with --dry-run first",
    )
    hold.add_argument("--json", action="store_true", help="print what was found as JSON")
    keys = commands.add_parser("keys", help="encrypt everything with the newest of SECRET_KEYS")
    keys.add_argument("what", choices=["rotate"])
    gone = commands.add_parser("erase", help="erase a record, or all of a customer's, with their meetings")
    whose = gone.add_mutually_exclusive_group(required=True)
    whose.add_argument("--customer", metavar="UUID", type=_id)
    whose.add_argument("--record", metavar="UUID", type=_id)
    known = commands.add_parser("export", help="print what is known of a record or of a customer's records as JSON")
    of = known.add_mutually_exclusive_group(required=True)
    of.add_argument("--customer", metavar="UUID", type=_id)
    of.add_argument("--record", metavar="UUID", type=_id)
    once_more = commands.add_parser("replay", help="apply events of the delivery log again, or say what that would do")
    which = once_more.add_mutually_exclusive_group(required=True)
    which.add_argument("--delivery", metavar="ID", type=_delivery, help="one, as the log names it")
    which.add_argument("--since", metavar="TIME", type=_moment, help="all that came from then on, and fit the rest")
    once_more.add_argument("--until", metavar="TIME", type=_moment, help="before then (default: now)")
    once_more.add_argument("--record", metavar="UUID", type=_id)
    once_more.add_argument("--type", help="such as record.updated")
    once_more.add_argument("--verdict", help="such as new or old")
    once_more.add_argument("--connection", metavar="ID")
    once_more.add_argument("--failing", action="store_true", help="only what did not do what it was to do")
    once_more.add_argument("--dry-run", action="store_true", help="change nothing, and say what would happen now")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; what a person must put right is said in a sentence, with exit code 2."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "serve":
            return serve(arguments.host, arguments.port, cast(Role, arguments.role), arguments.metrics_port)
        if arguments.command == "demo":
            from service.demo import demo  # what only commands need is no burden on a service

            return demo()
        if arguments.command == "rehearse":
            from service.outages.rehearse import rehearse

            return rehearse(arguments.only)
        if arguments.command == "doctor":
            return doctor(arguments)
        if arguments.command == "sweep":
            return sweep(arguments)
        if arguments.command == "keys":
            return rotate()
        if arguments.command == "erase":
            return forget(arguments)
        if arguments.command == "replay":
            return again(arguments)
        if arguments.command == "export":
            return show(arguments)
        return trigger(arguments)
    except NotSent as error:
        print(error, file=sys.stderr)
        return 1
    except UnknownConnection as error:
        print(f"No connection has the id {str(error)!r}.", file=sys.stderr)
        return 2
    except SweepElsewhere as error:
        print(error, file=sys.stderr)
        return 1
    except (ConfigError, EmbeddedUnavailable, StoreRefused, StoreUnavailable, TooMany) as error:
        print(error, file=sys.stderr)
        return 2
