"""A ledger in PostgreSQL whose server fails or that another exporter locks; names with NUL in both stores."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from temporal_slo import names
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.servers.postgres import Postgres
from temporal_slo.servers.process import until
from tests.conftest import Databases, Temporal, query
from tests.ledger.test_ledger import counting
from tests.ledger.test_postgres import TERMINATE_LOCK_HOLDERS

from .exporter import Exporter
from .test_exporter import becomes_unready, close_one, exporting
from .test_ledger_faults import another_failed_poll, close, counts_exactly, total, workflow_series

FAST = ("--visibility-rate", "100", "--history-rate", "1000")
NOTICED = 30.0
ANSWERED = 2.0
"""Seconds, on a busy machine."""


@contextmanager
def paused(exporter: Exporter) -> Iterator[None]:
    """The exporter's process is stopped."""
    os.kill(exporter.child.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(exporter.child.pid, signal.SIGCONT)


async def test_server_outage(temporal: Temporal, tmp_path: Path, databases: Databases, restartable: Postgres) -> None:
    """While the ledger's server is down the exporter is down and keeps its series; then it counts all runs once."""
    namespace, url = "ledger-outage", databases.new()
    await temporal.namespace(namespace)
    async with exporting(tmp_path, temporal.address, namespace, "--ledger", url, *FAST) as exporter:
        await exporter.becomes(names.EXPORTER_UP, 1)
        await close(temporal, namespace, 3)
        await counts_exactly(exporter, 3)
        before = await workflow_series(exporter)
        closing = asyncio.create_task(close(temporal, namespace, 5))
        restartable.child.kill()
        await closing
        await exporter.becomes(names.EXPORTER_UP, 0)
        await becomes_unready(exporter, "ledger")
        await another_failed_poll(exporter)
        assert {name: set(series) for name, series in (await workflow_series(exporter)).items()} == {
            name: set(series) for name, series in before.items()
        }
        await restartable.ensure_running()
        await exporter.becomes(names.EXPORTER_UP, 1)
        await close(temporal, namespace, 1)
        await counts_exactly(exporter, 9)
        assert query(url, "SELECT sum(count), (SELECT count(*) FROM seen) FROM closed_totals") == [(9, 9)]
        log = exporter.child.log.read_text()
        assert "Traceback" not in log
        assert str(make_url(url).password) not in log


@pytest.fixture
def others() -> Iterator[list[Ledger]]:
    """Ledgers that are closed after the test."""
    others: list[Ledger] = []
    yield others
    for ledger in others:
        ledger.close()


async def test_lock_lost(temporal: Temporal, tmp_path: Path, databases: Databases, others: list[Ledger]) -> None:
    """An exporter that loses its lock reports it and writes nothing; then it continues from the other's counts."""
    namespace, url = "ledger-lock-lost", databases.new()
    client = await temporal.namespace(namespace)
    async with exporting(tmp_path, temporal.address, namespace, "--ledger", url, *FAST) as exporter:
        await exporter.becomes(names.EXPORTER_UP, 1)
        await close(temporal, namespace, 2)
        await counts_exactly(exporter, 2)
        with paused(exporter):
            query(url, TERMINATE_LOCK_HOLDERS)
            others.append(Ledger(url))
        await exporter.becomes(names.EXPORTER_UP, 0)
        await becomes_unready(exporter, "ledger")
        reason = (await exporter.http.get("/readyz")).json()["reason"]
        assert reason == "ledger: is in use by another exporter"
        await close_one(client)
        await another_failed_poll(exporter)
        assert query(url, "SELECT sum(count) FROM closed_totals") == [(2,)]
        others.pop().close()
        await exporter.becomes(names.EXPORTER_UP, 1)
        await counts_exactly(exporter, 3)
        with paused(exporter):
            query(url, TERMINATE_LOCK_HOLDERS)
            other = Ledger(url)
            await other.commit(namespace, counting(1), 1)
            other.close()

        await close_one(client)
        await until(lambda: has_counted(exporter, 5), deadline=60, what="5 counted runs")
        assert query(url, "SELECT sum(count) FROM closed_totals") == [(5,)]
        assert "another exporter has written to it" in exporter.child.log.read_text()


async def has_counted(exporter: Exporter, count: int) -> bool:
    """Return whether *count* runs are counted."""
    return await exporter.value(names.EXPORTER_UP) == 1 and await total(exporter, names.WORKFLOWS_CLOSED) == count


async def test_nul(temporal: Temporal, tmp_path: Path, ledger_url: str) -> None:
    """Names with NUL, which PostgreSQL rejects, fail no poll: the run is counted by its close event."""
    namespace = f"nul-{ledger_url[:6]}"
    client = await temporal.namespace(namespace)
    async with exporting(tmp_path, temporal.address, namespace, "--ledger", ledger_url, *FAST) as exporter:
        await exporter.becomes(names.EXPORTER_UP, 1)
        handle = await client.start_workflow("Ri\0de", id="bo\0oking", task_queue="ri\0des")
        await exporter.becomes(names.WORKFLOWS_RUNNING, 1)
        await handle.terminate()
        await exporter.becomes(names.WORKFLOWS_CLOSED, 1)
        ((labels, _),) = (await exporter.series(names.WORKFLOWS_CLOSED)).items()
        assert dict(labels)[names.WORKFLOW_TYPE] == "Ri\u2400de"
        ((labels, _),) = (await exporter.series(names.WORKFLOW_FAILURES)).items()
        # "unknown" without the close event.
        assert dict(labels)[names.FAILURE_TYPE] == "terminated"
        assert await exporter.value(names.EXPORTER_UP) == 1
    assert query(ledger_url, "SELECT workflow_type, task_queue FROM closed_totals") == [("Ri\u2400de", "ri\u2400des")]


async def test_server_hangs(temporal: Temporal, tmp_path: Path, databases: Databases, restartable: Postgres) -> None:
    """While the ledger's server hangs, the exporter is down within 30 s and answers; then it counts all runs once."""
    namespace, url = "ledger-hangs", databases.new()
    await temporal.namespace(namespace)
    async with exporting(tmp_path, temporal.address, namespace, "--ledger", url, *FAST) as exporter:
        await exporter.becomes(names.EXPORTER_UP, 1)
        await close(temporal, namespace, 2)
        await counts_exactly(exporter, 2)
        with restartable.paused():
            began = time.monotonic()
            slowest = 0.0
            closing = asyncio.create_task(close(temporal, namespace, 3))

            async def is_down() -> bool:
                nonlocal slowest
                for path in ("/healthz", "/metrics"):
                    asked = time.monotonic()
                    assert (await exporter.http.get(path)).is_success
                    slowest = max(slowest, time.monotonic() - asked)
                return await exporter.value(names.EXPORTER_UP) == 0

            await until(is_down, deadline=60, what="up 0")
            noticed = time.monotonic() - began
            await closing
            await becomes_unready(exporter, "ledger")
        await exporter.becomes(names.EXPORTER_UP, 1)
        await counts_exactly(exporter, 5)
        assert (noticed < NOTICED, slowest < ANSWERED) == (True, True), (noticed, slowest)
        print(f"noticed after {noticed:.1f} s; slowest response {1000 * slowest:.0f} ms")
        assert "Traceback" not in exporter.child.log.read_text()
