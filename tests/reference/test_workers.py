import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from temporal_slo.cli.worker import chosen
from temporal_slo.reference.activities.service_client import ServiceClient
from temporal_slo.reference.workers.booking import booking_worker
from temporal_slo.reference.workers.process import WORKERS, run_together
from temporal_slo.reference.workflows import booking, fleet
from temporal_slo.servers.process import LOOPBACK, Child, free_port, until
from tests.conftest import Temporal

from .services_process import running_services
from .shop import CHARGE, CONFIRMED, PATIENT, Handle, Shop

NAMESPACE = "worker-tests"


@dataclass(frozen=True)
class DeployedShop(Shop):
    """A shop whose workers are processes, on the task queues of the application."""

    @property
    def task_queue(self) -> str:
        """Task queue of the booking worker."""
        return booking.TASK_QUEUE

    @property
    def fleet_queue(self) -> str:
        """Task queue of the fleet worker."""
        return fleet.TASK_QUEUE

    @contextmanager
    def worker(self, *arguments: str, **environ: str) -> Iterator[Child]:
        """Run `temporal-slo worker` inside the context."""
        config = self.client.service_client.config
        where = ("--temporal-address", config.target_host, "--temporal-namespace", self.client.namespace)
        command = (sys.executable, "-m", "temporal_slo", "worker", *arguments, *where, "--services", self.services.url)
        child = Child("worker", command, self.services.books.parent / "worker.log", {**os.environ, **environ})
        try:
            yield child
        finally:
            child.stop()


@pytest.fixture
async def deployed(temporal: Temporal, tmp_path: Path) -> AsyncIterator[DeployedShop]:
    """A shop without workers, in a namespace for these tests only."""
    async with running_services(tmp_path) as services:
        yield DeployedShop(await temporal.namespace(NAMESPACE), services)


async def logged(child: Child, text: str) -> None:
    """Wait until a process has logged a text."""

    async def found() -> bool:
        child.check()
        return text in child.tail()

    await until(found, deadline=30, what=f"{text!r} in the log")


async def events(handle: Handle, kind: EventType.ValueType) -> list[HistoryEvent]:
    """Return the events of a type in the history of a run."""
    return [event for event in (await handle.fetch_history()).events if event.event_type == kind]


async def test_all_workers(deployed: DeployedShop) -> None:
    """Without names, one process runs every worker, and its metrics count the ends of their workflows."""
    metrics = f"{LOOPBACK}:{free_port()}"
    rider = deployed.rider()
    with deployed.worker("--metrics-listen", metrics):
        assert (await (await rider.start()).result()).status == "CONFIRMED"

        async def page() -> str:
            async with httpx.AsyncClient() as http:
                text = (await http.get(f"http://{metrics}/metrics")).text
            return text if "temporal_slo_workflow_ends_total{" in text else ""

        text = await until(page, deadline=20, what="a workflow end in the metrics")
    assert rider.record() == CONFIRMED
    workers = [line for line in text.splitlines() if line.startswith("temporal_slo_worker_info{")]
    assert {
        queue for queue in ("booking", "payment", "fleet") if f'task_queue="{queue}-tasks"' in "".join(workers)
    } == {*WORKERS}
    assert 'workflow_type="BookRideWorkflow"' in text


async def test_drain(deployed: DeployedShop) -> None:
    """A worker that gets SIGTERM during a payment finishes it first; the next worker goes on after it."""
    rider = deployed.rider()
    with deployed.worker("booking") as child:
        async with rider.held_up(CHARGE):
            handle = await rider.start(PATIENT)
            await rider.called(CHARGE)
            child.terminate()
            await logged(child, "workers stop")
        # In a thread, because the services are in this one.
        assert await asyncio.to_thread(child.wait, 20) == 0
    (reserved, paid) = await events(handle, EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
    assert paid.event_id > reserved.event_id
    with deployed.worker("booking", "fleet"):
        assert (await handle.result()).status == "CONFIRMED"
    assert (await rider.calls())[CHARGE] == 1
    assert rider.record() == CONFIRMED


async def test_killed(deployed: DeployedShop) -> None:
    """A worker that is killed during a payment is replaced: the payment is attempted again and charged once."""
    rider = deployed.rider()
    async with rider.held_up(CHARGE):
        with deployed.worker("booking") as child:
            handle = await rider.start(replace(PATIENT, start_to_close=3))
            await rider.called(CHARGE)
            child.kill()
    with deployed.worker("booking", "fleet"):
        assert (await handle.result()).status == "CONFIRMED"
    assert [call["attempt"] for call in await deployed.services.calls(CHARGE, rider.user_id)] == [1, 2]
    assert rider.record() == CONFIRMED


async def test_version(deployed: DeployedShop) -> None:
    """The version in the environment is in the history, and does not keep tasks from the worker."""
    version = {"TEMPORAL_DEPLOYMENT_NAME": "rides", "TEMPORAL_WORKER_BUILD_ID": "2026.9.1"}
    with deployed.worker("booking", "fleet", **version):
        handle = await deployed.rider().start()
        assert (await handle.result()).status == "CONFIRMED"
    completed = await events(handle, EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
    attributes = [event.workflow_task_completed_event_attributes for event in completed]
    versions = {(of.worker_deployment_name, of.worker_version.build_id) for of in attributes}
    assert versions == {("rides", "2026.9.1")}


async def test_failing_worker(temporal: Temporal, client: Client) -> None:
    """If a worker fails, the others of its process stop, and the failure is raised."""
    missing = Client(temporal.client.service_client, namespace="no-such-namespace")
    async with ServiceClient("http://127.0.0.1:1") as services:
        workers = [booking_worker(each, services, task_queue="failing") for each in (client, missing)]
        with pytest.raises(RuntimeError, match="no-such-namespace"):
            await run_together(workers)
        assert not workers[0].is_running


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], ["booking", "payment", "fleet"]),
        (["fleet", "booking"], ["booking", "fleet"]),
        (["payment"] * 2, ["payment"]),
    ],
)
def test_chosen(names: list[str], expected: list[str]) -> None:
    """The workers named run, each once; without names, all of them."""
    assert chosen(names, WORKERS) == expected
