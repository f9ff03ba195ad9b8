"""Timeouts and retries of activities, as part of a workflow's input."""

from dataclasses import dataclass
from datetime import timedelta

from temporalio.common import RetryPolicy


@dataclass(frozen=True)
class ActivityTimings:
    """Timeouts and retries of the activities.

    Part of the workflow input, so that a replay uses the same values. In seconds, because the default payload
    converter does not support `timedelta`.

    Attributes:
        start_to_close: Start-to-close timeout of an attempt, in seconds.
        retry_initial: Interval before the first retry, in seconds.
        retry_maximum: Maximum interval between retries, in seconds.
        retry_backoff: Backoff coefficient of the interval.
        max_attempts: Maximum number of attempts; 0 for no limit.
    """

    start_to_close: float = 60.0
    retry_initial: float = 1.0
    retry_maximum: float = 30.0
    retry_backoff: float = 2.0
    max_attempts: int = 5

    def retry_policy(self) -> RetryPolicy:
        """Return the retry policy of every activity."""
        return RetryPolicy(
            initial_interval=timedelta(seconds=self.retry_initial),
            maximum_interval=timedelta(seconds=self.retry_maximum),
            backoff_coefficient=self.retry_backoff,
            maximum_attempts=self.max_attempts,
        )
