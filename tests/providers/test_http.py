"""The HTTP client against servers that do every wrong thing there is, byte by byte."""

import asyncio
import contextlib
import gzip
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from providers.base import (
    FENCE,
    HEARD,
    Delegation,
    Heard,
    MeetingNotFound,
    NoRoom,
    OutcomeUnknown,
    PermanentError,
    ProviderError,
    ReconnectRequired,
    TemporaryError,
)
from providers.http import MAX_RETRY_AFTER, Answer, Http
from providers.transport import Hosts
from tests.servers import Misbehaviour, RawServer, Reply, http
from tests.waiting import stand_still, wait_until

Open = Callable[..., Http]
CUT_OFF = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"
NOT_HTTP = b"220 mail.example.org ESMTP\r\n\r\n"
BAD_CHUNK = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
LONG_HEADER = b"HTTP/1.1 200 OK\r\nx: " + b"x" * 40_000 + b"\r\n\r\n"


@pytest.fixture
async def open_http() -> AsyncIterator[Open]:
    """Clients that are closed after the test."""
    clients: list[Http] = []

    def open_one(url: str, **more: object) -> Http:
        limits = {"connect": 10.0, "read": 10.0, "deadline": 30.0}
        clients.append(Http(url, **{**limits, **more}))  # type: ignore[arg-type]
        return clients[-1]

    yield open_one
    await asyncio.gather(*(client.close() for client in clients))


def time_for(reply: Reply) -> float:
    """Seconds to read it in: few for one that never comes."""
    return 0.3 if reply is Misbehaviour.HANG else 10.0


class KeepingServer:
    """Keeps connections open and does one of `replies` for each request; None closes without an answer."""

    def __init__(self, *replies: bytes | None) -> None:
        self.url = ""
        self.connections = 0
        self.open = 0
        self.requests: list[bytes] = []
        self.proceed = asyncio.Event()
        self.proceed.set()
        self._replies = list(replies)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        await wait_until(lambda: not self.open)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b":0"
                )
                self.requests.append(head + await reader.readexactly(int(length.split(b":")[1])))
                reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
                await self.proceed.wait()
                if reply is None:
                    break
                writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


KEPT = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
BROKEN = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\n{}"
REFUSED = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}"


async def failure(call: Awaitable[Answer]) -> ProviderError:
    """The error the call ends in."""
    with pytest.raises(ProviderError) as caught:
        await call
    return caught.value


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    """A server's side of TLS with a certificate that only it believes in."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    pem = builder.sign(key, SHA256()).public_bytes(Encoding.PEM)
    pem += key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "server.pem").write_bytes(pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "server.pem")
    return context


def unused_port() -> int:
    """A loopback port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_a_call_arrives_as_it_was_meant_and_so_does_its_answer(open_http: Open) -> None:
    async with RawServer(http(201, '{"id": 7}', x_request_id="abc")) as server:
        client = open_http(f"{server.url}/api/", headers={"authorization": "Bearer t"})
        answer = await client.send("POST", "/things", json={"a": 1}, params={"q": "ä b"}, headers={"x-y": "z"})
    assert (answer.status, answer.object(), answer.headers["x-request-id"]) == (201, {"id": 7}, "abc")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /api/things?q=%C3%A4+b HTTP/1.1") or b"?q=%C3%A4%20b " in head
    assert b"bearer t" in head.lower()
    assert b"x-y: z" in head.lower()
    assert body == b'{"a":1}'


async def test_a_body_that_is_not_json_is_sent_as_it_is(open_http: Open) -> None:
    async with RawServer(http(200)) as server:
        form = {"content-type": "application/x-www-form-urlencoded"}
        await open_http(server.url).send("POST", "/token", content="a=1&b=2", headers=form)
    assert server.requests[0].endswith(b"\r\n\r\na=1&b=2")


def shown(reply: Reply) -> str:
    """A reply as a test's name says it."""
    return str(reply)[:40]


LOST: list[Reply] = [
    Misbehaviour.HANG,
    Misbehaviour.DROP,
    Misbehaviour.DROP_UNREAD,
    CUT_OFF,
    NOT_HTTP,
    BAD_CHUNK,
    LONG_HEADER,
]


