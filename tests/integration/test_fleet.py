"""Several namespaces in one process: what goes on in one touches no other."""

import asyncio
import itertools
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from temporalio.api.operatorservice.v1 import DeleteNamespaceRequest
from temporalio.client import Client

from temporal_slo import names
from temporal_slo.exporter import supervisor as module
from temporal_slo.exporter.classify.pending_runs import PendingRuns
from temporal_slo.exporter.discovery import Discovery
from temporal_slo.exporter.exposition.publisher import Publisher
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.namespace import NamespaceMonitor, SharedParts, monitor
from temporal_slo.exporter.spec_reload import SpecFiles
from temporal_slo.exporter.supervisor import Supervisor
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.servers.process import until
from temporal_slo.settings import ExporterSettings
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.temporal.namespaces import namespace_lister
from tests.conftest import Temporal

INTERVAL = timedelta(seconds=1)


class Recorded(Publisher):
    """A board that remembers when complete polls were published, and all troubles."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.moments: defaultdict[str, list[float]] = defaultdict(list)
        self.troubles: defaultdict[str, set[str]] = defaultdict(set)

    async def put(self, snapshot: Snapshot) -> None:
        """Publish, and remember when."""
        self.troubles[snapshot.temporal_namespace].add(str(snapshot.error))
        await super().put(snapshot)
        if snapshot.last_success and not snapshot.error:
            self.moments[snapshot.temporal_namespace].append(time.monotonic())

    def intervals(self, namespaces: Iterable[str]) -> list[float]:
        """Times from one poll to the next, ascending."""
        pairs = (pair for name in namespaces for pair in itertools.pairwise(self.moments[name]))
        return sorted(after - before for before, after in pairs)


@asynccontextmanager
async def running(
    folder: Path, temporal: Temporal, *namespaces: str, pattern: str | None = None
) -> AsyncIterator[tuple[Supervisor, Recorded]]:
    """A fleet that watches *namespaces*, or all that fit *pattern*, and its board."""
    url = f"sqlite:///{folder / 'fleet.db'}"
    connection = temporal.connection(namespaces[0] if namespaces else "default")
    settings = ExporterSettings(
        connection, url, ("127.0.0.1", 0), INTERVAL, namespaces=namespaces, namespace_filter=pattern or "*"
    )
    ledger = Ledger(url)
    client = await Client.connect(**connection)
    board = Recorded(ledger)
    common = replace(await SharedParts.of(settings, ledger), publisher=board, client=client)
    specs = SpecFiles(())
    fleet = Supervisor(common, specs, Discovery(pattern, specs, namespace_lister(client)) if pattern else None)
    await fleet.prepare()
    task = asyncio.create_task(fleet.run())
    try:
        yield fleet, board
    finally:
        task.cancel()
        await asyncio.wait([task])
        ledger.close()
        if not task.cancelled():
            task.result()


def up(board: Publisher) -> dict[str, float]:
    """Whether each namespace is up, as a scrape has it."""
    text = board.response("", "")[0].body.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    return {sample.labels[names.NAMESPACE]: sample.value for sample in families[names.EXPORTER_UP.name].samples}


async def delete(temporal: Temporal, namespace: str) -> None:
    """Delete a namespace, as its owner does."""
    await temporal.client.operator_service.delete_namespace(DeleteNamespaceRequest(namespace=namespace))


async def polled(board: Recorded, namespaces: Iterable[str], times: int) -> list[float]:
    """Wait until each of *namespaces* was polled so often; return the times from one poll to the next."""
    wanted = list(namespaces)
    enough = lambda: all(len(board.moments[name]) >= times for name in wanted)  # noqa: E731
    await comes(enough, deadline=110, what=f"{times} polls of {len(wanted)} namespaces")
    return board.intervals(wanted)


async def comes(condition: Callable[[], bool], *, deadline: float, what: str) -> None:
    """Wait until *condition* holds."""

    async def holds() -> bool:
        return condition()

    await until(holds, deadline=deadline, what=what)


def p95(values: list[float]) -> float:
    """The 95th percentile of ascending values."""
    return values[len(values) * 95 // 100]


@pytest.mark.sized
async def test_isolated(
    temporal: Temporal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, full_size: bool
) -> None:
    """Beside a namespace that answers nothing and one that is deleted, the others are polled as if they were alone."""
    number, times = (20, 40) if full_size else (8, 8)
    namespaces = [f"fleet-{index}" for index in range(number)]
    await asyncio.gather(*map(temporal.namespace, namespaces))
    mute, deleted, *others = namespaces
    (tmp_path / "alone").mkdir()
    async with running(tmp_path / "alone", temporal, others[0]) as (_, board):
        alone = p95(await polled(board, others[:1], times))

    # It takes connections, as its backlog does, and never answers.
    silent = socket.create_server(("127.0.0.1", 0))
    target = "{}:{}".format(*silent.getsockname())

    async def with_mute_client(shared: SharedParts, namespace: str, slos: Sequence[BoundSlo]) -> NamespaceMonitor:
        client = await Client.connect(target, lazy=True) if namespace == mute else shared.client
        return await monitor(replace(shared, client=client), namespace, slos)

    monkeypatch.setattr(module, "monitor", with_mute_client)
    with silent:
        async with running(tmp_path, temporal, *namespaces) as (_, board):
            await delete(temporal, deleted)
            together = p95(await polled(board, others, times))
            print(f"{number} namespaces: p95 from poll to poll {together:.3f} s, alone {alone:.3f} s")
            gone = lambda: up(board).get(deleted) == 0  # noqa: E731
            await comes(gone, deadline=60, what="the deleted namespace to be down")
            assert (up(board)[mute], {up(board)[name] for name in others}) == (0, {1})
    assert together <= 1.2 * alone


async def test_discovered(temporal: Temporal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Namespaces that fit the pattern are found when they are registered, and no longer shown when they are deleted."""
    monkeypatch.setattr(module, "DISCOVERY_INTERVAL", 0.3)
    await asyncio.gather(*map(temporal.namespace, ("found-1", "lost-1")))
    async with running(tmp_path, temporal, pattern="found-*") as (_, board):
        await comes(lambda: up(board) == {"found-1": 1}, deadline=60, what="the first namespace")
        await temporal.namespace("found-2")
        await comes(lambda: up(board) == {"found-1": 1, "found-2": 1}, deadline=60, what="the second namespace")
        await delete(temporal, "found-1")
        await comes(lambda: up(board) == {"found-2": 1}, deadline=60, what="one namespace less")


async def test_crash(temporal: Temporal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace whose watching ends by a bug is down, the others are not, and it begins again from the ledger."""
    await asyncio.gather(*map(temporal.namespace, ("crash-1", "crash-2")))
    run = PendingRuns.run
    async with running(tmp_path, temporal, "crash-1", "crash-2") as (fleet, board):
        broken = asyncio.Event()

        async def crashing(settler: PendingRuns) -> None:
            if not broken.is_set():
                broken.set()
                raise ValueError("a bug")
            await run(settler)

        monkeypatch.setattr(PendingRuns, "run", crashing)
        first = fleet.monitors["crash-1"]
        again = lambda: fleet.monitors.get("crash-1", first) is not first  # noqa: E731
        await comes(again, deadline=30, what="the one that crashed to begin again")
        await comes(lambda: up(board) == {"crash-1": 1, "crash-2": 1}, deadline=60, what="both again")
    crashed = "monitoring crashed; see the log"
    assert (crashed in board.troubles["crash-1"], crashed in board.troubles["crash-2"]) == (True, False)
