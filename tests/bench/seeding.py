"""A Temporal server for a benchmark, with rows inserted into its visibility database."""

import asyncio
import random
import sqlite3
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from temporal_slo.runs.microseconds import SECOND
from temporal_slo.servers.temporal import TemporalServer, ensure_namespace

NAMESPACE: Final = "bench"
TYPES: Final = tuple(f"Bench{number:02}" for number in range(20))
QUEUE: Final = "bench-nobody"
STEP: Final = SECOND // 7
"""Microseconds between the close times of seeded rows."""

OPTIONS: Final = ("--headless", "--dynamic-config-value", "frontend.persistenceMaxQPS=1000000")
"""The server reads search attributes for every listed row; its default of 2,000 QPS rejects a fast loop."""

RUNNING: Final = 1
CLOSED: Final = (2,) * 8 + (4, 6)
"""Statuses of closed rows that are counted without their close event."""

COLUMNS: Final = (
    *("namespace_id", "run_id", "_version", "start_time", "execution_time", "close_time", "workflow_id"),
    *("workflow_type_name", "status", "history_length", "history_size_bytes", "execution_duration"),
    *("state_transition_count", "memo", "encoding", "task_queue", "root_workflow_id", "root_run_id"),
)
INSERT: Final = f"INSERT INTO executions_visibility ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 constants

# Fixed seed: every run of a benchmark stores the same rows.
_random: Final = random.Random(7)  # noqa: S311 no secret

Row = tuple[Any, ...]


@dataclass
class Namespace:
    """NAMESPACE on a server.

    Attributes:
        client: Client of NAMESPACE.
        namespace_id: ID of the namespace in rows.
        rows: Number of closed rows stored.
    """

    client: Client
    namespace_id: str
    rows: int = 0

    def closed(self, count: int, newest: int, step: int = STEP) -> Iterator[Row]:
        """Yield closed rows, newest first, the order of the indexes of the server."""
        for number in range(count):
            yield _row(self.namespace_id, newest - number * step, _random.choice(CLOSED))

    def open(self, count: int, newest: int) -> Iterator[Row]:
        """Yield rows of open runs, newest first."""
        for number in range(count):
            yield _row(self.namespace_id, newest - number * STEP, RUNNING)


@dataclass(kw_only=True)
class Site(Namespace):
    """A development server and its database."""

    server: TemporalServer
    database: Path

    async def fill(self, rows: Iterable[Row]) -> None:
        """Store many rows while the server is stopped, without a journal."""
        # Killed, because a graceful stop takes a second and the server has no work in flight.
        self.server.child.kill()
        await asyncio.to_thread(_insert, self.database, rows, "PRAGMA journal_mode=OFF; PRAGMA cache_size=-500000;")
        self.server.restart()
        await ensure_namespace(await self.server.ready(), NAMESPACE)

    def add(self, rows: list[Row]) -> None:
        """Store a few rows while the server is running."""
        _insert(self.database, rows, "")
        self.rows += len(rows)


@asynccontextmanager
async def seeded(
    folder: Path, rows: int, newest: int, step: int = STEP, options: Sequence[str] = ()
) -> AsyncIterator[Site]:
    """Start a server with *rows* closed runs, the newest closed at *newest*, in microseconds."""
    folder.mkdir()
    server = TemporalServer(folder, durable=True, options=[*OPTIONS, *options])
    try:
        client = await server.ready()
        client, namespace_id = await created_namespace(client)
        site = Site(client, namespace_id, server=server, database=folder / "temporal.db")
        await site.fill(site.closed(rows, newest, step))
        site.rows = rows
        yield site
    finally:
        server.child.kill()


async def created_namespace(client: Client) -> tuple[Client, str]:
    """Create NAMESPACE, and return its client and its ID."""
    await ensure_namespace(client, NAMESPACE)
    client = Client(client.service_client, namespace=NAMESPACE)
    about = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=NAMESPACE))
    return client, about.namespace_info.id


def _insert(database: Path, rows: Iterable[Row], pragmas: str) -> None:
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.executescript(f"PRAGMA synchronous=OFF; {pragmas}")
        connection.executemany(INSERT, rows)


def _row(namespace_id: str, time: int, status: int) -> Row:
    """Return a run that closed at *time*, or started then if it is open."""
    run_id = str(uuid.UUID(int=(time // 1000 << 80) | _random.getrandbits(80)))
    duration = 0 if status == RUNNING else round(SECOND * 10 ** _random.uniform(-2, 4))
    start = _timestamp(time - duration)
    close = (None,) * 5 if status == RUNNING else (_timestamp(time), 11, 1234, duration * 1000, 5)
    closed, length, size, nanoseconds, transitions = close
    workflow_id, kind = f"bench-{run_id}", _random.choice(TYPES)
    return (
        *(namespace_id, run_id, 1048576, start, start, closed, workflow_id),
        *(kind, status, length, size, nanoseconds, transitions, b"", "Proto3", QUEUE, workflow_id, run_id),
    )


def _timestamp(time: int) -> str:
    seconds, microseconds = divmod(time, SECOND)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{microseconds:06}+00:00"
