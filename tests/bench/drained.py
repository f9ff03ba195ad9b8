"""The workflow of the worker benchmark, in its own file because the sandbox imports that file for each run."""

from datetime import timedelta

from temporalio import activity, workflow

LONG = timedelta(minutes=5)
"""Long enough that no attempt times out and is retried while the queue is drained slowly."""


@activity.defn
async def step(value: int) -> int:
    """Do nothing."""
    return value


@workflow.defn
class Drained:
    """Executes three activities in sequence."""

    @workflow.run
    async def run(self) -> int:
        """Return the sum of their results."""
        return sum([await workflow.execute_activity(step, i, start_to_close_timeout=LONG) for i in range(3)])
