"""HTTP: Vello's webhook, the page behind a link, the API, the probes."""
