"""What speaks with providers, as the process's environment wants them."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from providers import registry
from providers.base import Authorizer, Inspects, MeetingProvider, ProviderInfo, ProviderSettings, Remark
from providers.http import Http
from providers.transport import Hosts
from service.config import Config, ConfigError
from service.connections import Connection, Connections
from service.endpoint import Client, Vendor
from service.grants import Grants
from service.notices.summary import Channel
from service.notices.webhook import Webhook
from service.oauth import Broker
from service.observer import Observer
from service.oidc import Oidc
from service.store import Store
from service.vault import Vault

LOOK: Final = 8.0
"""Seconds for each call to a server whose settings are looked at: a person waits."""

_API_URLS: Mapping[str, Callable[[Config], str]] = {"zoom": lambda config: config.zoom_api_url}
_ADDRESSES: Mapping[str, Callable[[Config], Mapping[str, str]]] = {
    "google_meet": lambda config: {"meet": config.google_meet_url, "calendar": config.google_calendar_url}
}
_PREFIXES: Mapping[str, str] = {"google_meet": "GOOGLE"}


def providers_of(config: Config, given: Mapping[str, ProviderInfo] | None = None) -> Mapping[str, ProviderInfo]:
    """The registry's providers, or those given, where this installation's environment says they are.

    Raises: ConfigError.
    """
    try:
        known = registry.load() if given is None else given
    except registry.RegistryError as error:
        raise ConfigError({registry.GROUP: str(error)}) from None
    at = config.zoom_oauth_url
    endpoints = {
        "zoom": (f"{at}/authorize", f"{at}/token", f"{at}/revoke"),
        "google_meet": (config.google_authorize_url, config.google_token_url, config.google_revoke_url),
    }
    return {name: _moved(info, endpoints[name]) if name in endpoints else info for name, info in known.items()}


def accounts_of(
    config: Config,
    store: Store,
    known: Mapping[str, ProviderInfo],
    observer: Observer,
    clients: AsyncExitStack,
) -> tuple[Callable[[str], Http], Broker, Connections]:
    """What speaks with providers; `clients` closes the HTTP clients."""
    vault, hosts = Vault(config.secret_keys), Hosts()

    def http_for(name: str, authorizer: Authorizer | None = None) -> Http:
        url = _API_URLS[name](config) if name in _API_URLS else ""
        addresses = _ADDRESSES[name](config) if name in _ADDRESSES else None
        http = Http(url, authorizer=authorizer, hosts=hosts, addresses=addresses)
        clients.push_async_callback(http.close)
        return http

    def connect(info: ProviderInfo, made: ProviderSettings, row: Connection) -> MeetingProvider:
        source = broker.source(row, made)
        authorizer = broker.authorizer(source) if source else None
        # One client for each connection, so that a server that hangs holds up nobody else.
        return info.connect(made, http_for(info.name, authorizer))

    vendors = {
        name: Vendor(info, info.oauth, _client(config, name), http_for(name), _PREFIXES.get(name, name.upper()))
        for name, info in known.items()
        if info.oauth
    }
    broker = Broker(Grants(store, vault), vendors, config.public_url, observer)
    return http_for, broker, Connections(store, vault, known, connect)


def inspects(info: ProviderInfo) -> bool:
    """Whether a provider's settings can be looked at before they are stored."""
    return isinstance(info.connect, type) and issubclass(info.connect, Inspects)


async def inspected(info: ProviderInfo, settings: ProviderSettings) -> Sequence[Remark]:
    """What a server says of settings that are not stored; nothing where the provider has no server to ask."""
    if not inspects(info):
        return ()
    http = Http(deadline=LOOK)
    try:
        provider = info.connect(settings, http)
        return await provider.inspect() if isinstance(provider, Inspects) else ()
    finally:
        await http.close()


def oidc_of(config: Config, http: Http) -> Oidc | None:
    """The login of admins at an identity provider, if the environment names one."""
    if not (config.oidc_issuer and config.oidc_client_id and config.oidc_client_secret):
        return None
    client = Client(config.oidc_client_id, config.oidc_client_secret.get_secret_value())
    redirect_uri = f"{config.public_url}/login/oidc/callback"
    return Oidc(http, config.oidc_issuer, client, redirect_uri, config.oidc_allowed, config.oidc_companies)


def channels_of(config: Config, http: Http) -> list[Channel]:
    """The ways to tell people what needs them, as far as the environment names any."""
    channels: list[Channel] = []
    if config.smtp_host and config.smtp_from and config.notice_emails:
        from service.notices.mail import Mail, MailServer  # most installations have no mail

        server = MailServer(
            config.smtp_host,
            config.smtp_from,
            config.notice_emails,
            config.smtp_port,
            config.smtp_tls,
            config.smtp_ca,
            config.smtp_username,
            config.smtp_password.get_secret_value() if config.smtp_password else None,
        )
        channels.append(Mail(server, urlsplit(config.public_url).hostname or "localhost"))
    if config.notice_webhook_url and config.notice_webhook_secret:
        url, secret = config.notice_webhook_url.get_secret_value(), config.notice_webhook_secret.get_secret_value()
        channels.append(Webhook(http, url, secret))
    return channels


def _moved(info: ProviderInfo, endpoints: tuple[str, str, str]) -> ProviderInfo:
    """A provider whose accounts are connected elsewhere."""
    if info.oauth is None:
        return info
    authorize, token, revoke = endpoints
    oauth = replace(info.oauth, authorization_endpoint=authorize, token_endpoint=token, revocation_endpoint=revoke)
    return replace(info, oauth=oauth)


def _client(config: Config, provider: str) -> Client | None:
    clients = {
        "zoom": (config.zoom_client_id, config.zoom_client_secret),
        "google_meet": (config.google_client_id, config.google_client_secret),
    }
    client_id, client_secret = clients.get(provider, (None, None))
    return Client(client_id, client_secret.get_secret_value()) if client_id and client_secret else None