@pytest.mark.parametrize("reply", LOST, ids=shown)
async def test_a_lost_answer_of_a_call_that_may_not_be_repeated_is_unknown_after_one_try(
    open_http: Open, reply: Reply
) -> None:
    async with RawServer(reply) as server:
        error = await failure(open_http(server.url, read=time_for(reply)).send("POST", "/", json={}))
        assert isinstance(error, OutcomeUnknown)
        assert server.connections == 1


async def test_a_call_that_was_never_sent_is_made_once_more_and_not_after_it_was_sent(
    open_http: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, calls = unused_port(), []

    async def lose(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(await reader.read(1000))
        writer.close()

    async with contextlib.AsyncExitStack() as stack:

        async def starts(_: float) -> None:
            await stack.enter_async_context(await asyncio.start_server(lose, "127.0.0.1", port))

        monkeypatch.setattr("providers.http.sleep", starts)
        error = await failure(open_http(f"http://127.0.0.1:{port}").send("POST", "/", json={}))
        assert isinstance(error, OutcomeUnknown)
        assert len(calls) == 1


@pytest.mark.parametrize("reply", LOST, ids=shown)
async def test_a_lost_answer_of_a_safe_call_is_temporary_after_three_tries(open_http: Open, reply: Reply) -> None:
    async with RawServer(reply) as server:
        error = await failure(open_http(server.url, read=time_for(reply)).send("GET", "/"))
        assert isinstance(error, TemporaryError)
        assert server.connections == 3


@pytest.mark.parametrize("reply", [*LOST, http(502), http(503), http(504)], ids=shown)
async def test_a_safe_call_works_at_the_second_try(open_http: Open, reply: Reply) -> None:
    async with RawServer(reply, http(200, '"fine"')) as server:
        assert (await open_http(server.url, read=time_for(reply)).send("GET", "/")).json() == "fine"
        assert server.connections == 2


@pytest.mark.parametrize(
    ("method", "safe", "tries"),
    [
        ("GET", None, 3),
        ("HEAD", None, 3),
        ("PUT", None, 3),
        ("DELETE", None, 3),
        ("POST", None, 1),
        ("PATCH", None, 1),
        ("POST", True, 3),
        ("PATCH", True, 3),
        ("PUT", False, 1),
    ],
)
async def test_only_what_is_safe_is_repeated_after_a_busy_answer(
    open_http: Open, method: str, safe: bool | None, tries: int
) -> None:
    async with RawServer(http(503, b"")) as server:
        error = await failure(open_http(server.url).send(method, "/", safe=safe))
        assert type(error) is (TemporaryError if tries == 3 else OutcomeUnknown)
        assert server.connections == tries


@pytest.mark.parametrize("status", [429, 400, 401, 404, 500, 501])
async def test_other_answers_are_never_asked_for_twice(open_http: Open, status: int) -> None:
    async with RawServer(http(status)) as server:
        await failure(open_http(server.url).send("GET", "/"))
        assert server.connections == 1


async def test_a_vendor_that_names_a_time_is_not_asked_again_before(open_http: Open) -> None:
    async with RawServer(http(503, retry_after="9")) as server:
        error = await failure(open_http(server.url).send("GET", "/"))
        assert isinstance(error, TemporaryError)
        assert error.retry_after == 9
        assert server.connections == 1


async def test_nobody_listening_is_temporary_even_for_a_call_that_may_not_be_repeated(open_http: Open) -> None:
    error = await failure(open_http(f"http://127.0.0.1:{unused_port()}").send("POST", "/", json={}))
    assert isinstance(error, TemporaryError)
    assert error.text == "127.0.0.1 cannot be reached."


async def test_a_host_that_does_not_pick_up_got_no_call(open_http: Open) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        client = open_http(f"http://127.0.0.1:{port}", connect=0.3)
        # With its queue full, the kernel ignores the next caller: a connect timeout, not a refusal.
        with socket.create_connection(("127.0.0.1", port)):
            error = await failure(client.send("POST", "/", json={}))
    assert isinstance(error, TemporaryError)


async def test_a_call_that_was_never_sent_is_tried_three_times_and_a_bad_certificate_named(
    open_http: Open, self_signed: ssl.SSLContext
) -> None:
    handshakes: list[ssl.SSLObject] = []
    self_signed.sni_callback = lambda connection, name, context: handshakes.append(connection)
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=self_signed)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await failure(open_http(f"https://localhost:{port}").send("POST", "/"))
    assert isinstance(error, TemporaryError)
    assert error.text == "localhost cannot be reached: its certificate is not trusted."
    assert len(handshakes) == 3


@pytest.mark.parametrize(("method", "kind"), [("POST", OutcomeUnknown), ("GET", TemporaryError)])
async def test_the_deadline_ends_everything(open_http: Open, method: str, kind: type[ProviderError]) -> None:
    async with RawServer(Misbehaviour.HANG) as server:
        client = open_http(server.url, read=60.0, deadline=1.5)
        assert type(await failure(client.send(method, "/"))) is kind
        assert server.connections == 1


@pytest.mark.parametrize("answers", [True, False], ids=["it comes", "it never comes"])
async def test_a_process_that_stood_still_takes_what_came_meanwhile(
    open_http: Open, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    """All its timers are due when it goes on, and the answer was there in time."""
    async with KeepingServer(KEPT) as server:
        server.proceed.clear()
        call = asyncio.create_task(open_http(server.url, read=5.0, deadline=5.0).send("POST", "/"))
        await wait_until(lambda: len(server.requests) == 1)
        stand_still(monkeypatch, 30)
        await asyncio.sleep(0)
        if answers:
            server.proceed.set()
            assert (await call).status == 200
        else:
            assert isinstance(await failure(call), OutcomeUnknown)
            server.proceed.set()


async def test_a_callers_own_cancellation_stays_one(open_http: Open) -> None:
    async with RawServer(Misbehaviour.HANG) as server:
        call = asyncio.create_task(open_http(server.url, read=60.0).send("POST", "/"))
        await server.arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, PermanentError),
        (400, PermanentError),
        (401, ReconnectRequired),
        (403, PermanentError),
        (404, PermanentError),
        (408, OutcomeUnknown),
        (425, TemporaryError),
        (429, TemporaryError),
        (500, OutcomeUnknown),
        (503, OutcomeUnknown),
    ],
)
async def test_a_status_says_what_to_do_next(open_http: Open, status: int, kind: type[ProviderError]) -> None:
    async with RawServer(http(status, location="http://127.0.0.1:9/elsewhere")) as server:
        error = await failure(open_http(server.url).send("POST", "/"))
        assert type(error) is kind
        assert str(status) in error.text
        assert server.connections == 1


