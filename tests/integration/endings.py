"""Every way in which a workflow run closes on a real server, and the visibility rows that each leaves."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple

from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest, ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RetryPolicy, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from temporalio.workflow import ParentClosePolicy

from temporal_slo.names.values import NONE
from temporal_slo.servers.process import until

NO_WORKERS: Final = "endings-no-workers"
"""A task queue without workers: runs on it can only time out or be terminated."""

SHORT_TIMEOUT: Final = timedelta(seconds=1)
TWO_ATTEMPTS: Final = RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=2)
ONE_ATTEMPT: Final = RetryPolicy(maximum_attempts=1)
FIRST_TASK_COMPLETED: Final = 4
"""Event ID at which a run's first workflow task completes."""

REVERSED: Final = b"binary/reversed"
UNATTENDED: Final = "Unattended"

Result = dict[str, str]


@workflow.defn
class Booking:
    """Completes with the status in its argument."""

    @workflow.run
    async def run(self, status: str) -> Result:
        """Return a result with the status."""
        return {"status": status}


@workflow.defn
class Failing:
    """Fails."""

    @workflow.run
    async def run(self) -> None:
        """Raise an error with its own type."""
        raise ApplicationError("no", type="CardDeclined", non_retryable=True)


@workflow.defn
class Retried:
    """Fails in its first attempts, then completes."""

    @workflow.run
    async def run(self, failures: int) -> Result:
        """Raise in the first *failures* attempts."""
        if workflow.info().attempt <= failures:
            raise ApplicationError("again", type="GatewayDown")
        return {"status": "CONFIRMED"}


@workflow.defn
class Waiting:
    """Waits forever."""

    @workflow.run
    async def run(self) -> None:
        """Wait."""
        await workflow.wait_condition(lambda: False)


@workflow.defn
class Reset:
    """Waits forever, and completes after a reset."""

    @workflow.run
    async def run(self) -> None:
        """Wait in the first run; the run that a reset creates has another run ID."""
        info = workflow.info()
        await workflow.wait_condition(lambda: info.run_id != info.first_execution_run_id)


@workflow.defn
class Parent:
    """Completes while its child is still open."""

    @workflow.run
    async def run(self) -> None:
        """Start a child on a task queue without workers."""
        await workflow.start_child_workflow(
            "Child", task_queue=NO_WORKERS, parent_close_policy=ParentClosePolicy.TERMINATE
        )


@workflow.defn
class Continued:
    """Continues as new once."""

    @workflow.run
    async def run(self) -> None:
        """Continue in the first run."""
        if workflow.info().continued_run_id is None:
            workflow.continue_as_new()


@activity.defn
async def decline() -> None:
    """Fail with an error that has a cause."""
    raise ApplicationError("payment", type="PaymentFailed") from ApplicationError("funds", type="InsufficientFunds")


@workflow.defn
class Nested:
    """Fails because its activity fails, or times out on a task queue without workers."""

    @workflow.run
    async def run(self, task_queue: str | None = None) -> None:
        """Call an activity once."""
        await workflow.execute_activity(
            decline, task_queue=task_queue, schedule_to_close_timeout=SHORT_TIMEOUT, retry_policy=ONE_ATTEMPT
        )


WORKFLOWS: Final = (Booking, Failing, Retried, Waiting, Reset, Parent, Continued, Nested)


