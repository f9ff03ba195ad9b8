"""Every way in which a workflow run ends, on a real server: how to bring it about, and the rows that it leaves."""

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

NOBODY: Final = "endings-nobody"
"""A task queue that nobody serves: what waits there times out, or is terminated, for certain."""

SOON: Final = timedelta(seconds=1)
TWICE: Final = RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=2)
ONCE: Final = RetryPolicy(maximum_attempts=1)
FIRST_TASK: Final = 4
"""The event that ends a run's first workflow task."""

REVERSED: Final = b"binary/reversed"
UNATTENDED: Final = "Unattended"

Result = dict[str, str]


@workflow.defn
class Booking:
    """Ends with the status that it is given."""

    @workflow.run
    async def run(self, status: str) -> Result:
        """Return a result as an application would."""
        return {"status": status}


@workflow.defn
class Failing:
    """Fails."""

    @workflow.run
    async def run(self) -> None:
        """Raise an error of a type of its own."""
        raise ApplicationError("no", type="CardDeclined", non_retryable=True)


@workflow.defn
class Retried:
    """Fails as often as it is told to, then is confirmed."""

    @workflow.run
    async def run(self, failures: int) -> Result:
        """Raise in the first attempts."""
        if workflow.info().attempt <= failures:
            raise ApplicationError("again", type="GatewayAway")
        return {"status": "CONFIRMED"}


@workflow.defn
class Waiting:
    """Waits for ever."""

    @workflow.run
    async def run(self) -> None:
        """Wait."""
        await workflow.wait_condition(lambda: False)


@workflow.defn
class Reset:
    """Waits for ever, and completes once it was reset."""

    @workflow.run
    async def run(self) -> None:
        """Wait in the first run; a reset run is another, with the same history before it."""
        info = workflow.info()
        await workflow.wait_condition(lambda: info.run_id != info.first_execution_run_id)


@workflow.defn
class Parent:
    """Completes while its child still waits."""

    @workflow.run
    async def run(self) -> None:
        """Start a child that nobody works on."""
        await workflow.start_child_workflow("Child", task_queue=NOBODY, parent_close_policy=ParentClosePolicy.TERMINATE)


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
    """Fail with an error that has a cause itself."""
    raise ApplicationError("payment", type="PaymentFailed") from ApplicationError("funds", type="InsufficientFunds")


@workflow.defn
class Nested:
    """Fails because of an activity, by default one that fails; else one that nobody works on."""

    @workflow.run
    async def run(self, task_queue: str | None = None) -> None:
        """Call an activity once."""
        await workflow.execute_activity(
            decline, task_queue=task_queue, schedule_to_close_timeout=SOON, retry_policy=ONCE
        )


WORKFLOWS: Final = (Booking, Failing, Retried, Waiting, Reset, Parent, Continued, Nested)


class Reversed(PayloadCodec):
    """Stands for encryption: nobody without it reads a payload."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Turn whole payloads round."""
        return [Payload(metadata={"encoding": REVERSED}, data=each.SerializeToString()[::-1]) for each in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Turn them back."""
        assert all(each.metadata["encoding"] == REVERSED for each in payloads)
        return [Payload.FromString(each.data[::-1]) for each in payloads]


CONVERTER: Final = DataConverter(payload_codec=Reversed())
"""Of workers that encrypt; `tests.integration.endings:CONVERTER` for the exporter."""


@asynccontextmanager
async def serving(client: Client, task_queue: str) -> AsyncIterator[None]:
    """A worker that runs these workflows; without the sandbox, which costs more than they do."""
    async with Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=[decline],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield


class Row(NamedTuple):
    """A row that an ending leaves, as it is to be counted."""

    workflow_type: str
    status: str
    outcome: str = NONE
    failure_type: str = ""


@dataclass(frozen=True)
class Task:
    """One execution that is to end in a certain way."""

    client: Client
    task_queue: str
    workflow_id: str

    async def start(self, workflow_type: str, *arguments: Any, **options: Any) -> WorkflowHandle[Any, Any]:  # noqa: ANN401 passed on as they are
        """Start it, unless an earlier attempt did."""
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
    await task.start(UNATTENDED, task_queue=NOBODY, **timeout)


async def _canceled(task: Task) -> None:
    handle = await task.start("Waiting")
    await _unless_closed(handle.cancel())


async def _terminated(task: Task) -> None:
    handle = await task.start(UNATTENDED, task_queue=NOBODY)
    await _unless_closed(handle.terminate(reason="no longer wanted"))


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
        reason="once more",
        workflow_task_finish_event_id=FIRST_TASK,
        request_id=f"{task.workflow_id}-reset",
    )
    describe = DescribeWorkflowExecutionRequest(namespace=task.client.namespace, execution=execution)
    service = task.client.workflow_service

    async def done() -> bool:
        # The server does not know a repeated reset by its request id: it would reset the new run too.
        info = (await service.describe_workflow_execution(describe)).workflow_execution_info
        if info.execution.run_id != info.first_run_id:
            return True
        try:
            await service.reset_workflow_execution(request)
        except RPCError as error:
            # There is nothing to go back to before its first workflow task has ended.
            if error.status is not RPCStatusCode.INVALID_ARGUMENT:
                raise
            return False
        return True

    await until(done, deadline=300, what=f"reset of {task.workflow_id}")


@dataclass(frozen=True)
class Ending:
    """A way to end.

    Attributes:
        act: Starts it, and does to it what brings the ending about; does not wait for it to close.
        rows: What it leaves in visibility in the end.
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
        lambda task: task.start("Retried", 1, retry_policy=TWICE),
        (Row("Retried", "retried", failure_type="GatewayAway"), Row("Retried", "completed", "good")),
    ),
    "retried_then_failed": Ending(
        lambda task: task.start("Retried", 2, retry_policy=TWICE),
        (Row("Retried", "retried", failure_type="GatewayAway"), Row("Retried", "failed", failure_type="GatewayAway")),
    ),
    "run_timeout": Ending(
        lambda task: _timed_out(task, run_timeout=SOON),
        (Row(UNATTENDED, "timed_out", failure_type="TimeoutError:StartToClose"),),
    ),
    "execution_timeout": Ending(
        lambda task: _timed_out(task, execution_timeout=SOON),
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
"""The business outcomes that the rows presume, as a spec has them."""


async def bring_about(client: Client, task_queue: str, ending: str, workflow_id: str) -> None:
    """Start an execution and bring its ending about; it may close later, by itself.

    May be called again with the same arguments if it raised: the rows stay the same.

    Args:
        client: Of the namespace.
        task_queue: Served by `serving`.
        ending: A key of ENDINGS.
        workflow_id: Not used before.
    """
    await ENDINGS[ending].act(Task(client, task_queue, workflow_id))
