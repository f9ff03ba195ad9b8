"""Pending activities of open runs: the protocol, and the adapter for a Temporal server."""

from typing import NamedTuple, Protocol

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.service import RPCError

from temporal_slo.temporal.gateway import Gateway, is_not_found
from temporal_slo.temporal.rate_limit import RateLimiter
from temporal_slo.temporal.rpc import DESCRIBE_WORKFLOW


class PendingActivity(NamedTuple):
    """An activity that is scheduled or running.

    Attributes:
        activity_type: Name of the activity type.
        attempt: Number of the current attempt, or of the next one if the activity waits for it; from 1.
    """

    activity_type: str
    attempt: int


class PendingActivityRequests(Protocol):
    """The pending activities of the runs in one Temporal namespace."""

    async def activities(self, workflow_id: str, run_id: str) -> tuple[PendingActivity, ...]:
        """Return the pending activities of a run without paused ones; none if it is closed or does not exist.

        Raises:
            TemporalRequestError: There is no answer.
        """
        ...


class TemporalPendingActivities:
    """Pending activities from a Temporal server.

    Args:
        gateway: Sends the requests.
        limiter: Rate limiter of the requests; None for no limit.
    """

    def __init__(self, gateway: Gateway, limiter: RateLimiter | None) -> None:
        self._gateway = gateway
        self._limiter = limiter

    async def activities(self, workflow_id: str, run_id: str) -> tuple[PendingActivity, ...]:
        """Return the pending activities of a run; reading its state takes a server about 2 ms."""
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
