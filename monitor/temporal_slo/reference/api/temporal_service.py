"""Requests of the API to Temporal: each has a deadline, and its failure is the problem that the client receives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import FailureError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.reference.api.wire import unavailable
from temporal_slo.reference.web.problems import ProblemError

DEADLINE: Final = 5.0
"""Seconds until a request to Temporal is given up."""

REQUEST_DIGEST: Final = "requestDigest"
"""Memo key with the digest of the request that started a run."""

_UNREACHABLE: Final = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.CANCELLED,
    }
)


@dataclass(frozen=True)
class Start:
    """A workflow to start.

    Attributes:
        workflow: Workflow type.
        request: Input of the workflow.
        workflow_id: Derived from the request ID.
        task_queue: Task queue of its workers.
        request_digest: Digest of the HTTP request.
        execution_timeout: Execution timeout; None for no limit.
    """

    workflow: str
    request: object
    workflow_id: str
    task_queue: str
    request_digest: str
    execution_timeout: timedelta | None = None


@dataclass(frozen=True)
class Run:
    """The latest run of a workflow.

    Attributes:
        status: `RUNNING`, or the closed status in Temporal in upper case, for example `TIMED_OUT`.
        result: Result of a completed run.
        error: Failure of a run that closed otherwise.
    """

    status: str
    result: Any = None
    error: str | None = None


class TemporalService:
    """Starts workflows of the reference application and sends messages to them.

    Args:
        client: Client of the namespace of the reference application.
        deadline: Seconds until a request is given up.
    """

    def __init__(self, client: Client, deadline: float = DEADLINE) -> None:
        self._client = client
        self._deadline = deadline

    async def start_once(self, start: Start) -> None:
        """Start a workflow, unless the same request has started it before, whether it is running or closed.

        Raises:
            ProblemError: 409 if another request has used its ID; 503 if Temporal is unreachable.
        """
        async with self._request():
            try:
                await self._start(start, WorkflowIDReusePolicy.REJECT_DUPLICATE, WorkflowIDConflictPolicy.FAIL)
            except WorkflowAlreadyStartedError:
                found = await self._client.get_workflow_handle(start.workflow_id).describe()
                if (await found.memo()).get(REQUEST_DIGEST) != start.request_digest:
                    raise ProblemError(
                        HTTPStatus.CONFLICT, "another request with this requestId has a different body"
                    ) from None

    async def signal_with_start(self, start: Start, signal: str, argument: object) -> None:
        """Send a signal to a workflow; start it again if it is closed.

        Raises:
            ProblemError: 503 if Temporal is unreachable.
        """
        async with self._request():
            await self._start(
                start,
                WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                WorkflowIDConflictPolicy.USE_EXISTING,
                signal=(signal, argument),
            )

    async def _start(
        self,
        start: Start,
        reuse: WorkflowIDReusePolicy,
        conflict: WorkflowIDConflictPolicy,
        *,
        signal: tuple[str, object] | None = None,
    ) -> None:
        await self._client.start_workflow(
            start.workflow,
            start.request,
            id=start.workflow_id,
            task_queue=start.task_queue,
            execution_timeout=start.execution_timeout,
            memo={REQUEST_DIGEST: start.request_digest},
            id_reuse_policy=reuse,
            id_conflict_policy=conflict,
            start_signal=signal[0] if signal else None,
            start_signal_args=[signal[1]] if signal else [],
        )

    async def signal(self, workflow_id: str, signal: str, argument: object) -> bool:
        """Send a signal; return False if no run is open.

        Raises:
            ProblemError: 503 if Temporal is unreachable.
        """
        async with self._request():
            try:
                await self._client.get_workflow_handle(workflow_id).signal(signal, argument)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                return False
        return True

    async def update(self, workflow_id: str, update: str, argument: object, update_id: str) -> bool:
        """Send an update and wait until a worker has completed it; return False if no run is open.

        Raises:
            ProblemError: 409 if the workflow rejects it; 503 if Temporal is unreachable or no worker is running.
        """
        async with self._request():
            handle = self._client.get_workflow_handle(workflow_id)
            try:
                await handle.execute_update(update, argument, id=update_id)
            except WorkflowUpdateFailedError as error:
                raise ProblemError(HTTPStatus.CONFLICT, _reason(error.cause)) from error
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:
                    raise
                return False
        return True

    async def run(self, workflow: str, workflow_id: str, result_type: type) -> Run | None:
        """Return the latest run at once, also while it is open; None if there is none of that type.

        Raises:
            ProblemError: 503 if Temporal is unreachable.
        """
        async with self._request():
            found = await self._described(workflow_id)
            if found is None or found.workflow_type != workflow:
                return None
            if found.close_time is None or found.status is None:
                return Run("RUNNING")
            return await self._closed(found, found.status.name, result_type)

    async def _described(self, workflow_id: str) -> WorkflowExecutionDescription | None:
        try:
            return await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return None

    async def _closed(self, found: WorkflowExecutionDescription, status: str, result_type: type) -> Run:
        handle = self._client.get_workflow_handle(found.id, run_id=found.run_id, result_type=result_type)
        try:
            return Run(status, await handle.result(follow_runs=False))
        except WorkflowFailureError as error:
            return Run(status, error=_reason(error.cause))

    @asynccontextmanager
    async def _request(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._deadline):
                yield
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
            raise unavailable("no answer from Temporal or from a worker in time") from error
        except RPCError as error:
            if error.status in _UNREACHABLE:
                raise unavailable("Temporal is unreachable") from error
            raise


def _reason(error: BaseException) -> str:
    # Its text would start with the failure type.
    return error.message if isinstance(error, FailureError) else str(error)
