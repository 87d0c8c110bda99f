"""What the command line does besides serving; services may run meanwhile."""

import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from providers.base import ProviderInfo
from providers.http import Http
from service.app import RENEWAL, check_keys, opened, store_of, writer_of
from service.config import Config
from service.connections import Connections
from service.deliveries import Deliveries
from service.delivery import Wanted
from service.erasure import Erased, Erasure
from service.errands import Errand, Errands
from service.findings import SweepResult
from service.oauth import Broker
from service.observer import Observer
from service.replays import KIND as REPLAY
from service.replays import Foreseen, Outlook, Replays, about
from service.rotation import Rotated, Rotation
from service.store import Store
from service.sweep import Sweep
from service.tombs import Tombs
from service.vault import Vault
from service.vendors import accounts_of, channels_of, providers_of

if TYPE_CHECKING:
    from service.doctor.finding import Report

COMMAND: Final = "command line"
"""Who does something by a command, among the changes."""


async def rotate_keys(config: Config) -> Rotated:
    """Seal everything with the newest key; services may run meanwhile.

    Raises: ConfigError, EmbeddedUnavailable, StoreRefused, StoreUnavailable.
    """
    async with AsyncExitStack() as stack:
        store = await store_of(config, stack)
        await check_keys(store, config)
        vault = Vault(config.secret_keys)
        log = Deliveries(store, vault, Tombs(), config.delivery_log_days, config.delivery_log_lines)
        return await Rotation(store, vault, config.secret_keys[0][0], log).run()


async def examine(
    connection: str | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    notice: bool = False,
    providers: Mapping[str, ProviderInfo] | None = None,
) -> "Report":
    """What is wrong with this installation, whether or not services run.

    `connection` is tried with a real meeting, with `notice` a test notice is sent.
    """
    async with AsyncExitStack() as stack:
        clients = await stack.enter_async_context(AsyncExitStack())

        def accounts(config: Config, store: Store) -> tuple[Broker, Connections]:
            known = providers_of(config, providers)
            _, broker, connections = accounts_of(config, store, known, Observer(), clients)
            stack.push_async_callback(broker.drain, RENEWAL)
            return broker, connections

        http = Http()
        clients.push_async_callback(http.close)
        from service.doctor.examination import Examination  # a service does without

        examination = Examination(
            environ,
            http,
            lambda config: store_of(config, stack),
            accounts,
            lambda config: (channels_of(config, http), writer_of(config)),
        )
        return await examination.run(connection, notice=notice)


async def erase(config: Config, *, record: str | None = None, customer: str | None = None) -> Erased | None:
    """Erase a record (None: it is not known) or a customer's; this process works as one more worker meanwhile.

    Raises: what `opened` does, TooMany.
    """
    async with opened(config, "worker") as door:
        erasure: Erasure = door.app.state.erasure
        return await (erasure.record(record) if record else erasure.customer(customer or ""))


async def sweep_once(config: Config, only: str | None, *, dry: bool, remove_unknown: bool) -> SweepResult:
    """One sweep of everything or of one connection; services may run meanwhile. `dry` changes nothing.

    Raises: what `opened` does, UnknownConnection, SweepElsewhere.
    """
    async with opened(config, "web" if dry else "worker") as door:
        sweep: Sweep = door.app.state.sweep
        return await (sweep.look if dry else sweep.run)(only, remove_unknown=remove_unknown)


async def export(config: Config, customer: str | None = None, record: str | None = None) -> dict[str, Any]:
    """All that is known of a customer's records, or of one record.

    Raises: what `opened` does, TooMany.
    """
    async with opened(config, "web") as door:
        erasure: Erasure = door.app.state.erasure
        if record:
            known = await erasure.known(record)
            return {"customer": None, "records": [known] if known else []}
        return await erasure.export(customer or "")


async def replay(
    config: Config, wanted: Wanted, delivery: str | None = None, *, dry_run: bool = False
) -> Errand | Outlook | Foreseen | str | None:
    """Replay one event of the delivery log (None: it is not there, or says nothing) or all that are `wanted`.

    With `dry_run` nothing is changed, and the answer is what it would do.

    Raises: what `opened` does.
    """
    async with opened(config, "worker") as door:
        replays: Replays = door.app.state.replays
        errands: Errands = door.app.state.errands
        await door.app.state.settings.load()
        if delivery:
            line = await door.app.state.deliveries.get(delivery)
            if line is None:
                return None
            return await (replays.foresee(line) if dry_run else replays.replay(line))
        if dry_run:
            return await replays.outlook(wanted)
        return await errands.finished(await errands.begin(REPLAY, about(wanted, None), COMMAND))
