"""A worker with its services, and the bookings of tests."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle

from temporal_slo.reference.services.faults import ActiveFaults, no_faults
from temporal_slo.reference.services.simulated import Behaviour, Record, Services
from temporal_slo.reference.workers.simulated import simulated_worker
from temporal_slo.reference.workflows.booking import BookingRequest, BookingResult, BookRideWorkflow
from temporal_slo.reference.workflows.timings import ActivityTimings
from temporal_slo.servers.process import until

NAMESPACE = "reference-tests"
FARE = 1750
QUICK = ActivityTimings(start_to_close=10, retry_initial=0.05, retry_maximum=0.1, max_attempts=2)

Handle = WorkflowHandle[BookRideWorkflow, BookingResult]


@dataclass(frozen=True)
class Shop:
    """Services and their worker on a separate task queue."""

    client: Client
    services: Services
    task_queue: str = field(default_factory=lambda: f"shop-{uuid.uuid4().hex[:8]}")

    async def start(
        self,
        user_id: str,
        timings: ActivityTimings = QUICK,
        *,
        signal: str | None = None,
        execution_timeout: timedelta | None = None,
    ) -> Handle:
        """Start the only booking of *user_id* in this shop."""
        return await self.client.start_workflow(
            BookRideWorkflow.run,
            BookingRequest(user_id, "bus-7", "segment-3", FARE, timings),
            id=f"booking-{user_id}-{self.task_queue}",
            task_queue=self.task_queue,
            execution_timeout=execution_timeout,
            start_signal=signal,
            start_signal_args=["changed plans"] if signal else [],
        )

    async def book(self, user_id: str, timings: ActivityTimings = QUICK) -> BookingResult:
        """Start a booking and wait for its result."""
        return await (await self.start(user_id, timings)).result()

    def record(self, user_id: str) -> Record:
        """Return the record of the user's only reservation."""
        (record,) = self.services.of_user(user_id)
        return record

    async def called(self, user_id: str, activity: str) -> None:
        """Wait until *activity* was called for the user."""

        async def seen() -> bool:
            return any(record.calls[activity] for record in self.services.of_user(user_id))

        await until(seen, deadline=20, what=f"{activity} for {user_id}")

    def nothing_left(self, user_id: str) -> bool:
        """Return whether the user has no seat, no booking and no charge."""
        record = self.record(user_id)
        return record.balance == 0 and not (record.held or record.confirmed or record.on_manifest)


@asynccontextmanager
async def open_shop(
    client: Client,
    behaviours: Mapping[str, Behaviour] | None = None,
    *,
    seed: int = 0,
    faults: ActiveFaults = no_faults,
) -> AsyncIterator[Shop]:
    """Run a shop inside the context."""
    shop = Shop(client, Services(behaviours, seed=seed, faults=faults))
    async with simulated_worker(client, shop.services, task_queue=shop.task_queue):
        yield shop


@asynccontextmanager
async def gated_shop(client: Client, activity: str) -> AsyncIterator[tuple[Shop, asyncio.Event]]:
    """Run a shop whose *activity* blocks before its effect until the returned event is set."""
    gate = asyncio.Event()
    async with open_shop(client, {activity: Behaviour(gate=gate)}) as shop:
        yield shop, gate


async def ending(handle: Handle) -> tuple[str, BaseException | None]:
    """Wait until a run has closed; return its status in Temporal, lower case, and its failure."""
    failure: BaseException | None = None
    try:
        await handle.result()
    except WorkflowFailureError as error:
        failure = error.cause
    status = (await handle.describe()).status or WorkflowExecutionStatus.RUNNING
    return status.name.lower(), failure
