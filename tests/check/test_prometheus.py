"""What a Prometheus, or something else at its address, may answer; and what is kept from whom."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from temporal_slo.check.prometheus import ANSWER_MAX, Access, Prometheus, PrometheusError, Target
from temporal_slo.errors import UsageError
from temporal_slo.servers.process import LOOPBACK

SECRET = "s3cret-token-of-mine"  # noqa: S105 it opens nothing
SECOND = timedelta(seconds=1)
Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(
    answer: Answer, heads: list[str] | None = None, token: str | None = None
) -> AsyncIterator[Prometheus]:
    """A Prometheus at an address where *answer* answers."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if heads is not None:
                heads.append(head.decode())
            await answer(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    asks = Prometheus(Access(f"http://{LOOPBACK}:{port}", token, SECOND))
    try:
        yield asks
    finally:
        await asks.close()
        server.close()


def page(body: bytes | object, status: str = "200 OK", *more: str) -> Answer:
    """What answers always the same."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def answer(writer: asyncio.StreamWriter) -> None:
        head = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *more))
        writer.write(head.encode() + b"\r\n\r\n" + content)

    return answer


async def silence(_: asyncio.StreamWriter) -> None:
    """Answer nothing, for longer than anybody waits."""
    await asyncio.sleep(5)


def good(data: object) -> Answer:
    """What answers well."""
    return page({"status": "success", "data": data})


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (page(b"<html>hello"), "answered 200 to query: no API of a Prometheus is there"),
        (page(b"no", "401 Unauthorized"), "answered 401 to query"),
        (page(b"", "302 Found", "Location: http://elsewhere.example/"), "answered 302 to query"),
        (page({"status": "error", "error": "too\nmany"}, "503 Busy"), "answered 503 to query: too many"),
        (page([1]), "no API of a Prometheus"),
        (good({"result": [{"metric": {}, "value": []}]}), "its answer to query cannot be read"),
        (good(None), "its answer to query cannot be read"),
        (page(b" " * (ANSWER_MAX + 1)), "answered more than 16 MB"),
        (silence, "no answer from"),
    ],
    ids=["page", "refused", "elsewhere", "error", "list", "row", "null", "flood", "silence"],
)
async def test_bad_answers(answer: Answer, said: str) -> None:
    """Whatever stands at the address, one line says what it did."""
    async with answering(answer) as prometheus:
        with pytest.raises(PrometheusError) as caught:
            await prometheus.query("x")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


async def test_secret_stays() -> None:
    """The secret goes to that address alone, and stands in no error and no repr."""
    heads: list[str] = []
    quoting = page({"status": "error", "error": f"\x1b[31mbad token {SECRET}"}, "401 Unauthorized")
    async with answering(quoting, heads, f"Bearer {SECRET}") as prometheus:
        with pytest.raises(PrometheusError) as caught:
            await prometheus.query("x")
        assert SECRET not in repr(prometheus) + repr(prometheus.access) + str(caught.value)
        assert str(caught.value).endswith(r"\x1b[31mbad token [hidden]")
    assert f"authorization: Bearer {SECRET}".lower() in heads[0].lower()


async def test_asked_once() -> None:
    """The same question is asked once."""
    heads: list[str] = []
    async with answering(good({"result": [{"metric": {"a": "b"}, "value": [1, "2.5"]}]}), heads) as prometheus:
        assert await prometheus.value("x") == 2.5
        assert await prometheus.value("x") == 2.5
    assert len(heads) == 1


async def test_stores_without_pages() -> None:
    """A store that keeps no targets, rules or retention does not know; that is no error."""
    async with answering(page(b"404 page not found", "404 Not Found")) as prometheus:
        assert await prometheus.targets() is None
        assert await prometheus.rules() is None
        assert await prometheus.retention() is None
        with pytest.raises(PrometheusError, match="answered 404 to query"):
            await prometheus.query("x")


async def test_targets() -> None:
    """A target is told with its interval and its error; what cannot be read of it is not known."""
    row = {"labels": {"job": "j", "instance": "i"}, "scrapeInterval": "1m", "health": "down", "lastError": "refused"}
    async with answering(good({"activeTargets": [row, {"labels": {}, "scrapeInterval": "?"}, 7]})) as prometheus:
        assert await prometheus.targets() == (
            Target("j", "i", well=False, error="refused", interval=timedelta(minutes=1)),
            Target("", ""),
        )


async def test_rules_of_another_kind() -> None:
    """An answer that is none of a Prometheus is refused."""
    async with answering(good({"groups": [{"rules": [{"name": "r"}]}]})) as prometheus:
        with pytest.raises(PrometheusError, match="its answer to rules cannot be read"):
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
    """What is no URL is a mistake of the user, and printed without what a terminal obeys."""
    with pytest.raises(UsageError, match=r"^--prometheus: .* is not a URL") as caught:
        Access.of(url, None, SECOND)
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
    """A secret in a URL is refused, and not repeated, whatever else is wrong with it."""
    with pytest.raises(UsageError, match="--prometheus-token-file") as caught:
        Access.of(url, None, SECOND)
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
    """A file holds a token, or a whole header."""
    (tmp_path / "token").write_text(text)
    assert Access.of("http://host/prometheus/", str(tmp_path / "token"), SECOND) == Access(
        "http://host/prometheus", header, SECOND
    )


@pytest.mark.parametrize("text", ["", "\n", f"{SECRET}\nmore", f"{SECRET}\x07", f"{SECRET}é"])
def test_bad_token_file(tmp_path: Path, text: str) -> None:
    """What is no token is a mistake of the user, and not repeated."""
    (tmp_path / "token").write_text(text)
    with pytest.raises(UsageError, match="--prometheus-token-file") as caught:
        Access.of("http://host", str(tmp_path / "token"), SECOND)
    assert SECRET not in str(caught.value)
    with pytest.raises(UsageError, match="cannot be read"):
        Access.of("http://host", str(tmp_path / "none"), SECOND)
