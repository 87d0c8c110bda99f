"""Where a list of a page goes on, sealed: it may be behind something of another company, which nobody is to read."""

from service.vault import Damaged, UnknownKey, Vault

_PURPOSE = "cursor"


class Cursors:
    """Seals and opens them."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def seal(self, cursor: str | None) -> str | None:
        """A cursor for an address; None at the end of a list."""
        return self._vault.seal(cursor, _PURPOSE) if cursor else None

    def open(self, sealed: str) -> str | None:
        """A cursor of ours, None for anything else: the list then begins anew."""
        try:
            return self._vault.open(sealed, _PURPOSE) if sealed else None
        except (Damaged, UnknownKey):
            return None
