"""Several namespaces in one process: a failure of one does not affect the others."""

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
from temporal_slo.exporter import supervisor as supervisor_module
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


class RecordingPublisher(Publisher):
    """A publisher that records the times of complete polls, and all errors."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.poll_times: defaultdict[str, list[float]] = defaultdict(list)
        self.errors: defaultdict[str, set[str]] = defaultdict(set)

    async def put(self, snapshot: Snapshot) -> None:
        """Publish and record a snapshot."""
        self.errors[snapshot.temporal_namespace].add(str(snapshot.error))
        await super().put(snapshot)
        if snapshot.last_success and not snapshot.error:
            self.poll_times[snapshot.temporal_namespace].append(time.monotonic())

    def intervals(self, namespaces: Iterable[str]) -> list[float]:
        """Return the intervals between polls, ascending."""
        pairs = (pair for name in namespaces for pair in itertools.pairwise(self.poll_times[name]))
        return sorted(after - before for before, after in pairs)


@asynccontextmanager
async def running(
    folder: Path, temporal: Temporal, *namespaces: str, pattern: str | None = None
) -> AsyncIterator[tuple[Supervisor, RecordingPublisher]]:
    """A supervisor that monitors *namespaces*, or all that match *pattern*, and its publisher."""
    url = f"sqlite:///{folder / 'ledger.db'}"
    connection = temporal.connection(namespaces[0] if namespaces else "default")
    settings = ExporterSettings(
        connection, url, ("127.0.0.1", 0), INTERVAL, namespaces=namespaces, namespace_filter=pattern or "*"
    )
    ledger = Ledger(url)
    client = await Client.connect(**connection)
    publisher = RecordingPublisher(ledger)
    common = replace(await SharedParts.of(settings, ledger), publisher=publisher, client=client)
    specs = SpecFiles(())
    supervisor = Supervisor(common, specs, Discovery(pattern, specs, namespace_lister(client)) if pattern else None)
    await supervisor.prepare()
    task = asyncio.create_task(supervisor.run())
    try:
        yield supervisor, publisher
    finally:
        task.cancel()
        await asyncio.wait([task])
        ledger.close()
        if not task.cancelled():
            task.result()


def up(publisher: Publisher) -> dict[str, float]:
    """Return the `up` metric of each namespace in a scrape."""
    text = publisher.response("", "")[0].body.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    return {sample.labels[names.NAMESPACE]: sample.value for sample in families[names.EXPORTER_UP.name].samples}


async def delete(temporal: Temporal, namespace: str) -> None:
    """Delete a namespace on the server."""
    await temporal.client.operator_service.delete_namespace(DeleteNamespaceRequest(namespace=namespace))


async def polled(publisher: RecordingPublisher, namespaces: Iterable[str], times: int) -> list[float]:
    """Wait until each of *namespaces* was polled *times* times; return the intervals between polls."""
    wanted = list(namespaces)
    enough = lambda: all(len(publisher.poll_times[name]) >= times for name in wanted)  # noqa: E731
    await wait_for(enough, deadline=110, what=f"{times} polls of {len(wanted)} namespaces")
    return publisher.intervals(wanted)


async def wait_for(condition: Callable[[], bool], *, deadline: float, what: str) -> None:
    """Wait until *condition* is true."""

    async def met() -> bool:
        return condition()

    await until(met, deadline=deadline, what=what)


def p95(values: list[float]) -> float:
    """The 95th percentile of ascending values."""
    return values[len(values) * 95 // 100]


@pytest.mark.sized
async def test_isolation(
    temporal: Temporal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, full_size: bool
) -> None:
    """An unresponsive and a deleted namespace do not slow down the polls of the other namespaces."""
    number, times = (20, 40) if full_size else (8, 8)
    namespaces = [f"supervised-{index}" for index in range(number)]
    await asyncio.gather(*map(temporal.namespace, namespaces))
    unresponsive, deleted, *others = namespaces
    (tmp_path / "alone").mkdir()
    async with running(tmp_path / "alone", temporal, others[0]) as (_, publisher):
        alone = p95(await polled(publisher, others[:1], times))

    # It accepts connections into its backlog and never responds.
    listener = socket.create_server(("127.0.0.1", 0))
    target = "{}:{}".format(*listener.getsockname())

    async def with_unresponsive_client(
        shared: SharedParts, namespace: str, slos: Sequence[BoundSlo]
    ) -> NamespaceMonitor:
        client = await Client.connect(target, lazy=True) if namespace == unresponsive else shared.client
        return await monitor(replace(shared, client=client), namespace, slos)

    monkeypatch.setattr(supervisor_module, "monitor", with_unresponsive_client)
    with listener:
        async with running(tmp_path, temporal, *namespaces) as (_, publisher):
            await delete(temporal, deleted)
            together = p95(await polled(publisher, others, times))
            print(f"{number} namespaces: p95 poll interval {together:.3f} s, alone {alone:.3f} s")
            down = lambda: up(publisher).get(deleted) == 0  # noqa: E731
            await wait_for(down, deadline=60, what="the deleted namespace to be down")
            assert (up(publisher)[unresponsive], {up(publisher)[name] for name in others}) == (0, {1})
    assert together <= 1.2 * alone


async def test_discovery(temporal: Temporal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Namespaces that match the pattern are monitored once registered, and no longer exposed once deleted."""
    monkeypatch.setattr(supervisor_module, "DISCOVERY_INTERVAL", 0.3)
    await asyncio.gather(*map(temporal.namespace, ("found-1", "lost-1")))
    async with running(tmp_path, temporal, pattern="found-*") as (_, publisher):
        await wait_for(lambda: up(publisher) == {"found-1": 1}, deadline=60, what="the first namespace")
        await temporal.namespace("found-2")
        await wait_for(lambda: up(publisher) == {"found-1": 1, "found-2": 1}, deadline=60, what="the second namespace")
        await delete(temporal, "found-1")
        await wait_for(
            lambda: up(publisher) == {"found-2": 1}, deadline=60, what="the removal of the deleted namespace"
        )


async def test_crash(temporal: Temporal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A namespace whose monitoring crashes is down and restarts from the ledger; the others are not affected."""
    await asyncio.gather(*map(temporal.namespace, ("crash-1", "crash-2")))
    run = PendingRuns.run
    async with running(tmp_path, temporal, "crash-1", "crash-2") as (supervisor, publisher):
        broken = asyncio.Event()

        async def crashing(pending_runs: PendingRuns) -> None:
            if not broken.is_set():
                broken.set()
                raise ValueError("a bug")
            await run(pending_runs)

        monkeypatch.setattr(PendingRuns, "run", crashing)
        first = supervisor.monitors["crash-1"]
        restarted = lambda: supervisor.monitors.get("crash-1", first) is not first  # noqa: E731
        await wait_for(restarted, deadline=30, what="the restart of the crashed one")
        await wait_for(lambda: up(publisher) == {"crash-1": 1, "crash-2": 1}, deadline=60, what="both up")
    crashed = "monitoring crashed; see the log"
    assert (crashed in publisher.errors["crash-1"], crashed in publisher.errors["crash-2"]) == (True, False)
