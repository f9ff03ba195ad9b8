"""What the worker bench drains, in a file of its own: a sandbox imports the file of its workflow for each run."""

from datetime import timedelta

from temporalio import activity, workflow

LONG = timedelta(minutes=5)
"""No attempt may time out in a queue that is drained slowly: it would be done again."""


@activity.defn
async def step(value: int) -> int:
    """Do nothing."""
    return value


@workflow.defn
class Drained:
    """Does three activities, one after the other."""

    @workflow.run
    async def run(self) -> int:
        """Return how much they come to."""
        return sum([await workflow.execute_activity(step, i, start_to_close_timeout=LONG) for i in range(3)])
