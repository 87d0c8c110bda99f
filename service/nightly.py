"""When a sweep is due: every night, and for a connection that may have meetings nobody has seen yet.

Every process with the role of a worker looks once a minute; the lock lets one of them sweep. The same round beats
before, so that no sweep goes by a store that was put back from a backup and has not shown yet (`swept`).
"""

import contextlib
import random
import time
from typing import Final

from service.sweep import Sweep, SweepElsewhere
from service.swept import SweepReport, Swept

AGAIN: Final = 3600.0
"""Seconds after which a connection is tried again whose meetings could not all be read."""
HOUR: Final = 3600
DAY: Final = 24 * HOUR


def due(last: SweepReport, now: float, hour: int, late: float) -> bool:
    """Whether tonight's sweep is to begin; `hour` is its hour of the day in UTC, `late` how many seconds into it.

    `last` is the last one of everything. A sweep that never came to its end is begun anew.
    """
    begins = now // DAY * DAY + hour * HOUR
    if now < begins + late:
        begins -= DAY
    return last.began < begins or (last.ended is None and now - last.began > HOUR)


class Nightly:
    """The rounds of one process; `hour` None sweeps at no hour, and looks at new connections all the same."""

    def __init__(self, sweep: Sweep, swept: Swept, hour: int | None) -> None:
        self._sweep = sweep
        self._swept = swept
        self._hour = hour
        self._late = random.uniform(0, HOUR)  # noqa: S311 (jitter is no secret)
        self._not_before: dict[str, float] = {}

    async def unseen(self) -> list[str]:
        """The connections whose meetings nobody has looked at since the store is whole."""
        return await self._swept.unseen(await self._sweep.connections())

    async def round(self, now: float | None = None) -> None:
        """Beat, and sweep if it is time to."""
        now = time.time() if now is None else now
        since = await self._swept.beat()
        with contextlib.suppress(SweepElsewhere):
            last = await self._swept.whole() or SweepReport(since, since)  # a young store waits for its first night
            if self._hour is not None and due(last, now, self._hour, self._late):
                await self._sweep.run()
                return
            for connection in await self.unseen():
                if now >= self._not_before.get(connection, 0.0):
                    done = await self._sweep.run(connection)
                    self._not_before[connection] = now + AGAIN if done.report.left else 0.0
