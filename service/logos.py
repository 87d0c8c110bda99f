"""Offices' logos, each named by what it shows: whoever has the name has the picture, and it never changes.

Key: `vm:logos` (name -> when it was last chosen, and the PNG); no TTL. One that no office uses goes a day after it was
uploaded or chosen, when the next one comes.
"""

import asyncio
import base64
import hashlib
import time
from collections.abc import Collection, Sequence
from typing import Final

from service.picture import Picture, Unusable, redrawn
from service.store import Store, version_of

MOST: Final = 1000
"""Logos that are kept: 16 MB of the store at most."""
UNUSED: Final = 86_400
"""Seconds for which one is kept that no office uses."""
_LOGOS = "vm:logos"
_TOUCHED = 3600  # seconds for which a logo need not be marked as used again


class Logos:
    """All logos of all processes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._drawing = asyncio.Semaphore(1)  # a picture takes memory and a processor

    async def add(self, file: bytes, used: Collection[str]) -> str:
        """Keep the picture in a file, small and without anything else; answers its name. `used` are those that stay.

        Raises: Unusable.
        """
        async with self._drawing:
            picture = await asyncio.to_thread(redrawn, file)
        name, known = _name(picture), await self._store.execute("HKEYS", _LOGOS)
        if name not in known:
            left = len(known) - await self._swept([each for each in known if each not in used])
            if left >= MOST:
                raise Unusable(f"There are {MOST} logos already: take some out of use, and try again tomorrow.")
        await self._keep(name, base64.b64encode(picture.png).decode())
        return name

    async def use(self, name: str) -> bool:
        """An office is about to choose a logo, so it stays; False when there is none of this name."""
        row = await self._store.execute("HGET", _LOGOS, name)
        if row is None:
            return False
        since, _, png = row.partition(":")
        if time.time() - int(since) > _TOUCHED:
            await self._keep(name, png)
        return True

    async def png(self, name: str) -> bytes | None:
        """The picture of a name."""
        row = await self._store.execute("HGET", _LOGOS, name)
        return base64.b64decode(row.partition(":")[2]) if row else None

    async def _keep(self, name: str, png: str) -> None:
        await self._store.execute("HSET", _LOGOS, name, f"{int(time.time())}:{png}")

    async def _swept(self, unused: Sequence[str]) -> int:
        """Remove those that nobody has used for a while, not one that is chosen at this moment; answers how many."""
        rows = await self._store.execute("HMGET", _LOGOS, *unused) if unused else []
        gone = 0
        for name, row in zip(unused, rows, strict=True):
            if row and time.time() - int(row.partition(":")[0]) > UNUSED:
                gone += await self._store.swap(_LOGOS, name, version_of(row), "")
        return gone


def _name(picture: Picture) -> str:
    return f"{hashlib.sha256(picture.png).hexdigest()[:32]}-{picture.width}x{picture.height}"
