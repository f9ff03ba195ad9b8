"""The activity interceptor; one call is one activity attempt."""

import asyncio
from typing import Any

from temporalio import activity
from temporalio.exceptions import CancelledError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from temporal_slo import names
from temporal_slo.interceptor._failures import error_type
from temporal_slo.interceptor._host import Host
from temporal_slo.interceptor._recorder import Recorder, never_raises
from temporal_slo.names.values import CANCELED, COMPLETED, FAILED, NONE, PENDING, TIMED_OUT


class ActivityInbound(ActivityInboundInterceptor):
    """Counts one activity attempt.

    Args:
        next: The next interceptor in the chain.
        host: Provides the recorder of the attempt's namespace.
    """

    def __init__(self, next: ActivityInboundInterceptor, host: Host) -> None:  # noqa: A002 the SDK's name
        super().__init__(next)
        self._host = host
        self._labels: tuple[str, str, str] | None = None
        self._recorder: Recorder | None = None

    @property
    def recorder(self) -> Recorder:
        """Recorder of the attempt's namespace."""
        if self._recorder is None:
            info = activity.info()
            # Older SDKs have only the namespace of the workflow.
            namespace = getattr(info, "namespace", None) or info.workflow_namespace or NONE
            self._recorder = self._host.recorder(namespace)
        return self._recorder

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401 the SDK's
        """See base class."""
        self._count_start()
        try:
            result = await self.next.execute_activity(input)
        except BaseException as error:
            self._count_end(error)
            raise
        self._count_end(None)
        return result

    @never_raises("activity_start")
    def _count_start(self) -> None:
        info = activity.info()
        self._labels = _labels(info)
        # The wait of a retry includes its back-off; a local activity is never scheduled on a task queue.
        if info.attempt == 1 and not info.is_local:
            waited = info.started_time - info.current_attempt_scheduled_time
            self.recorder.observe(names.ACTIVITY_SCHEDULE_TO_START, waited, *self._labels)

    @never_raises("activity_end")
    def _count_end(self, error: BaseException | None) -> None:
        labels = self._labels or _labels(activity.info())
        self.recorder.count(names.ACTIVITY_ATTEMPTS, *labels, *_outcome(error))


def _labels(info: activity.Info) -> tuple[str, str, str]:
    return info.workflow_type or NONE, info.task_queue, info.activity_type


def _outcome(error: BaseException | None) -> tuple[str, str]:
    """Return the outcome and the failure type of an attempt, as the SDK reports them to the server."""
    if error is None:
        return COMPLETED, NONE
    if type(error).__name__ == "_CompleteAsyncError":
        return PENDING, NONE
    if isinstance(error, asyncio.CancelledError | CancelledError):
        return _canceled(error, activity.cancellation_details())
    return FAILED, error_type(error)


def _canceled(error: BaseException, details: activity.ActivityCancellationDetails | None) -> tuple[str, str]:
    # Without a cancellation request the activity raised the error itself, which is an ordinary failure.
    if details is None:
        return FAILED, error_type(error)
    if details.paused or getattr(details, "reset", False):
        return FAILED, "ActivityPause" if details.paused else "ActivityReset"
    return (TIMED_OUT, NONE) if details.timed_out else (CANCELED, NONE)
