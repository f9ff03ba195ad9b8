"""What the exporter asks of open runs, and the adapter that asks a real server."""

from typing import Final, NamedTuple, Protocol

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError

from temporal_slo.temporal.rpc import REQUEST_TIMEOUT, answered, is_gone

DESCRIBE_WORKFLOW: Final = "DescribeWorkflowExecution"


class PendingActivity(NamedTuple):
    """An activity that is to be executed, or is just being executed.

    Attributes:
        attempt: The present one, or if it waits for one, that.
    """

    activity_type: str
    attempt: int


class RunRequests(Protocol):
    """The runs of one Temporal namespace."""

    async def activities(self, workflow_id: str, run_id: str) -> tuple[PendingActivity, ...]:
        """Return the pending activities of a run but for paused ones; none if it is closed or gone.

        Raises:
            TemporalRequestError: There is no answer.
        """
        ...


class TemporalRuns:
    """Runs of a real server.

    Requests are not retried here; who asks does that, at its own pace.

    Args:
        client: May be lazy: the connection is then made by the first request.
        namespace: Temporal namespace of the runs.
    """

    def __init__(self, client: Client, namespace: str) -> None:
        self._service = client.workflow_service
        self._namespace = namespace

    async def activities(self, workflow_id: str, run_id: str) -> tuple[PendingActivity, ...]:
        """Return the pending activities of a run; a read of its state that costs about 2 ms."""
        request = DescribeWorkflowExecutionRequest(
            namespace=self._namespace, execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
        )
        async with answered():
            try:
                answer = await self._service.describe_workflow_execution(request, timeout=REQUEST_TIMEOUT)
            except RPCError as error:
                if is_gone(error):
                    return ()
                raise
        return tuple(
            PendingActivity(activity.activity_type.name, activity.attempt)
            for activity in answer.pending_activities
            if not activity.paused
        )