async def test_an_adapter_can_take_another_status_for_an_answer(open_http: Open) -> None:
    async with RawServer(http(404)) as server:
        assert (await open_http(server.url).send("GET", "/", accept=range(200, 500))).status == 404


def _in_two_minutes() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=120)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        ("0", 0, 0),
        ("30", 30, 30),
        ("1.5", 1.5, 1.5),
        ("999999999999", MAX_RETRY_AFTER, MAX_RETRY_AFTER),
        (lambda: format_datetime(_in_two_minutes(), usegmt=True), 100, 121),
        (lambda: _in_two_minutes().strftime("%Y-%m-%dT%H:%M:%SZ"), 100, 121),
        (lambda: _in_two_minutes().replace(tzinfo=None).isoformat(), 100, 121),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0, 0),
        ("9999-12-31T23:59:59Z", MAX_RETRY_AFTER, MAX_RETRY_AFTER),
    ],
)
async def test_the_vendors_time_is_read_in_all_its_forms(
    open_http: Open, value: str | Callable[[], str], least: float, most: float
) -> None:
    text = value if isinstance(value, str) else value()
    async with RawServer(http(429, retry_after=text)) as server:
        error = await failure(open_http(server.url).send("POST", "/"))
    assert isinstance(error, TemporaryError)
    assert error.retry_after is not None
    assert least <= error.retry_after <= most


