"""The keys: every one that sealed something is here, and every secret that is kept can be opened."""

import json
from collections.abc import AsyncIterator, Sequence

from service.companies import COMPANIES, company_purpose
from service.connections import CONNECTIONS, connection_purpose
from service.doctor.finding import Report
from service.grants import grant_key, own_id, token_purpose
from service.rotation import KEYS
from service.store import Store
from service.vault import Damaged, UnknownKey, Vault, fingerprint

_BACK = (
    "Put that key back into SECRET_KEYS: it is in DATA_DIR/generated.json of where the service first ran, or with your "
    "backups. If it is lost, connect every account again."
)


async def look(report: Report, store: Store, ring: Sequence[tuple[str, bytes]]) -> None:
    """Compare the keys we have with those that sealed something. Raises: StoreUnavailable."""
    mine = {key_id: fingerprint(key) for key_id, key in ring}
    known = await store.execute("HGETALL", KEYS)
    absent = {key_id for key_id in known if key_id not in mine}
    other = sorted(key_id for key_id, print_ in known.items() if mine.get(key_id, print_) != print_)
    vault, opened, damaged = Vault(ring), 0, []
    async for name, envelope, purpose in _sealed(store):
        try:
            vault.open(envelope, purpose)
            opened += 1
        except UnknownKey as error:
            absent.add(error.key_id)
        except Damaged:
            damaged.append(name)
    for key_id in sorted(absent):
        report.broken(
            "keys", "Secrets in the store are sealed with this key, which is missing here.", _BACK, about=key_id
        )
    for key_id in other:
        text = "Secrets in the store are sealed with another key of this name."
        report.broken("keys", text, _BACK, about=key_id)
    for name in [] if other else damaged:  # with the wrong key everything looks damaged
        text = "Its secret is damaged or belongs to something else."
        report.broken("keys", text, "Connect or add it again, or restore the store.", about=name)
    if not (absent or other or damaged):
        text = f"All secrets of connections and companies ({opened}) can be opened; '{ring[0][0]}' seals new ones."
        report.ok("keys", text)


async def _sealed(store: Store) -> AsyncIterator[tuple[str, str, str]]:
    """Every secret but those of bookings: whose it is, its envelope, what it is bound to."""
    owners = {}
    for id_, row in (await store.execute("HGETALL", CONNECTIONS)).items():
        fields = json.loads(row)
        owners[fields.get("grant") or own_id(fields["provider"], id_, fields["envelope"])] = fields["provider"], id_
        yield f"connection {id_}", fields["envelope"], connection_purpose(id_)
    for id_, row in (await store.execute("HGETALL", COMPANIES)).items():
        yield f"company {id_}", json.loads(row)["tokens"], company_purpose(id_)
    for grant, (provider, id_) in owners.items():
        if envelope := await store.execute("HGET", grant_key(grant), "token"):
            yield f"connection {id_}", envelope, token_purpose(provider, grant)
