"""The composition root: builds everything, closes everything; nothing imports it but the command line."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Literal

import structlog
from pydantic import SecretStr, ValidationError
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay, wait_fixed
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from providers.base import DAY, ProviderInfo
from service.again import KIND as AGAIN
from service.again import Again
from service.agenda import Agendas
from service.budget import Budgets
from service.calls import Calls
from service.changes import Changes
from service.choices import DEFAULT, Choice, Choices
from service.companies import Companies, Company
from service.config import Config, ConfigError
from service.connections import BUILT_IN, ROBOT, Unreadable, ensure_built_in
from service.deliveries import Deliveries
from service.embedded import EmbeddedValkey
from service.erasure import KIND as ERASE
from service.erasure import Erasure
from service.errands import Errands
from service.errors import Catalogue
from service.farewell import Farewells
from service.found import Found
from service.gate import Gate
from service.ledger import Ledger
from service.logos import Logos
from service.meetings import Meetings
from service.nightly import Nightly
from service.notices.concerned import Concerned
from service.notices.sender import Sender
from service.notices.summary import Writer
from service.observer import Observer
from service.reconcile import Reconciler
from service.rehearsal import Rehearsals
from service.replays import KIND as REPLAY
from service.replays import Replays
from service.rotation import KEYS
from service.rounds import Rounds
from service.runs import Runs
from service.settings import Settings
from service.store import Store, StoreUnavailable
from service.survey import Survey
from service.sweep import Sweep
from service.swept import Swept
from service.tombs import Tombs
from service.upkeep import Upkeep
from service.vault import Vault, fingerprint
from service.vendors import accounts_of, channels_of, oidc_of, providers_of
from service.watch import Watch
from service.web.api import Api
from service.web.api_companies import CompaniesApi
from service.web.api_connections import ConnectionsApi
from service.web.api_deliveries import DeliveriesApi
from service.web.api_errands import ErrandsApi
from service.web.api_logos import LogosApi
from service.web.api_offices import OfficesApi
from service.web.api_privacy import PrivacyApi
from service.web.api_records import RecordsApi
from service.web.banner import Banner
from service.web.bookings import Bookings
from service.web.brand import Brand
from service.web.companies import CompanyPages
from service.web.connect import Connect
from service.web.connections import ConnectionPages
from service.web.cursors import Cursors
from service.web.deliveries import DeliveryPages
from service.web.door import Door, Later
from service.web.errors import PageOf, answer_errors
from service.web.health import Health
from service.web.hosting import Hosting
from service.web.join import Join
from service.web.kept import Kept
from service.web.letter import letter
from service.web.limits import BodyLimit, Strict
from service.web.login import Login
from service.web.looks import Looks
from service.web.lookup import Lookup
from service.web.notice_pages import NoticePages
from service.web.notices import Notices
from service.web.offices import Offices
from service.web.pages import Pages
from service.web.privacy import PrivacyPages
from service.web.recent import Guesses
from service.web.session import Attempts, Sessions
from service.web.settings import Frame
from service.web.start import Start
from service.web.trial import Trial
from service.web.troubles import Troubles
from service.web.views import Views
from service.web.webhook import Webhook
from service.worker import Worker

DRAIN: Final = 10.0
"""Seconds that runs may take to finish at a stop, before they hand their records back."""

STORE_PATIENCE: Final = 45.0
"""Seconds a service that starts waits for its store: fewer than Kubernetes waits for the service."""

RENEWAL: Final = 30.0
"""Seconds that renewals of grants may take to finish at a stop: longer than a call may take."""


Role = Literal["all", "web", "worker"]

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def opened(
    config: Config,
    role: Role = "all",
    observer: Observer | None = None,
    *,
    providers: Mapping[str, ProviderInfo] | None = None,
    patience: float = 0.0,
) -> AsyncIterator[Door]:
    """The application of one process with all that it needs; leaving drains and closes it.

    `providers` are used in place of the registry's; for `patience` seconds a store that is not there is waited for.

    Raises: ConfigError, EmbeddedUnavailable, StoreRefused, StoreUnavailable.
    """
    observer = observer or Observer()
    async with AsyncExitStack() as stack:
        store = await store_of(config, stack, patience)
        await check_keys(store, config)
        vault = Vault(config.secret_keys)
        known = providers_of(config, providers)
        clients = await stack.enter_async_context(AsyncExitStack())  # closed after the runs that use them

        http_for, broker, connections = accounts_of(config, store, known, observer, clients)
        stack.push_async_callback(broker.drain, RENEWAL)
        settings = Settings(Choices(store), connections)
        tombs, swept = await Tombs.load(store, vault), Swept(store)
        retention = config.retention_days * DAY
        ledger = Ledger(store, vault, config.lease_seconds, tombs, retention)
        found = Found(store, vault, settings, swept, tombs)
        await swept.beat()
        deliveries = Deliveries(store, vault, tombs, config.delivery_log_days, config.delivery_log_lines)
        observer.deliveries = deliveries
        deliveries.start()
        stack.push_async_callback(deliveries.stop)
        await settings.load()
        await _built_in(settings, ledger, config)
        changes = Changes(store)
        farewells = Farewells(store, ledger, settings, broker, changes)
        gate, budgets, agendas, meetings = Gate(store), Budgets(store), Agendas(store), Meetings(store, retention)
        calls = Calls(gate, budgets, observer)
        reconciler = Reconciler(ledger, settings, calls, agendas, found, owner=config.installation)
        runs = Runs(ledger, settings, reconciler, meetings, observer)
        sweep = Sweep(ledger, settings, calls, agendas, meetings, found, swept, config.installation)
        stack.push_async_callback(runs.drain, DRAIN)
        own = Company("own", "This installation", config.endpoint_urls, _plain(config.webhook_tokens))
        companies = Companies(store, vault, own)
        survey = Survey(store, ledger, settings, broker, budgets)
        channels = channels_of(config, http_for("notices"))
        concerned = Concerned(store, ledger)
        sender = Sender(store, survey.look, channels, writer_of(config), observer.metrics, concerned.remember)
        replays = Replays(ledger, settings, companies, found, deliveries, config.public_url)
        erasure = Erasure(ledger, connections, deliveries, found)
        again = Again(ledger, settings)
        errands = Errands(store, vault, changes, {REPLAY: replays.step, ERASE: erasure.step, AGAIN: again.step})
        errands.start()
        stack.push_async_callback(errands.stop)
        routes: list[BaseRoute] = [
            *Health(store, ledger, gate, budgets, connections, swept, observer.metrics, sender).routes()
        ]
        api: Later | None = None
        webhook: Webhook | None = None
        page_of: PageOf | None = None
        if role != "worker":
            public, wait = config.public_url, config.answer_deadline
            webhook = Webhook(ledger, runs, settings, companies, public, wait, observer, found, deliveries)
            guesses = Guesses()
            join = Join(Lookup(ledger, settings, guesses), settings, public)
            hosting = Hosting(Lookup(ledger, settings, guesses, host=True), settings, public)
            static = Mount("/static", StaticFiles(packages=[("service.web", "static")]))
            token = config.admin_token.get_secret_value()
            logos = Logos(store)
            catalogue = Catalogue(known)
            views = Views(ledger, settings, broker, budgets, agendas, public, catalogue)
            rehearsals = Rehearsals(store, ledger, settings)
            stack.push_async_callback(rehearsals.drain, RENEWAL)
            operations = Api(
                settings,
                public,
                token,
                offices=OfficesApi(ledger, settings, companies, changes, logos, errands),
                logos=LogosApi(logos, settings),
                records=RecordsApi(ledger, settings, views, public),
                connections=ConnectionsApi(ledger, settings, broker, views, changes, farewells, rehearsals, public),
                companies=CompaniesApi(companies, changes, public),
                deliveries=DeliveriesApi(deliveries, replays, errands, changes),
                errands=ErrandsApi(errands),
                privacy=PrivacyApi(erasure, errands),
            )
            pages, sessions = Pages(public, catalogue), Sessions(store, public)
            oidc = oidc_of(config, http_for("oidc"))
            login = Login(sessions, Attempts(store, token), Kept(store, vault), vault, pages, oidc)
            frame = Frame(pages, login, settings, companies, Banner(sender, settings))
            page_of = frame.error
            cursors = Cursors(vault)
            admin: list[BaseRoute] = [
                *login.routes(),
                *Connect(store, vault, ledger, settings, broker, changes, frame).routes(),
                *Start(frame, operations, companies, Trial(webhook, own)).routes(),
                *Bookings(frame, cursors, operations.records, operations.offices, operations.connections).routes(),
                *DeliveryPages(frame, cursors, operations).routes(),
                *PrivacyPages(frame, operations.privacy).routes(),
                *CompanyPages(frame, operations.companies).routes(),
                *ConnectionPages(frame, operations.connections, operations.offices, swept).routes(),
                *Offices(frame, operations.offices, operations.connections).routes(),
                *Looks(frame, operations.offices, operations.logos).routes(),
                *NoticePages(frame, sender).routes(),
                *Troubles(frame, pages, catalogue).routes(),
            ]
            secrets = {"zoom": config.zoom_webhook_secret.get_secret_value()} if config.zoom_webhook_secret else {}
            notices = Notices(ledger, meetings, settings, broker, secrets)
            routes = [
                *notices.routes(),
                *join.routes(),
                *hosting.routes(),
                *Brand(logos).routes(),
                *admin,
                *routes,
                static,
            ]
            api = Later(lambda: _guarded(operations.app(), config))
        app = Starlette(routes=routes)
        app.router.redirect_slashes = False
        _guarded(app, config, page_of)
        turning: list[tuple[str, Callable[[], Awaitable[object]]]] = [("beat", swept.beat)]
        if role != "web":
            worker = Worker(store, ledger, runs)
            worker.start()
            stack.push_async_callback(worker.stop)
            app.state.survey, app.state.sender = survey, sender
            app.state.nightly = Nightly(sweep, swept, config.sweep_hour)
            app.state.upkeep = Upkeep(ledger, settings, broker, farewells)
            app.state.watch = Watch(store, ledger, settings, calls)
            turning += [
                ("sweep", app.state.nightly.round),
                ("upkeep", app.state.upkeep.round),
                ("watch", app.state.watch.round),
                ("notices", sender.round),
            ]
        for rounds in (Rounds(name, work) for name, work in turning):
            rounds.start()
            stack.push_async_callback(rounds.stop)
        app.state.sweep = sweep
        app.state.erasure, app.state.errands, app.state.replays = erasure, errands, replays
        app.state.settings, app.state.deliveries = settings, deliveries
        yield Door(app, webhook, api)


def describe() -> dict[str, Any]:
    """The OpenAPI document of the API, without anything running."""
    nothing: Any = None
    parts: dict[str, type[Any]] = {
        "offices": OfficesApi,
        "logos": LogosApi,
        "records": RecordsApi,
        "connections": ConnectionsApi,
        "companies": CompaniesApi,
        "deliveries": DeliveriesApi,
        "errands": ErrandsApi,
        "privacy": PrivacyApi,
    }
    bare = {name: object.__new__(part) for name, part in parts.items()}  # no operation is called
    return Api(nothing, "", "", **bare).app().openapi()


def writer_of(config: Config) -> Writer:
    """What puts notices into the words of the operator's language."""
    return lambda summary: letter(summary, config.notice_language, config.public_url)


