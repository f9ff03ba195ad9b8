"""The Prometheus client: malformed responses, URLs, and credentials that stay secret."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from temporal_slo.check.prometheus import RESPONSE_MAX, PrometheusAccess, PrometheusClient, PrometheusError, Target
from temporal_slo.errors import UsageError
from temporal_slo.servers.process import LOOPBACK

SECRET = "s3cret-token-of-mine"  # noqa: S105 of no system
SECOND = timedelta(seconds=1)
Responder = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(
    respond: Responder, heads: list[str] | None = None, token: str | None = None
) -> AsyncIterator[PrometheusClient]:
    """Yield a client of a server that responds with *respond*."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if heads is not None:
                heads.append(head.decode())
            await respond(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    client = PrometheusClient(PrometheusAccess(f"http://{LOOPBACK}:{port}", token, SECOND))
    try:
        yield client
    finally:
        await client.close()
        server.close()


def body_of(body: bytes | object, status: str = "200 OK", *more: str) -> Responder:
    """Always respond with this body."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def respond(writer: asyncio.StreamWriter) -> None:
        head = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *more))
        writer.write(head.encode() + b"\r\n\r\n" + content)

    return respond


async def timeout(_: asyncio.StreamWriter) -> None:
    """Do not respond within the timeout."""
    await asyncio.sleep(5)


def success(data: object) -> Responder:
    """Respond with a successful result."""
    return body_of({"status": "success", "data": data})


@pytest.mark.parametrize(
    ("respond", "message"),
    [
        (body_of(b"<html>hello"), "answered 200 to query: this is not the API of a Prometheus"),
        (body_of(b"no", "401 Unauthorized"), "answered 401 to query"),
        (body_of(b"", "302 Found", "Location: http://elsewhere.example/"), "answered 302 to query"),
        (body_of({"status": "error", "error": "too\nmany"}, "503 Busy"), "answered 503 to query: too many"),
        (body_of([1]), "this is not the API of a Prometheus"),
        (success({"result": [{"metric": {}, "value": []}]}), "malformed response to query"),
        (success(None), "malformed response to query"),
        (body_of(b" " * (RESPONSE_MAX + 1)), "answered with more than 16 MiB"),
        (timeout, "no answer from"),
    ],
    ids=["html", "unauthorized", "redirect", "error", "list", "row", "null", "too-large", "timeout"],
)
async def test_bad_responses(respond: Responder, message: str) -> None:
    """Every bad response is reported in one line."""
    async with serving(respond) as prometheus:
        with pytest.raises(PrometheusError) as caught:
            await prometheus.query("x")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


async def test_credential_is_secret() -> None:
    """The credential is sent to the address, and is in no error and no repr."""
    heads: list[str] = []
    quoting = body_of({"status": "error", "error": f"\x1b[31mbad token {SECRET}"}, "401 Unauthorized")
    async with serving(quoting, heads, f"Bearer {SECRET}") as prometheus:
        with pytest.raises(PrometheusError) as caught:
            await prometheus.query("x")
        assert SECRET not in repr(prometheus) + repr(prometheus.access) + str(caught.value)
        assert str(caught.value).endswith(r"\x1b[31mbad token [hidden]")
    assert f"authorization: Bearer {SECRET}".lower() in heads[0].lower()


async def test_cache() -> None:
    """The same query is sent once."""
    heads: list[str] = []
    async with serving(success({"result": [{"metric": {"a": "b"}, "value": [1, "2.5"]}]}), heads) as prometheus:
        assert await prometheus.value("x") == 2.5
        assert await prometheus.value("x") == 2.5
    assert len(heads) == 1


async def test_stores_without_endpoints() -> None:
    """A store without an endpoint for targets, rules or retention is no error; their values are unknown."""
    async with serving(body_of(b"404 page not found", "404 Not Found")) as prometheus:
        assert await prometheus.targets() is None
        assert await prometheus.rules() is None
        assert await prometheus.retention() is None
        with pytest.raises(PrometheusError, match="answered 404 to query"):
            await prometheus.query("x")


async def test_targets() -> None:
    """A target has its scrape interval and error; malformed values are unknown."""
    row = {"labels": {"job": "j", "instance": "i"}, "scrapeInterval": "1m", "health": "down", "lastError": "refused"}
    async with serving(success({"activeTargets": [row, {"labels": {}, "scrapeInterval": "?"}, 7]})) as prometheus:
        assert await prometheus.targets() == (
            Target("j", "i", up=False, error="refused", interval=timedelta(minutes=1)),
            Target("", ""),
        )


async def test_malformed_rules() -> None:
    """Rules in another format are an error."""
    async with serving(success({"groups": [{"rules": [{"name": "r"}]}]})) as prometheus:
        with pytest.raises(PrometheusError, match="malformed response to rules"):
            await prometheus.rules()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:9090",
        "ftp://host",
        "http://",
        "http://host:99999",
        "http://host:x",
        "http://ho\x1bst",
    ],
)
def test_bad_url(url: str) -> None:
    """An invalid URL is a usage error, in which control characters are escaped."""
    with pytest.raises(UsageError, match=r"^--prometheus: .* is not a URL") as caught:
        PrometheusAccess.of(url, None, SECOND)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "url",
    [
        f"http://me:{SECRET}@host",
        f"me:{SECRET}@host:9090",
        f"http://me:{SECRET}@host:99999",
        f"http://host:9090?token={SECRET}",
        f"http://host:9090/x#token={SECRET}",
        f"host?{SECRET}",
    ],
)
def test_secret_in_url(url: str) -> None:
    """A secret in a URL is refused and not quoted, even if the URL is also invalid."""
    with pytest.raises(UsageError, match="--prometheus-token-file") as caught:
        PrometheusAccess.of(url, None, SECOND)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "header"),
    [
        (f"{SECRET}\n", f"Bearer {SECRET}"),
        (f"Bearer {SECRET}", f"Bearer {SECRET}"),
        ("Basic bWU6eA==\n", "Basic bWU6eA=="),
    ],
)
def test_token_file(tmp_path: Path, text: str, header: str) -> None:
    """The file contains a bearer token, or a complete credential."""
    (tmp_path / "token").write_text(text)
    assert PrometheusAccess.of("http://host/prometheus/", str(tmp_path / "token"), SECOND) == PrometheusAccess(
        "http://host/prometheus", header, SECOND
    )


@pytest.mark.parametrize("text", ["", "\n", f"{SECRET}\nmore", f"{SECRET}\x07", f"{SECRET}é"])
def test_bad_token_file(tmp_path: Path, text: str) -> None:
    """A malformed token file is a usage error that does not quote it."""
    (tmp_path / "token").write_text(text)
    with pytest.raises(UsageError, match="--prometheus-token-file") as caught:
        PrometheusAccess.of("http://host", str(tmp_path / "token"), SECOND)
    assert SECRET not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        PrometheusAccess.of("http://host", str(tmp_path / "none"), SECOND)