@pytest.mark.parametrize("value", ["", "soon", "-5", "nan", "inf", "1e9", "0x10", "²", "9" * 5 + " minutes"])
async def test_a_senseless_time_is_ignored(open_http: Open, value: str) -> None:
    async with RawServer(http(429, retry_after=value)) as server:
        error = await failure(open_http(server.url).send("POST", "/"))
    assert isinstance(error, TemporaryError)
    assert error.retry_after is None


@pytest.mark.parametrize("body", ["<html>", "", "{", b"\xff\xfe\xfd", "[" * 100_000], ids=lambda body: body[:6])
@pytest.mark.parametrize(("method", "kind"), [("POST", OutcomeUnknown), ("GET", TemporaryError)])
async def test_an_answer_that_is_not_json_is_no_answer(
    open_http: Open, body: str | bytes, method: str, kind: type[ProviderError]
) -> None:
    async with RawServer(http(200, body)) as server:
        answer = await open_http(server.url).send(method, "/")
        with pytest.raises(kind):
            answer.json()


async def test_json_that_is_no_object_is_not_one(open_http: Open) -> None:
    async with RawServer(http(200, "[]")) as server:
        answer = await open_http(server.url).send("POST", "/")
        assert answer.json() == []
        with pytest.raises(OutcomeUnknown, match="not a JSON object"):
            answer.object()


@pytest.mark.parametrize(("method", "kind"), [("POST", OutcomeUnknown), ("GET", TemporaryError)])
async def test_an_answer_that_is_too_long_is_not_read_to_its_end(
    open_http: Open, method: str, kind: type[ProviderError]
) -> None:
    endless = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n" + b"x" * 4000
    async with RawServer(endless) as server:
        error = await failure(open_http(server.url, max_body=1000).send(method, "/"))
        assert type(error) is kind
        assert "too long" in error.text
        assert server.connections == 1


async def test_an_error_with_a_long_body_is_still_that_error(open_http: Open) -> None:
    async with RawServer(http(403, b"x" * 4000)) as server:
        error = await failure(open_http(server.url, max_body=1000).send("POST", "/"))
    assert isinstance(error, PermanentError)


def explain(answer: Answer) -> ProviderError | None:
    """A vendor that says with 400 and a code that a meeting is gone."""
    if answer.status == 400 and answer.object().get("code") == 3001:
        return MeetingNotFound("It is gone.")
    return None


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, '{"code": 3001}', MeetingNotFound),
        (400, '{"code": 300}', PermanentError),
        (400, "<html>a proxy</html>", TemporaryError),
        (404, '{"code": 3001}', PermanentError),
    ],
)
async def test_the_vendors_code_is_read_with_the_status(
    open_http: Open, status: int, body: str, kind: type[ProviderError]
) -> None:
    async with RawServer(http(status, body)) as server:
        client = open_http(server.url, explain=explain)
        assert type(await failure(client.send("POST", "/"))) is kind


async def test_another_base_url_keeps_headers_and_the_vendors_reading(open_http: Open) -> None:
    async with RawServer(http(400, '{"code": 3001}')) as server:
        first = open_http("http://127.0.0.1:9", headers={"x-a": "1"}, explain=explain)
        error = await failure(first.at(server.url, headers={"x-b": "2"}).send("GET", "/"))
    assert isinstance(error, MeetingNotFound)
    assert b"x-a: 1" in server.requests[0]
    assert b"x-b: 2" in server.requests[0]


async def test_cookies_are_not_kept(open_http: Open) -> None:
    async with RawServer(http(200, set_cookie="session=1")) as server:
        client = open_http(server.url)
        await client.send("GET", "/")
        await client.send("GET", "/")
        assert b"cookie" not in server.requests[1].lower()


