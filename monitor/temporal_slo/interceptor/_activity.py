"""The interceptor of activities: one call is one attempt."""

import asyncio
from typing import Any

from temporalio import activity
from temporalio.exceptions import CancelledError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from temporal_slo import names
from temporal_slo.interceptor._failures import error_type
from temporal_slo.interceptor._host import Host
from temporal_slo.interceptor._recorder import Recorder, harmless
from temporal_slo.names.values import CANCELED, COMPLETED, FAILED, NONE, PENDING, TIMED_OUT


class ActivityInbound(ActivityInboundInterceptor):
    """Counts the attempt that it is called for.

    Args:
        next: What it delegates to.
        host: Knows where it is counted.
    """

    def __init__(self, next: ActivityInboundInterceptor, host: Host) -> None:  # noqa: A002 the SDK's name
        super().__init__(next)
        self._host = host
        self._labels: tuple[str, str, str] | None = None
        self._recorder: Recorder | None = None

    @property
    def recorder(self) -> Recorder:
        """Where the attempt is counted."""
        if self._recorder is None:
            info = activity.info()
            # Older SDKs know only the namespace of the workflow.
            namespace = getattr(info, "namespace", None) or info.workflow_namespace or NONE
            self._recorder = self._host.recorder(namespace)
        return self._recorder

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002, ANN401 the SDK's
        """See base class."""
        self._started()
        try:
            result = await self.next.execute_activity(input)
        except BaseException as error:
            self._ended(error)
            raise
        self._ended(None)
        return result

    @harmless("activity_start")
    def _started(self) -> None:
        info = activity.info()
        self._labels = _labels(info)
        # A later attempt has waited for its back-off too, and a local one for nothing.
        if info.attempt == 1 and not info.is_local:
            waited = info.started_time - info.current_attempt_scheduled_time
            self.recorder.observe(names.ACTIVITY_SCHEDULE_TO_START, waited, *self._labels)

    @harmless("activity_end")
    def _ended(self, error: BaseException | None) -> None:
        labels = self._labels or _labels(activity.info())
        self.recorder.count(names.ACTIVITY_ATTEMPTS, *labels, *_ending(error))


def _labels(info: activity.Info) -> tuple[str, str, str]:
    return info.workflow_type or NONE, info.task_queue, info.activity_type


def _ending(error: BaseException | None) -> tuple[str, str]:
    """Return the outcome and the failure type of an attempt, as the SDK will report it."""
    if error is None:
        return COMPLETED, NONE
    if type(error).__name__ == "_CompleteAsyncError":
        return PENDING, NONE
    if isinstance(error, asyncio.CancelledError | CancelledError):
        return _canceled(error, activity.cancellation_details())
    return FAILED, error_type(error)


def _canceled(error: BaseException, details: activity.ActivityCancellationDetails | None) -> tuple[str, str]:
    # Raised by the activity itself, without having been asked to: a failure like any other.
    if details is None:
        return FAILED, error_type(error)
    if details.paused or getattr(details, "reset", False):
        return FAILED, "ActivityPause" if details.paused else "ActivityReset"
    return (TIMED_OUT, NONE) if details.timed_out else (CANCELED, NONE)
