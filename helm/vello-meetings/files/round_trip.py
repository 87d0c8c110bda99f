"""Asks the release's probes and sends it a signed connection test, as Vello does."""

import os
import time
import urllib.request

from service.config import Config
from service.vello import sign

service, end = os.environ["SERVICE"], time.monotonic() + 120
for probe in ("/livez", "/readyz"):
    while True:
        try:
            with urllib.request.urlopen(service + probe, timeout=10) as answer:
                print(probe, answer.status)
            break
        except OSError as error:  # a release that was installed just now has no pod yet that is ready
            if time.monotonic() > end:
                raise
            print(probe, error, flush=True)
            time.sleep(2)

config = Config.load(create=False, needs=("VELLO_WEBHOOK_TOKEN",))
event = b'{"id": "00000000-0000-4000-8000-000000000000", "type": "connection.test", "data": {}}'
signature = sign(config.webhook_tokens[0].get_secret_value(), config.endpoint_urls[0], event)
request = urllib.request.Request(service + "/webhooks/vello", event, {"Vello-Signature": signature})
with urllib.request.urlopen(request, timeout=10) as answer:
    print("connection.test", answer.status, answer.read().decode())
