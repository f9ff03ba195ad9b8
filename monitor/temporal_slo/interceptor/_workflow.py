"""The interceptors of workflows. They run inside the sandbox, and send no command."""

import contextlib
from typing import Any, NoReturn

from temporalio import workflow
from temporalio.worker import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
    HandleSignalInput,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)

from temporal_slo.interceptor._chain import hand_on
from temporal_slo.interceptor._recorder import Recorder, harmless
from temporal_slo.interceptor._run import InterceptedRun, Run

RUN = "__temporal_slo_run"
"""The function by which a workflow's interceptor reaches the host: it makes a run of an info, or None if it fails."""


class WorkflowInbound(WorkflowInboundInterceptor):
    """Sees the result, and, where nobody else does, the end."""

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        """See base class."""
        self._run = _begun(outbound)
        self.next.init(WorkflowOutbound(outbound, self._run) if self._run else outbound)

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002, ANN401 the SDK's
        """See base class."""
        try:
            result = await self.next.execute_workflow(input)
        except BaseException as error:
            self._raised(error)
            raise
        if self._run:
            self._run.returned(result)
        if isinstance(self._run, InterceptedRun):
            self._run.completed(result)
        return result

    async def handle_signal(self, input: HandleSignalInput) -> None:  # noqa: A002 the SDK's
        """See base class."""
        try:
            await self.next.handle_signal(input)
        except BaseException as error:
            # A signal handler that raises ends the workflow as its main function would.
            self._raised(error)
            raise

    def _raised(self, error: BaseException) -> None:
        if isinstance(self._run, InterceptedRun):
            self._run.raised(error)


def _begun(outbound: WorkflowOutboundInterceptor) -> Run | None:
    # Nobody is there yet to count an error, and without a run nothing of this workflow is.
    with contextlib.suppress(Exception):
        run = workflow.extern_functions()[RUN](outbound.info())
        return run if isinstance(run, Run) else None
    return None


class WorkflowOutbound(WorkflowOutboundInterceptor):
    """Hands the start of a workflow on to the run that it continues as."""

    def __init__(self, next: WorkflowOutboundInterceptor, run: Run) -> None:  # noqa: A002 the SDK's
        super().__init__(next)
        self._run = run

    @property
    def recorder(self) -> Recorder:
        """Where errors are counted."""
        return self._run.recorder

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:  # noqa: A002 the SDK's
        """See base class."""
        self._hand_on(input)
        self.next.continue_as_new(input)

    @harmless("continue_as_new")
    def _hand_on(self, input: ContinueAsNewInput) -> None:  # noqa: A002 as above
        hand_on(self._run.began, workflow.info(), input)
