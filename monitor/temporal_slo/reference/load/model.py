"""What a load starts, and its totals."""

import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Protocol

from temporal_slo.reference.load.mix import DEFAULT_MIX, Mix
from temporal_slo.reference.load.outcomes import ENDINGS, Ending, Outcome
from temporal_slo.reference.workflows.booking import EXECUTION_TIMEOUT, TASK_QUEUE
from temporal_slo.reference.workflows.timings import ActivityTimings

SHORT_TIMEOUT: Final = timedelta(seconds=3)
BOARDING: Final = timedelta(seconds=5)
MAX_IN_FLIGHT: Final = 50
SERVICES: Final = "http://127.0.0.1:8010"
"""Default base URL of the services."""


Step = Callable[[], Awaitable[None]]
"""A call that is made when the workflow has started, and repeated until it succeeds."""


@dataclass(frozen=True)
class Load:
    """What to start, and at which rate.

    Attributes:
        rate: Workflows started per second, above 0.
        services: Base URL of the services, where the load pays, sets timetables and installs its fault rules.
        api: Base URL of the API that starts bookings and top-ups; None to start them in Temporal.
        count: Total number of workflows; None for no limit.
        mix: Relative frequency of the outcomes.
        seed: The same seed gives the same outcomes in the same order.
        prefix: Part of every user ID and workflow ID; must be unique per load.
        task_queue: Task queue of the booking worker. Bookings that must time out use a separate task queue.
        execution_timeout: Execution timeout of bookings and bus services that the load starts in Temporal.
        short_timeout: Execution timeout of bookings that must time out; payment timeout of top-ups that must expire.
        boarding: Time from the start of a bus service until the bus departs.
        timings: Timeouts and retries of the activities of workflows that the load starts in Temporal.
        max_in_flight: Maximum of workflows being started, paid, cancelled or terminated concurrently.
    """

    rate: float
    services: str = SERVICES
    api: str | None = None
    count: int | None = None
    mix: Mix = DEFAULT_MIX
    seed: int = 0
    prefix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    task_queue: str = TASK_QUEUE
    execution_timeout: timedelta = EXECUTION_TIMEOUT
    short_timeout: timedelta = SHORT_TIMEOUT
    boarding: timedelta = BOARDING
    timings: ActivityTimings = field(default_factory=ActivityTimings)
    max_in_flight: int = MAX_IN_FLIGHT


@dataclass(frozen=True)
class Start:
    """One workflow of a load.

    Attributes:
        outcome: How it ends.
        number: Its number in the load, from 0.
        user_id: Its user; the first part is the kind of the test user.
        workflow_id: Its ID in Temporal.
    """

    outcome: Outcome
    number: int
    user_id: str
    workflow_id: str

    @property
    def ending(self) -> Ending:
        """How its outcome is caused."""
        return ENDINGS[self.outcome]


class Starter(Protocol):
    """Starts one kind of workflow."""

    def workflow_id(self, user_id: str) -> str:
        """Return the workflow ID for a user."""
        ...

    async def start(self, start: Start) -> None:
        """Start a workflow, unless an earlier call whose response was lost did."""
        ...

    def follow_ups(self, start: Start) -> list[Step]:
        """Return the steps that cause the outcome, in order."""
        ...


@dataclass
class Tally:
    """Totals of a load.

    Attributes:
        started: Runs started on the server, by outcome.
        errors: Failed calls; each was retried.
        abandoned: Workflows abandoned because the load was stopped while calls failed or waited, or because a call was
            refused. Whether they were started, paid, cancelled or terminated is unknown.
    """

    started: Counter[Outcome] = field(default_factory=Counter)
    errors: int = 0
    abandoned: int = 0

    def __str__(self) -> str:
        found = ", ".join(f"{outcome} {self.started[outcome]}" for outcome in Outcome if self.started[outcome])
        return f"started {self.started.total()}: {found or 'none'}; errors {self.errors}, abandoned {self.abandoned}"
