"""What the exporter asks of open runs, and the adapter that asks a real server."""

from typing import NamedTuple, Protocol

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.service import RPCError

from temporal_slo.temporal.gateway import Gateway, is_not_found
from temporal_slo.temporal.rate_limit import Budget
from temporal_slo.temporal.rpc import DESCRIBE_WORKFLOW


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

    Args:
        gateway: Sends the requests.
        limiter: Rate limiter of all requests.
    """

    def __init__(self, gateway: Gateway, limiter: Budget | None) -> None:
        self._gateway = gateway
        self._limiter = limiter

    async def activities(self, workflow_id: str, run_id: str) -> tuple[PendingActivity, ...]:
        """Return the pending activities of a run; a read of its state that costs about 2 ms."""
        request = DescribeWorkflowExecutionRequest(
            namespace=self._gateway.namespace, execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
        )
        async with self._gateway.request(DESCRIBE_WORKFLOW, limiter=self._limiter) as send:
            try:
                response = await send(request)
            except RPCError as error:
                if is_not_found(error):
                    return ()
                raise
        return tuple(
            PendingActivity(activity.activity_type.name, activity.attempt)
            for activity in response.pending_activities
            if not activity.paused
        )