class Reversed(PayloadCodec):
    """Reverses payloads, in place of encryption: they are unreadable without this codec."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Reverse the bytes of whole payloads."""
        return [Payload(metadata={"encoding": REVERSED}, data=each.SerializeToString()[::-1]) for each in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Reverse them again."""
        assert all(each.metadata["encoding"] == REVERSED for each in payloads)
        return [Payload.FromString(each.data[::-1]) for each in payloads]


CONVERTER: Final = DataConverter(payload_codec=Reversed())
"""The data converter of workers that encrypt; the exporter loads it as `tests.integration.endings:CONVERTER`."""


@asynccontextmanager
async def serving(client: Client, task_queue: str) -> AsyncIterator[None]:
    """A worker for these workflows, without the sandbox, which is slower than the workflows."""
    async with Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=[decline],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield


class Row(NamedTuple):
    """A visibility row that an ending leaves, as it must be counted."""

    workflow_type: str
    status: str
    outcome: str = NONE
    failure_type: str = ""


@dataclass(frozen=True)
class Task:
    """A workflow execution, and how to start it."""

    client: Client
    task_queue: str
    workflow_id: str

    async def start(self, workflow_type: str, *arguments: Any, **options: Any) -> WorkflowHandle[Any, Any]:  # noqa: ANN401 passed through
        """Start the execution, unless an earlier attempt did."""
        try:
            return await self.client.start_workflow(
                workflow_type,
                args=arguments,
                id=self.workflow_id,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                **{"task_queue": self.task_queue, **options},
            )
        except WorkflowAlreadyStartedError:
            return self.client.get_workflow_handle(self.workflow_id)


async def _timed_out(task: Task, **timeout: timedelta) -> None:
    await task.start(UNATTENDED, task_queue=NO_WORKERS, **timeout)


async def _canceled(task: Task) -> None:
    handle = await task.start("Waiting")
    await _unless_closed(handle.cancel())


async def _terminated(task: Task) -> None:
    handle = await task.start(UNATTENDED, task_queue=NO_WORKERS)
    await _unless_closed(handle.terminate(reason="cleanup"))


async def _unless_closed(request: Awaitable[None]) -> None:
    """Make a request that an earlier attempt may have made."""
    try:
        await request
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise


async def _reset(task: Task) -> None:
    await task.start("Reset")
    execution = WorkflowExecution(workflow_id=task.workflow_id)
    request = ResetWorkflowExecutionRequest(
        namespace=task.client.namespace,
        workflow_execution=execution,
        reason="retry",
        workflow_task_finish_event_id=FIRST_TASK_COMPLETED,
        request_id=f"{task.workflow_id}-reset",
    )
    describe = DescribeWorkflowExecutionRequest(namespace=task.client.namespace, execution=execution)
    service = task.client.workflow_service

    async def done() -> bool:
        # The server does not deduplicate resets by request id: a second request would reset the new run.
        info = (await service.describe_workflow_execution(describe)).workflow_execution_info
        if info.execution.run_id != info.first_run_id:
            return True
        try:
            await service.reset_workflow_execution(request)
        except RPCError as error:
            # A run can be reset only after its first workflow task has completed.
            if error.status is not RPCStatusCode.INVALID_ARGUMENT:
                raise
            return False
        return True

    await until(done, deadline=300, what=f"reset of {task.workflow_id}")


@dataclass(frozen=True)
class Ending:
    """One way in which an execution closes.

    Attributes:
        act: Starts the execution and makes it close; does not wait until it has closed.
        rows: The visibility rows of its closed runs.
    """

    act: Callable[[Task], Awaitable[object]]
    rows: tuple[Row, ...]


ENDINGS: Final = {
    "completed_good": Ending(
        lambda task: task.start("Booking", "CONFIRMED"),
        (Row("Booking", "completed", "good"),),
    ),
    "completed_bad": Ending(
        lambda task: task.start("Booking", "FAILED"),
        (Row("Booking", "completed", "bad"),),
    ),
    "completed_excluded": Ending(
        lambda task: task.start("Booking", "CANCELLED"),
        (Row("Booking", "completed", "excluded"),),
    ),
    "failed": Ending(
        lambda task: task.start("Failing"),
        (Row("Failing", "failed", failure_type="CardDeclined"),),
    ),
    "retried_then_completed": Ending(
        lambda task: task.start("Retried", 1, retry_policy=TWO_ATTEMPTS),
        (Row("Retried", "retried", failure_type="GatewayDown"), Row("Retried", "completed", "good")),
    ),
    "retried_then_failed": Ending(
        lambda task: task.start("Retried", 2, retry_policy=TWO_ATTEMPTS),
        (Row("Retried", "retried", failure_type="GatewayDown"), Row("Retried", "failed", failure_type="GatewayDown")),
    ),
    "run_timeout": Ending(
        lambda task: _timed_out(task, run_timeout=SHORT_TIMEOUT),
        (Row(UNATTENDED, "timed_out", failure_type="TimeoutError:StartToClose"),),
    ),
    "execution_timeout": Ending(
        lambda task: _timed_out(task, execution_timeout=SHORT_TIMEOUT),
        (Row(UNATTENDED, "timed_out", failure_type="TimeoutError:StartToClose"),),
    ),
    "canceled": Ending(
        _canceled,
        (Row("Waiting", "canceled"),),
    ),
    "terminated": Ending(
        _terminated,
        (Row(UNATTENDED, "terminated", failure_type="terminated"),),
    ),
    "reset": Ending(
        _reset,
        (Row("Reset", "reset", failure_type="reset"), Row("Reset", "completed")),
    ),
    "parent_close": Ending(
        lambda task: task.start("Parent"),
        (Row("Parent", "completed"), Row("Child", "terminated", failure_type="parent_close")),
    ),
    "continued_as_new": Ending(
        lambda task: task.start("Continued"),
        (Row("Continued", "continued_as_new"), Row("Continued", "completed")),
    ),
}

OUTCOMES: Final = {
    workflow_type: {"from": "status", "good": ["CONFIRMED"], "bad": ["FAILED"], "excluded": ["CANCELLED"]}
    for workflow_type in ("Booking", "Retried")
}
"""The outcome rules, as written in a spec, that the rows assume."""


async def run_ending(client: Client, task_queue: str, ending: str, workflow_id: str) -> None:
    """Start an execution that closes in the given way; it may still be open when this returns.

    Idempotent: after an error, a second call with the same arguments leaves the same rows.

    Args:
        client: Client of the namespace.
        task_queue: Task queue of the worker of `serving`.
        ending: Key of ENDINGS.
        workflow_id: New workflow ID.
    """
    await ENDINGS[ending].act(Task(client, task_queue, workflow_id))
