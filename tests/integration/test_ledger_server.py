"""A ledger in PostgreSQL whose server goes away, or that another exporter takes; and names that no text can hold."""

import asyncio
import os
import signal
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
from .test_ledger_faults import close, counts_exactly, figures, keeps_failing, total

FAST = ("--visibility-rate", "100", "--history-rate", "1000")


@contextmanager
def paused(exporter: Exporter) -> Iterator[None]:
    """The exporter's process stands still."""
    os.kill(exporter.child.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(exporter.child.pid, signal.SIGCONT)


async def test_server_goes_away(
    temporal: Temporal, tmp_path: Path, databases: Databases, restartable: Postgres
) -> None:
    """While the ledger's server is away the exporter says so and keeps its figures; then it counts all runs once."""
    namespace, url = "ledger-away", databases.new()
    await temporal.namespace(namespace)
    async with exporting(tmp_path, temporal.address, namespace, "--ledger", url, *FAST) as exporter:
        await exporter.becomes(names.EXPORTER_UP, 1)
        await close(temporal, namespace, 3)
        await counts_exactly(exporter, 3)
        good = await figures(exporter)
        closing = asyncio.create_task(close(temporal, namespace, 5))
        restartable.child.kill()
        await closing
        await exporter.becomes(names.EXPORTER_UP, 0)
        await becomes_unready(exporter, "ledger")
        await keeps_failing(exporter)
        assert {name: set(series) for name, series in (await figures(exporter)).items()} == {
            name: set(series) for name, series in good.items()
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
    """Ledgers that are closed in the end."""
    others: list[Ledger] = []
    yield others
    for ledger in others:
        ledger.close()


async def test_taken_over(temporal: Temporal, tmp_path: Path, databases: Databases, others: list[Ledger]) -> None:
    """An exporter that loses its ledger to another says so and writes nothing; then it has what that one counted."""
    namespace, url = "ledger-taken", databases.new()
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
        await keeps_failing(exporter)
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
        await until(lambda: adds_up(exporter, 5), deadline=60, what="5 counted runs")
        assert query(url, "SELECT sum(count) FROM closed_totals") == [(5,)]
        assert "another exporter has written to it" in exporter.child.log.read_text()


async def adds_up(exporter: Exporter, count: int) -> bool:
    """Whether so many runs are counted."""
    return await exporter.value(names.EXPORTER_UP) == 1 and await total(exporter, names.WORKFLOWS_CLOSED) == count


async def test_nul(temporal: Temporal, tmp_path: Path, ledger_url: str) -> None:
    """Names with the character 0, which PostgreSQL refuses, stop no poll: each run is counted, by its close event."""
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
        # "unknown" if the close event had not been found.
        assert dict(labels)[names.FAILURE_TYPE] == "terminated"
        assert await exporter.value(names.EXPORTER_UP) == 1
    assert query(ledger_url, "SELECT workflow_type, task_queue FROM closed_totals") == [("Ri\u2400de", "ri\u2400des")]