def _guarded(app: Starlette, config: Config, page_of: PageOf | None = None) -> Starlette:
    """`app` with its errors in the one shape, and between it and callers what stands before everything."""
    app.add_middleware(BodyLimit)
    answer_errors(app, config.public_url, page_of)
    if config.secure:
        app.add_middleware(Strict)
    if config.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(config.trusted_proxies))
    return app


async def store_of(config: Config, stack: AsyncExitStack, patience: float = 0.0) -> Store:
    """The store, open until `stack` closes; the embedded one where no other is given.

    For `patience` seconds one that is not there is waited for: it may be about to start, as this service is.

    Raises: EmbeddedUnavailable, StoreRefused, StoreUnavailable.
    """
    url = config.redis_url
    if url is None:
        valkey = EmbeddedValkey(config.data_dir)
        stack.push_async_callback(valkey.close)
        url = await valkey.start()

    def awaited(state: RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome:
            _log.warning("store_awaited", reason=str(state.outcome.exception()), seconds=round(patience))

    there = AsyncRetrying(
        retry=retry_if_exception_type(StoreUnavailable),
        stop=stop_after_delay(patience),
        wait=wait_fixed(1.0),
        before_sleep=awaited,
        reraise=True,
    )
    store: Store = await there(Store.open, url, prefix=config.redis_prefix)
    stack.push_async_callback(store.close)
    return store


async def _built_in(settings: Settings, ledger: Ledger, config: Config) -> None:
    """Make the connections that the environment asks for; Jitsi is the default choice of the very first start."""
    key, subject = config.google_service_account_key, config.google_service_account_subject
    wanted = []
    if config.jitsi_url:
        wanted.append((BUILT_IN, "jitsi", "Jitsi", {"url": config.jitsi_url}, "JITSI_URL"))
    if key and subject:
        fields = {"key": key.get_secret_value(), "subject": subject}
        wanted.append((ROBOT, "google_meet", "Google Meet", fields, "GOOGLE_SERVICE_ACCOUNT_KEY"))
    for id_, provider, name, fields, variable in wanted:
        try:
            done = await ensure_built_in(settings.connections, id_, provider, name, fields)
        except Unreadable as error:
            raise ConfigError({variable: error.why}) from None
        except ValidationError as error:
            what = error.errors(include_input=False, include_url=False)[0]["msg"]
            raise ConfigError({variable: what.removeprefix("Value error, ")}) from None
        if done == "new" and id_ == BUILT_IN:
            await settings.choices.put(DEFAULT, Choice(connection=BUILT_IN), only_new=True)
        if done != "same":
            await ledger.bump_revision()
            await settings.load()
        for warning in settings.connections.settings_of(settings.connections.get(id_)).warnings():
            _log.warning(provider, warning=warning)


async def check_keys(store: Store, config: Config) -> None:
    """Refuse keys other than those that sealed what is in the store.

    Two services that each made up their own keys would otherwise lose each other's secrets.
    """
    ring = {key_id: fingerprint(key) for key_id, key in config.secret_keys}
    active = config.secret_keys[0][0]
    added = await store.execute("HSETNX", KEYS, active, ring[active])
    known = await store.execute("HGETALL", KEYS)
    foreign = sorted(key_id for key_id, print_ in known.items() if ring.get(key_id) != print_)
    if foreign:
        if added:
            await store.execute("HDEL", KEYS, active)
        raise ConfigError(
            {
                "SECRET_KEYS": f"the store holds secrets sealed with the key '{foreign[0]}', which is missing here "
                "or has other bytes; give every service of this store the same keys"
            }
        )


def _plain(values: Iterable[SecretStr]) -> tuple[str, ...]:
    return tuple(value.get_secret_value() for value in values)
