"""What commands do that work as one more process of the service: erasing, exporting, replaying."""

from typing import Any, Final

from service.app import opened
from service.config import Config
from service.deliveries import Deliveries
from service.delivery import Wanted
from service.erasure import Erased, Erasure
from service.errands import Errand, Errands
from service.replays import KIND, Foreseen, Outlook, Replays, about

COMMAND: Final = "command line"
"""Who does something by a command, among the changes."""


async def erase(config: Config, *, record: str | None = None, customer: str | None = None) -> Erased | None:
    """Erase a record (None: it is not known) or a customer's; this process works as one more worker meanwhile.

    Raises: what `opened` does, TooMany.
    """
    async with opened(config, "worker") as door:
        erasure: Erasure = door.app.state.erasure
        return await (erasure.record(record) if record else erasure.customer(customer or ""))


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
            log: Deliveries = door.app.state.deliveries
            line = await log.get(delivery)
            if line is None:
                return None
            return await (replays.foresee(line) if dry_run else replays.replay(line))
        if dry_run:
            return await replays.outlook(wanted)
        return await errands.finished(await errands.begin(KIND, about(wanted, None), COMMAND))