async def test_proxies_of_the_environment_are_not_used(open_http: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    async with RawServer(http(200)) as server:
        assert (await open_http(server.url).send("GET", "/")).status == 200


@pytest.mark.parametrize("reply", [http(200), http(400), http(503), *LOST], ids=shown)
async def test_nothing_secret_is_in_logs_errors_or_reprs(
    open_http: Open, caplog: pytest.LogCaptureFixture, reply: Reply
) -> None:
    caplog.set_level(logging.DEBUG)
    async with RawServer(reply) as server:
        client = open_http(server.url, read=time_for(reply), headers={"authorization": "Bearer hush-header"})
        shown = [repr(client)]
        try:
            shown.append(repr(await client.send("POST", "/", json={"x": "hush-body"}, params={"k": "hush-query"})))
        except ProviderError as error:
            shown += [repr(error), str(error.__cause__), error.text]
    assert "hush" not in "\n".join([*shown, caplog.text])


@pytest.mark.parametrize("value", ["hush\r\nx: y", "hush-ä"])
async def test_a_header_that_cannot_be_sent_is_refused_unseen(open_http: Open, value: str) -> None:
    async with RawServer(http(200)) as server:
        error = await failure(open_http(server.url, headers={"authorization": value}).send("POST", "/"))
        assert isinstance(error, PermanentError)
        assert "hush" not in repr(error)
        assert server.requests == []


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1", "http://127.0.0.1:port"])
async def test_an_address_that_is_none_is_for_the_admin_or_us(open_http: Open, url: str) -> None:
    assert isinstance(await failure(open_http(url).send("GET", "/")), PermanentError)


async def test_a_user_name_in_an_address_is_refused_unseen(open_http: Open) -> None:
    error = await failure(open_http("http://hush:hush@127.0.0.1:9").send("GET", "/"))
    assert isinstance(error, PermanentError)
    assert "hush" not in error.text


async def test_a_quoted_path_means_the_same_on_the_wire(open_http: Open) -> None:
    async with RawServer(http(200)) as server:
        await open_http(server.url).send("GET", "/m/a%2Fb%2Bc%20d%252F%3F%23", params={"q": "1+1&2/ä"})
    _, target, _ = server.requests[0].split(b"\r\n")[0].split(b" ")
    path, _, query = target.partition(b"?")
    assert path == b"/m/a%2Fb%2Bc%20d%252F%3F%23"
    assert parse_qs(query.decode()) == {"q": ["1+1&2/ä"]}


async def test_a_call_without_a_body_names_no_type(open_http: Open) -> None:
    async with RawServer(http(200)) as server:
        await open_http(server.url).send("POST", "/")
    head = server.requests[0].lower()
    assert b"content-type" not in head
    assert b"content-length: 0" in head
    assert b"accept-encoding: identity" in head


async def test_an_answer_is_taken_as_it_came_over_the_wire(open_http: Open) -> None:
    packed = gzip.compress(b'{"a": 1}')
    async with RawServer(http(200, packed, content_encoding="gzip")) as server:
        assert (await open_http(server.url).send("GET", "/")).body == packed


async def test_connections_are_kept_for_the_next_call(open_http: Open) -> None:
    async with KeepingServer(KEPT) as server:
        client = open_http(server.url)
        for _ in range(3):
            await client.send("POST", "/", json={})
        await client.close()
    assert (server.connections, len(server.requests)) == (1, 3)


@pytest.mark.parametrize(("method", "safe"), [("POST", None), ("PATCH", None), ("PUT", False), ("DELETE", False)])
async def test_a_call_on_a_kept_connection_that_breaks_may_have_arrived_and_is_sent_once(
    open_http: Open, method: str, safe: bool | None
) -> None:
    async with KeepingServer(KEPT, None) as server:
        client = open_http(server.url)
        await client.send("POST", "/", json={})
        assert isinstance(await failure(client.send(method, "/", json={}, safe=safe)), OutcomeUnknown)
        await client.close()
    assert len(server.requests) == 2


async def test_nobody_but_us_repeats_a_safe_call(open_http: Open) -> None:
    async with KeepingServer(KEPT, None) as server:
        client = open_http(server.url)
        await client.send("GET", "/")
        assert isinstance(await failure(client.send("GET", "/")), TemporaryError)
        await client.close()
    assert len(server.requests) == 1 + 3


async def test_a_connection_that_was_closed_between_calls_is_not_used_again(open_http: Open) -> None:
    async with KeepingServer(KEPT.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")) as server:
        client = open_http(server.url)
        for _ in range(3):
            assert (await client.send("POST", "/", json={})).status == 200
        await client.close()
    assert server.connections == 3


async def test_an_answer_that_stops_halfway_is_lost_after_the_time_to_read(open_http: Open) -> None:
    async with KeepingServer(CUT_OFF) as server:
        client = open_http(server.url, read=0.3)
        assert isinstance(await failure(client.send("POST", "/")), OutcomeUnknown)
        await client.close()


async def test_a_cancelled_call_leaves_no_connection_behind(open_http: Open) -> None:
    async with KeepingServer(KEPT) as server:
        server.proceed.clear()
        call = asyncio.create_task(open_http(server.url, read=60.0).send("POST", "/"))
        await wait_until(lambda: bool(server.requests))
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        server.proceed.set()
        await wait_until(lambda: server.open == 0)


async def test_hundreds_of_calls_are_in_flight_at_once_on_one_client(open_http: Open) -> None:
    async with KeepingServer(KEPT) as server:
        server.proceed.clear()
        client = open_http(server.url, connect=10.0, read=20.0, deadline=20.0)
        calls = [asyncio.create_task(client.send("POST", "/", json={})) for _ in range(300)]
        await wait_until(lambda: len(server.requests) == 300, 10)
        server.proceed.set()
        assert {answer.status for answer in await asyncio.gather(*calls)} == {200}
        await client.close()


async def test_a_host_has_room_for_so_many_calls_of_all_clients_and_other_hosts_have_their_own(
    open_http: Open,
) -> None:
    hosts = Hosts(limit=2)
    async with KeepingServer(KEPT) as server, RawServer(http(200)) as other:
        server.proceed.clear()
        clients = [open_http(server.url, hosts=hosts, connect=0.3, read=20.0) for _ in range(2)]
        calls = [asyncio.create_task(client.send("POST", "/")) for client in clients]
        await wait_until(lambda: len(server.requests) == 2)
        assert isinstance(await failure(clients[0].send("POST", "/")), NoRoom)
        assert (await clients[0].at(other.url).send("GET", "/")).status == 200
        waiting = asyncio.create_task(open_http(server.url, hosts=hosts, read=20.0).send("POST", "/"))
        server.proceed.set()
        assert {answer.status for answer in await asyncio.gather(*calls, waiting)} == {200}
        assert len(server.requests) == 3
        await asyncio.gather(*(client.close() for client in clients))


async def test_a_call_is_not_sent_by_who_may_no_longer_make_it(open_http: Open) -> None:
    """Asked with a wire open, new or kept."""
    async with KeepingServer(KEPT) as server:
        client = open_http(server.url)
        for times in range(2):
            fenced = FENCE.set(lambda: False)
            assert isinstance(await failure(client.send("POST", "/")), NoRoom)
            FENCE.reset(fenced)
            assert len(server.requests) == times
            assert (await client.send("POST", "/")).status == 200
        assert server.connections == 1
        await client.close()


@pytest.mark.parametrize(
    ("method", "reply", "known"),
    [
        ("GET", KEPT, NoRoom),
        ("POST", KEPT, OutcomeUnknown),
        ("POST", REFUSED, NoRoom),
        ("POST", None, OutcomeUnknown),
        ("POST", BROKEN, OutcomeUnknown),
    ],
    ids=["asked", "done", "refused its token", "maybe done", "maybe done by one that is broken"],
)
async def test_nobody_knows_what_a_call_did_that_stops_after_one_of_its_requests(
    open_http: Open, method: str, reply: bytes | None, known: type[ProviderError]
) -> None:
    async with KeepingServer(reply) as server:
        client, heard = open_http(server.url), Heard()
        watching = HEARD.set(heard)
        with contextlib.suppress(ProviderError):
            await client.send(method, "/first")
        fenced = FENCE.set(lambda: False)
        stopped = await failure(client.send("PATCH", "/second", safe=True))
        FENCE.reset(fenced)
        HEARD.reset(watching)
        assert type(stopped) is known
        if isinstance(stopped, OutcomeUnknown):
            assert stopped.well == (reply == KEPT)
        assert len(heard.statuses) == (reply is not None)
        await client.close()


async def test_nobody_knows_what_a_call_did_that_is_stopped_when_it_is_repeated(open_http: Open) -> None:
    async with KeepingServer(None) as server:
        client, may = open_http(server.url), [True]
        watching, fenced = HEARD.set(Heard()), FENCE.set(lambda: bool(may) and may.pop())
        stopped = await failure(client.send("PATCH", "/", safe=True))
        assert isinstance(stopped, OutcomeUnknown)
        assert not stopped.well
        FENCE.reset(fenced)
        HEARD.reset(watching)
        assert len(server.requests) == 1
        await client.close()


async def test_a_call_whose_time_ends_before_there_is_room_was_never_sent(open_http: Open) -> None:
    hosts = Hosts(limit=1)
    async with KeepingServer(KEPT) as server:
        server.proceed.clear()
        first = asyncio.create_task(open_http(server.url, hosts=hosts, read=20.0).send("POST", "/"))
        await wait_until(lambda: len(server.requests) == 1)
        late = open_http(server.url, hosts=hosts, connect=10.0, deadline=0.2)
        assert isinstance(await failure(late.send("POST", "/")), TemporaryError)
        server.proceed.set()
        await first
        assert len(server.requests) == 1


@pytest.mark.parametrize(("status", "well"), [(429, True), (425, True), (503, False), (408, False)])
async def test_a_vendor_that_only_wants_fewer_calls_is_well(open_http: Open, status: int, well: bool) -> None:
    async with RawServer(http(status, retry_after="1")) as server:
        error = await failure(open_http(server.url).send("PUT", "/"))
    assert isinstance(error, TemporaryError)
    assert error.well is well


async def test_a_vendors_own_limit_is_well_too(open_http: Open) -> None:
    async with RawServer(http(403)) as server:
        client = open_http(server.url, explain=lambda answer: TemporaryError("The daily limit is reached."))
        error = await failure(client.send("POST", "/"))
    assert isinstance(error, TemporaryError)
    assert error.well


class Tokens:
    """Gives out tokens in turn, and remembers which ones were refused."""

    def __init__(self, *tokens: str | ProviderError) -> None:
        self._tokens = list(tokens)
        self.refused: list[str | None] = []

    def on_behalf_of(self, _: Delegation) -> "Tokens":
        return self

    async def token(self, refused: str | None = None) -> str:
        """The next one."""
        self.refused.append(refused)
        token = self._tokens.pop(0)
        if isinstance(token, ProviderError):
            raise token
        return token


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
async def test_a_refused_token_is_replaced_once_and_the_call_made_again(open_http: Open, method: str) -> None:
    """Whatever the method: what was refused was not done."""
    tokens = Tokens("first", "second")
    async with RawServer(http(401), http(200)) as server:
        answer = await open_http(server.url, authorizer=tokens).send(method, "/", json={"a": 1})
    assert (answer.status, tokens.refused) == (200, [None, "first"])
    sent = [request.lower() for request in server.requests]
    assert [b"authorization: bearer first" in sent[0], b"authorization: bearer second" in sent[1]] == [True, True]
    assert all(request.endswith(b'{"a":1}') for request in sent)


async def test_a_second_refusal_is_a_dead_account(open_http: Open) -> None:
    async with RawServer(http(401)) as server:
        error = await failure(open_http(server.url, authorizer=Tokens("first", "second")).send("POST", "/"))
        assert (type(error), len(server.requests)) == (ReconnectRequired, 2)


async def test_without_a_token_nothing_is_sent(open_http: Open) -> None:
    async with RawServer(http(200)) as server:
        client = open_http(server.url, authorizer=Tokens(ReconnectRequired("dead")))
        assert (await failure(client.send("POST", "/"))).text == "dead"
        assert server.requests == []


async def test_another_base_url_keeps_the_authorizer(open_http: Open) -> None:
    async with RawServer(http(200)) as server:
        client = open_http("http://127.0.0.1:1", authorizer=Tokens("first")).at(server.url)
        await client.send("GET", "/")
        assert client.base_url == server.url
    assert b"bearer first" in server.requests[0].lower()
