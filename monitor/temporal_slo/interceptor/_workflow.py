"""The workflow interceptors. They run inside the sandbox and issue no commands."""

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

from temporal_slo.interceptor._chain import pass_on_start
from temporal_slo.interceptor._recorder import Recorder, never_raises
from temporal_slo.interceptor._run import InterceptedRun, WorkflowRun

RUN = "__temporal_slo_run"
"""Name of the extern function that returns the `WorkflowRun` of an info, or None if it could not be created."""


class WorkflowInbound(WorkflowInboundInterceptor):
    """Passes the result to the run, and the end too if the run is not watched."""

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        """See base class."""
        self._run = _run_of(outbound)
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
            # An exception in a signal handler ends the workflow, as one in its main function does.
            self._raised(error)
            raise

    def _raised(self, error: BaseException) -> None:
        if isinstance(self._run, InterceptedRun):
            self._run.raised(error)


def _run_of(outbound: WorkflowOutboundInterceptor) -> WorkflowRun | None:
    # Without a run there is no recorder to count an error, and nothing of this workflow is counted.
    with contextlib.suppress(Exception):
        run = workflow.extern_functions()[RUN](outbound.info())
        return run if isinstance(run, WorkflowRun) else None
    return None


class WorkflowOutbound(WorkflowOutboundInterceptor):
    """Passes the start time of a workflow to the run that it continues as."""

    def __init__(self, next: WorkflowOutboundInterceptor, run: WorkflowRun) -> None:  # noqa: A002 the SDK's
        super().__init__(next)
        self._run = run

    @property
    def recorder(self) -> Recorder:
        """Recorder that counts errors."""
        return self._run.recorder

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:  # noqa: A002 the SDK's
        """See base class."""
        self._pass_on_start(input)
        self.next.continue_as_new(input)

    @never_raises("continue_as_new")
    def _pass_on_start(self, input: ContinueAsNewInput) -> None:  # noqa: A002 as above
        pass_on_start(self._run.start, workflow.info(), input)
