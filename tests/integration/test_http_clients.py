"""The exporter's HTTP server, and the clients that it meets: probes, silent ones, slow readers, many scrapers."""

import asyncio
import resource
import shutil
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from temporal_slo import names
from temporal_slo.exporter.connections import TIMEOUTS
from temporal_slo.names.values import OVER_LIMIT, SLOW_REQUEST
from temporal_slo.servers.process import until
from tests.conftest import Temporal

from .exporter import Exporter

FILES = 256
SILENT = 1_100
EXAMPLE = Path(__file__).parents[2] / "deploy" / "slos"
SCRAPERS = 50
POLL_INTERVAL = 1.0


@asynccontextmanager
async def exporting(folder: Path, address: str, *options: str, files: int = FILES) -> AsyncIterator[Exporter]:
    """An exporter that may open few files."""
    exporter = Exporter(folder, address, "default", *options, prefix=("prlimit", f"--nofile={files}", "--"))
    try:
        yield await exporter.started()
    finally:
        print(exporter.child.tail(20))
        await exporter.stop()


@contextmanager
def connections(target: str, count: int) -> Iterator[list[socket.socket]]:
    """Connections that send nothing."""
    host, port = target.split(":")
    with ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection((host, int(port)), 10)) for _ in range(count)]


async def disconnects(exporter: Exporter) -> dict[str, float]:
    """Scrape and return how many connections the exporter has ended, by reason."""
    series = await exporter.series(names.EXPORTER_HTTP_DISCONNECTS)
    return {dict(labels)[names.REASON]: value for labels, value in series.items()}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_head(tmp_path: Path, path: str) -> None:
    """HEAD gets the status and the headers of GET, and no body."""
    async with exporting(tmp_path, "127.0.0.1:1") as exporter:
        get, head = await exporter.http.get(path), await exporter.http.head(path)
        for response in (get, head):
            response.headers.pop("date")
            # A poll between the two changes the length of /metrics.
            assert int(response.headers.pop("content-length")) > 0
        assert (head.status_code, head.headers, head.content) == (get.status_code, get.headers, b"")
        assert get.content


async def test_silent_connections(temporal: Temporal, tmp_path: Path) -> None:
    """1,100 connections that say nothing do not disturb an exporter that may open 256 files."""
    async with exporting(tmp_path, temporal.address) as exporter:
        await exporter.becomes(names.EXPORTER_UP, 1)
        with connections(exporter.target, SILENT):
            async with httpx.AsyncClient(base_url=exporter.http.base_url, timeout=5) as other:
                for _ in range(20):
                    assert (await other.get("/healthz", headers={"connection": "close"})).is_success
            assert await exporter.value(names.EXPORTER_HTTP_CONNECTIONS_MAX) == FILES / 2
            polled = await exporter.value(names.EXPORTER_LAST_SUCCESS)

            async def replaced() -> bool:
                assert (await exporter.value(names.EXPORTER_UP)) == 1
                now = await exporter.value(names.EXPORTER_LAST_SUCCESS)
                ended = await disconnects(exporter)
                return now != polled and ended[OVER_LIMIT] >= SILENT - FILES / 2

            await until(replaced, deadline=20, what="polls, and replaced connections")
            assert await exporter.value(names.EXPORTER_HTTP_ACCEPT_ERRORS) == 0


async def test_silent_clients_are_disconnected(tmp_path: Path) -> None:
    """A client that sends nothing, or a request byte by byte, is disconnected after ten seconds, and counted."""
    async with exporting(tmp_path, "127.0.0.1:1") as exporter:
        with connections(exporter.target, 2) as (silent, slow):
            began = time.monotonic()
            slow.sendall(b"GET /metrics HTTP/1.1\r\n")

            async def ended() -> bool:
                await asyncio.to_thread(_send, slow, b"x")
                return (await disconnects(exporter)).get(SLOW_REQUEST) == 2

            await until(ended, deadline=20, what="disconnects")
            assert time.monotonic() - began > TIMEOUTS[SLOW_REQUEST] - 1
            assert silent.recv(1) == b""


def _send(connection: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        connection.sendall(data)


async def test_out_of_files(temporal: Temporal, tmp_path: Path) -> None:
    """An exporter that can open no file survives: it accepts no connections, and works once there are files again."""
    spec = tmp_path / "spec.yaml"
    shutil.copy(next(EXAMPLE.glob("*.yaml")), spec)
    async with exporting(tmp_path, temporal.address, "--spec", str(spec)) as exporter:
        await exporter.becomes(names.EXPORTER_UP, 1)
        resource.prlimit(exporter.child.pid, resource.RLIMIT_NOFILE, (5, FILES))
        spec.touch()
        with connections(exporter.target, 3):

            async def noticed() -> bool:
                exporter.child.check()
                log = exporter.child.tail(100)
                return "could not be accepted" in log and "spec reload failed" in log

            await until(noticed, deadline=30, what="refused connections and a failed reload")
        resource.prlimit(exporter.child.pid, resource.RLIMIT_NOFILE, (FILES, FILES))

        async def accepted() -> bool:
            exporter.child.check()
            try:
                return ((await exporter.value(names.EXPORTER_HTTP_ACCEPT_ERRORS)) or 0) > 0
            except httpx.TransportError:
                return False

        await until(accepted, deadline=20, what="accepted connections")
        await exporter.becomes(names.EXPORTER_UP, 1)
        assert exporter.child.tail(1000).count("could not be accepted") == 1


async def interval(exporter: Exporter, polls: int) -> float:
    """Return the mean time between two polls over at least so many; each makes two requests."""

    async def requested() -> float:
        return sum((await exporter.series(names.EXPORTER_VISIBILITY_REQUESTS)).values())

    before, began = await requested(), time.monotonic()

    async def enough() -> float | None:
        made = await requested() - before
        return made if made >= 2 * polls else None

    made = await until(enough, deadline=5 * polls * POLL_INTERVAL, what="polls")
    return 2 * (time.monotonic() - began) / made


async def scrape_each_second(target: str, delay: float, durations: list[float]) -> None:
    """Scrape once a second until cancelled, with a connection each, and append how long each scrape took."""
    host, port = target.split(":")
    await asyncio.sleep(delay)
    while True:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(
                b"GET /metrics HTTP/1.1\r\nhost: exporter\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n"
            )
            assert (await reader.read()).startswith(b"HTTP/1.1 200")
        finally:
            writer.close()
            await writer.wait_closed()
        durations.append(time.monotonic() - began)
        await asyncio.sleep(max(0.0, began + 1 - time.monotonic()))


@pytest.mark.sized
async def test_many_scrapers(temporal: Temporal, tmp_path: Path, *, full_size: bool) -> None:
    """50 scrapers, each once a second, do not lengthen the interval between polls."""
    polls = 60 if full_size else 10
    async with exporting(tmp_path, temporal.address, "--poll-interval", "1s", files=1024) as exporter:
        await exporter.becomes(names.EXPORTER_UP, 1)
        alone = await interval(exporter, polls)
        durations = list[float]()
        async with asyncio.TaskGroup() as scrapers:
            started = [
                scrapers.create_task(scrape_each_second(exporter.target, number / SCRAPERS, durations))
                for number in range(SCRAPERS)
            ]
            crowded = await interval(exporter, polls)
            for one in started:
                one.cancel()
    slowest = max(durations)
    print(f"poll interval: {alone:.3f} s alone, {crowded:.3f} s with {len(durations)} scrapes; slowest {slowest:.3f} s")
    assert len(durations) > SCRAPERS * polls * POLL_INTERVAL / 2
    assert crowded <= 1.5 * POLL_INTERVAL
