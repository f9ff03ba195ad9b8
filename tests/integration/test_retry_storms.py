"""Retry storms on a real Temporal server."""

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from temporalio import activity, workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import PauseActivityRequest
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.exporter.mirror.slo_rules import SloRules
from temporal_slo.exporter.sources.retry_storms import RetryStorms
from temporal_slo.ledger import reads
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.servers.process import until
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.pending_activities import TemporalPendingActivities
from temporal_slo.temporal.visibility import TemporalVisibility
from tests.conftest import Temporal
from tests.run_factory import from_visibility

NAMESPACE: Final = "storms"
ATTEMPTS: Final = 2
ACTIVITY_TIMEOUT: Final = timedelta(hours=1)
UNLIMITED_RETRIES: Final = RetryPolicy(initial_interval=timedelta(milliseconds=10), backoff_coefficient=1)


@workflow.defn
class Charging:
    """Has an activity that is retried without limit, and one without workers."""

    @workflow.run
    async def run(self) -> None:
        """Start both activities."""
        waiting = workflow.start_activity(
            "unattended",
            task_queue="storms-no-workers",
            start_to_close_timeout=ACTIVITY_TIMEOUT,
            retry_policy=UNLIMITED_RETRIES,
        )
        await workflow.execute_activity(
            charge, activity_id="charge", start_to_close_timeout=ACTIVITY_TIMEOUT, retry_policy=UNLIMITED_RETRIES
        )
        waiting.cancel()


@activity.defn
async def charge() -> None:
    """Fail until the card service is healthy."""
    if not MonitoredNamespace.healthy:
        raise ApplicationError("the card service is down", type="Refused")


@dataclass
class MonitoredNamespace:
    """A namespace with a mirror of its open runs, and the source of retry storms."""

    client: Client
    ledger: Ledger
    mirror: Mirror
    storms: RetryStorms = field(init=False)
    healthy = False

    def __post_init__(self) -> None:
        self.storms = RetryStorms(
            TemporalPendingActivities(Gateway(self.client, NAMESPACE), None),
            self.mirror.state,
            SloRules,
            lambda run_ids: self.ledger.transact(reads.workflow_ids, NAMESPACE, run_ids),
            attempts_max=ATTEMPTS,
        )

    async def read(self) -> tuple[dict[str, float], float]:
        """Poll and read; return the retrying activities by type, and the number of sampled runs."""
        now = int(time.time() * SECOND)
        await self.mirror.poll(now)
        retrying, sampled = dict[str, float](), 0.0
        for family, labels, value in await self.storms.read(now):
            assert isinstance(value, int | float)
            if family is names.ACTIVITIES_RETRYING:
                assert labels[names.WORKFLOW_TYPE] == "Charging"
                retrying[labels[names.ACTIVITY_TYPE]] = value
            if family is names.EXPORTER_RETRY_SAMPLED_RUNS:
                sampled = value
        return retrying, sampled

    async def becomes(self, retrying: dict[str, float], sampled: int) -> None:
        """Read until the retrying activities and the number of sampled runs are as given."""

        async def reached() -> bool:
            return await self.read() == (retrying, sampled)

        await until(reached, deadline=60, what=f"{retrying} of {sampled} runs")


@asynccontextmanager
async def monitored(temporal: Temporal, folder: Path) -> AsyncIterator[MonitoredNamespace]:
    """A monitored namespace with a worker."""
    client = await temporal.namespace(NAMESPACE)
    ledger = Ledger(f"sqlite:///{folder / 'ledger.db'}")
    try:
        state = await ledger.load(NAMESPACE)
        visibility = TemporalVisibility(Gateway(client, NAMESPACE), None)
        mirror = Mirror(NAMESPACE, visibility, ledger, state, int(time.time() * SECOND), classify=from_visibility)
        async with Worker(
            client,
            task_queue="storms",
            workflows=[Charging],
            activities=[charge],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ):
            yield MonitoredNamespace(client, ledger, mirror)
    finally:
        ledger.close()


async def test_storm(temporal: Temporal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retrying activities are counted until they succeed; then the count is 0."""
    monkeypatch.setattr(MonitoredNamespace, "healthy", False)
    async with monitored(temporal, tmp_path) as namespace:
        first, second = [
            await namespace.client.start_workflow(Charging.run, id=uuid.uuid4().hex, task_queue="storms")
            for _ in range(2)
        ]
        await namespace.becomes({"charge": 2}, 2)
        execution = WorkflowExecution(workflow_id=second.id)
        await namespace.client.workflow_service.pause_activity(
            PauseActivityRequest(namespace=NAMESPACE, execution=execution, id="charge")
        )
        # A paused activity is not retried.
        await namespace.becomes({"charge": 1}, 2)
        monkeypatch.setattr(MonitoredNamespace, "healthy", True)
        await first.result()
        await namespace.becomes({"charge": 0}, 1)
        await second.terminate()
        await namespace.becomes({"charge": 0}, 0)


async def test_unknown_run(temporal: Temporal) -> None:
    """An unknown run has no pending activities; an unknown namespace is an error."""
    client = await temporal.namespace(NAMESPACE)
    unknown = uuid.uuid4().hex, str(uuid.uuid4())
    assert await TemporalPendingActivities(Gateway(client, NAMESPACE), None).activities(*unknown) == ()
    with pytest.raises(TemporalRequestError, match="NOT_FOUND"):
        await TemporalPendingActivities(Gateway(client, "no-such-namespace"), None).activities(*unknown)
