"""Matters and looks at them, made up."""

from service.matters import Code, Matter
from service.notices.book import Pending
from service.survey import Outlook

NOW = 1_800_000_000
HOUR, DAY = 3600, 86_400


def matter(code: Code = "connection.reconnect", about: str = "c1", since: int = NOW, *items: str) -> Matter:
    """One, of a connection unless it says otherwise."""
    return Matter(
        code, since, f"Something is wrong with {about}.", "Mend it.", f"/connections/{about}", about, None, items
    )


def outlook(*matters: Matter, working: tuple[str, ...] = ()) -> Outlook:
    """How everything is; `working` are connections that work."""
    return Outlook(matters, {each: f"Name of {each}" for each in working})


async def unremembered(_pending: Pending, _at: int) -> None:
    """For a sender whose matters are about no booking."""
