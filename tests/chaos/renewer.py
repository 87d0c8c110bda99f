"""One process that many callers ask for the same account's access token, until its standard input ends.

`python -m tests.chaos.renewer '{"store", "token_endpoint", "grant", "callers", "lock_seconds"}'` writes a line of JSON
for each new error, and one when every caller was served.
"""

import asyncio
import json
import sys
from dataclasses import replace
from typing import Any

from providers.base import ProviderError
from providers.http import Http
from service import logs
from service.endpoint import Client, Vendor
from service.grants import Grants, Source
from service.oauth import Broker
from service.store import Store
from service.vault import Vault
from tests.acme import ACME, OAUTH
from tests.authority import CLIENT, SECRET
from tests.waiting import outage

VAULT = Vault([("k1", b"k" * 32)])
PUBLIC = "http://127.0.0.1:8080"
PAUSE = 0.5  # seconds between two questions of one caller


def broker(store: Store, http: Http, oauth_url: str, lock_seconds: float) -> tuple[Broker, Vendor]:
    """A broker whose one vendor is at `oauth_url`."""
    oauth = replace(
        OAUTH,
        authorization_endpoint=f"{oauth_url}/authorize",
        token_endpoint=f"{oauth_url}/token",
        revocation_endpoint=f"{oauth_url}/revoke",
    )
    vendor = Vendor(ACME, oauth, Client(CLIENT, SECRET), http)
    return Broker(Grants(store, VAULT), {"zoom": vendor}, PUBLIC, lock_seconds=lock_seconds), vendor


def say(line: str) -> None:
    """One line for whoever started us."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(given: dict[str, Any]) -> None:
    """Ask until nobody writes to us any more."""
    logs.configure("warning", "json")
    store = await Store.open(given["store"])
    here, vendor = broker(store, Http(), given["oauth_url"], given["lock_seconds"])
    source = Source(vendor, given["grant"], vendor.client)
    tokens: list[set[str]] = [set() for _ in range(given["callers"])]
    said: set[str] = set()

    async def ask(mine: set[str]) -> None:
        while True:
            try:
                mine.add(await here.token(source))
                if all(tokens) and "all" not in said:
                    said.add("all")
                    say(json.dumps({"served": [len(one) for one in tokens]}))
            except ProviderError as error:
                line = json.dumps({"error": type(error).__name__, "text": error.text})
                if line not in said:
                    said.add(line)
                    say(line)
            await outage(PAUSE)

    asking = [asyncio.create_task(ask(mine)) for mine in tokens]
    await asyncio.to_thread(sys.stdin.read)
    for task in asking:
        task.cancel()
    await here.drain(20)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
