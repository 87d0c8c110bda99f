"""One examination: from the environment to the last connection, as far as one leads to the next."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from providers.http import Http
from service.budget import Budgets
from service.choices import Choices
from service.companies import Companies, Company
from service.config import Config, ConfigError
from service.connections import Connections
from service.doctor import address, configuration, keys, notices, server
from service.doctor.accounts import Accounts
from service.doctor.finding import CHECKS, Report, parted
from service.embedded import EmbeddedUnavailable
from service.notices.summary import Channel, Writer
from service.oauth import Broker
from service.settings import Settings
from service.store import Store, StoreRefused, StoreUnavailable
from service.vault import Damaged, UnknownKey, Vault

_BY_STORE = ("store.", "clock", "keys", "connection")
_START = "Start it, and see whether REDIS_URL, its user and its network are right."


class Examination:
    """Looks at everything and changes nothing.

    `store` opens the store of a configuration, `accounts` makes what speaks with providers on it,
    `ways` what tells people and in which words.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        http: Http,
        store: Callable[[Config], Awaitable[Store]],
        accounts: Callable[[Config, Store], tuple[Broker, Connections]],
        ways: Callable[[Config], tuple[Sequence[Channel], Writer]],
    ) -> None:
        self._environ = environ
        self._http = http
        self._open = store
        self._accounts = accounts
        self._ways = ways

    async def run(self, connection: str | None = None, *, notice: bool = False) -> Report:
        """All of it; `connection` is tried with a real meeting, with `notice` a test notice is sent."""
        report = Report()
        config = configuration.look(report, self._environ)
        if config is None:
            report.skip(*(check for check in CHECKS if check != "configuration"))
            return report
        store, others = await self._store(report, config), []
        own = Company(
            "own", "", config.endpoint_urls, tuple(token.get_secret_value() for token in config.webhook_tokens)
        )
        channels, write = self._ways(config)
        if store:
            try:
                await server.look(report, store)
                await keys.look(report, store, config.secret_keys)
                with suppress(UnknownKey, Damaged):  # the keys' own line says so
                    others = await Companies(store, Vault(config.secret_keys), own).all()
                await notices.history(report, channels, store)
                await self._connections(report, config, store, connection)
            except StoreUnavailable as error:
                report.broken("store", str(error), _START)
        await notices.look(report, channels, write, send=notice)
        await address.look(report, self._http, config.public_url, [own, *others])
        return report

    async def _store(self, report: Report, config: Config) -> Store | None:
        """The store if there is one that can be worked with."""
        if config.redis_url is None and not (config.data_dir / "valkey").exists():
            cure = "Start the service once, or set DATA_DIR to where it runs."
            report.warning("store", f"There is none yet in {config.data_dir}.", cure)
        else:
            try:
                return await self._open(config)
            except StoreRefused as error:
                report.broken("store", *parted(str(error)))
            except StoreUnavailable as error:
                report.broken("store", str(error), _START)
            except EmbeddedUnavailable as error:
                cure = "See DATA_DIR/valkey/valkey.log, or set REDIS_URL to a store of your own."
                report.broken("store", str(error), cure)
        report.skip(*(check for check in CHECKS if check.startswith(_BY_STORE)))
        return None

    async def _connections(self, report: Report, config: Config, store: Store, connection: str | None) -> None:
        try:
            broker, connections = self._accounts(config, store)
        except ConfigError as error:
            configuration.refused(report, error)
            return
        settings = Settings(Choices(store), connections)
        await settings.load()
        await Accounts(settings, broker, Budgets(store), config.public_url).look(report, connection)
