"""Executions of several runs on a real server: late, overdue, and as old after the exporter was killed."""

import asyncio
import threading
import uuid
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families
from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from temporal_slo import names
from temporal_slo.servers.process import until
from tests.conftest import Temporal

from .exporter import Exporter

SPEC = """
version: temporal-slo/v1
service: chain
temporal_namespace: {namespace}
owner: chain
period: 30d
slos:
  - {{name: latency, workflow: [Chain, Retried, Cron], objective: 99, sli: {{latency: {{threshold: 5s}}}}}}
  - {{name: not-stuck, workflow: [Chain, Retried, Cron], objective: 99, sli: {{overdue: {{max_age: 5s}}}}}}
"""


FINISHED = threading.Event()
"""Whether the workflows complete; they run in this process, and are not replayed."""


@workflow.defn
class Chain:
    """Continues as new."""

    @workflow.run
    async def run(self) -> None:
        """Wait for three seconds, then continue."""
        await asyncio.sleep(3)
        if not FINISHED.is_set():
            workflow.continue_as_new()


@workflow.defn
class Retried:
    """Fails and is retried."""

    @workflow.run
    async def run(self) -> None:
        """Wait for three seconds, then fail."""
        await asyncio.sleep(3)
        if not FINISHED.is_set():
            raise ApplicationError("no", type="Flaky")


@workflow.defn
class Cron:
    """Completes at once."""

    @workflow.run
    async def run(self) -> None:
        """Complete."""


class Watch:
    """What an exporter exposes over its restarts."""

    def __init__(self, exporter: Exporter) -> None:
        self.exporter = exporter
        self.overdue: set[str] = set()
        self.text = ""

    async def closed(self) -> dict[str, tuple[int, int]]:
        """Return completed executions, and those of them within 5 seconds, by workflow type; note what is overdue."""
        # A connection that the exporter closed while this process was busy is no failure.
        with suppress(httpx.TransportError):
            self.text = (await self.exporter.http.get("/metrics")).text
        samples = [one for family in text_string_to_metric_families(self.text) for one in family.samples]
        found: dict[str, tuple[int, int]] = {}
        for one in samples:
            if one.name == names.WORKFLOWS_OVERDUE.name and one.value:
                self.overdue.add(one.labels[names.WORKFLOW_TYPE])
            if one.name == f"{names.WORKFLOW_DURATION.name}_bucket" and one.labels[names.STATUS] == "completed":
                total, fast = found.get(one.labels[names.WORKFLOW_TYPE], (0, 0))
                total += int(one.value) if one.labels["le"] == "+Inf" else 0
                fast += int(one.value) if one.labels["le"] == "5.0" else 0
                found[one.labels[names.WORKFLOW_TYPE]] = total, fast
        return found


async def test_chains(temporal: Temporal, tmp_path: Path) -> None:
    """A chain and a retried workflow are overdue and late, also after the exporter was killed; cron runs are not."""
    client = await temporal.namespace(f"chains-{uuid.uuid4().hex[:8]}")
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.format(namespace=client.namespace))
    address = temporal.connection(client.namespace)["target_host"]
    exporter = Exporter(tmp_path, address, client.namespace, "--spec", str(spec))
    watch = Watch(await exporter.started())
    await exporter.becomes(names.EXPORTER_UP, 1)
    once = RetryPolicy(initial_interval=timedelta(milliseconds=100), backoff_coefficient=1)
    runner = UnsandboxedWorkflowRunner()
    async with Worker(client, task_queue="q", workflows=[Chain, Retried, Cron], workflow_runner=runner):
        cron = await client.start_workflow("Cron", id="cron", task_queue="q", cron_schedule="@every 1s")
        retried = await client.start_workflow("Retried", id="r", task_queue="q", retry_policy=once)
        chain = await client.start_workflow("Chain", id="c", task_queue="q")

        async def both_overdue() -> bool:
            await watch.closed()
            return watch.overdue >= {"Chain", "Retried"}

        await until(both_overdue, deadline=60, what="two overdue executions")
        assert "Cron" not in watch.overdue
        exporter.child.kill()
        await exporter.http.aclose()
        exporter = Exporter(tmp_path, address, client.namespace, "--spec", str(spec))
        watch = Watch(await exporter.started())
        await until(both_overdue, deadline=60, what="two overdue executions after a kill")
        FINISHED.set()

        async def all_counted() -> bool:
            closed = await watch.closed()
            return {closed.get(kind, (0, 0))[0] for kind in ("Chain", "Retried")} == {1}

        await until(all_counted, deadline=60, what="both executions")
        await asyncio.gather(retried.result(), chain.result())
        await cron.terminate()
    closed = await watch.closed()
    await exporter.stop()
    assert (closed["Chain"], closed["Retried"]) == ((1, 0), (1, 0))
    total, fast = closed["Cron"]
    assert total == fast > 0
