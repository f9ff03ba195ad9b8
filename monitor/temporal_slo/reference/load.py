"""Load generator: starts bookings at a constant rate with a given mix of outcomes, repeatable by seed."""

import asyncio
import logging
import math
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from itertools import islice
from typing import Final

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.errors import UsageError
from temporal_slo.reference.workflows.booking import (
    CANCEL_BOOKING,
    EXECUTION_TIMEOUT,
    TASK_QUEUE,
    BookingRequest,
    BookRideWorkflow,
    Status,
)
from temporal_slo.reference.workflows.timings import ActivityTimings

SHORT_TIMEOUT: Final = timedelta(seconds=3)
UNATTENDED: Final = "-unattended"
"""Suffix of the task queue for bookings that no worker may take."""
MAX_WEIGHT: Final = 1000
MAX_IN_FLIGHT: Final = 50
CATCH_UP: Final = 1.0
"""Seconds of delay that the load makes up for; after a longer stall it continues at its rate, without a burst."""
FIRST_BACKOFF: Final = 0.2
MAX_BACKOFF: Final = 5.0

_log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """How a booking of the load ends."""

    CONFIRMED = "confirmed"
    DECLINED = "declined"
    CANCELLED_BY_USER = "cancelled_by_user"
    CANCELED = "canceled"
    TERMINATED = "terminated"
    TIMED_OUT = "timed_out"
    FAILED = "failed"


@dataclass(frozen=True)
class Ending:
    """How an outcome is caused, and how it shows in Temporal.

    Attributes:
        user: Kind of the test user that books.
        status: Status of the run in Temporal, lower case.
        result: Status in the result; None if the run has no result.
        attended: Whether a worker polls its task queue. A failing activity does not reliably time the run out: the
            server stops retrying when the next attempt would exceed the timeout, and the workflow then completes.
    """

    user: str
    status: str
    result: Status | None
    attended: bool = True


ENDINGS: Final[Mapping[Outcome, Ending]] = {
    Outcome.CONFIRMED: Ending("ok", "completed", "CONFIRMED"),
    Outcome.DECLINED: Ending("declined", "completed", "FAILED"),
    Outcome.CANCELLED_BY_USER: Ending("ok", "completed", "CANCELLED"),
    Outcome.CANCELED: Ending("unreachable", "canceled", None),
    Outcome.TERMINATED: Ending("unreachable", "terminated", None),
    Outcome.TIMED_OUT: Ending("ok", "timed_out", None, attended=False),
    Outcome.FAILED: Ending("refundless", "failed", None),
}


@dataclass(frozen=True)
class Mix:
    """Relative frequency of each outcome, as whole numbers."""

    weights: Mapping[Outcome, int]

    @classmethod
    def parse(cls, text: str) -> "Mix":
        """Parse for example `confirmed=80,declined=20`; outcomes that are not listed do not occur.

        Raises:
            UsageError: *text* is malformed, or every weight is 0.
        """
        weights: dict[Outcome, int] = {}
        for term in text.split(","):
            outcome, weight = _parse_term(term)
            if outcome in weights:
                raise UsageError("--mix", f"duplicate outcome {outcome}", "list each outcome once")
            weights[outcome] = weight
        if not any(weights.values()):
            raise UsageError("--mix", "all weights are 0", "set at least one weight above 0")
        return cls(weights)

    def __str__(self) -> str:
        return ",".join(f"{outcome}={weight}" for outcome, weight in self.weights.items())


def _parse_term(term: str) -> tuple[Outcome, int]:
    name, equals, weight = (part.strip() for part in term.partition("="))
    if not equals:
        raise UsageError("--mix", f"{term!r} is not outcome=weight", "use e.g. confirmed=80,declined=20")
    if name not in list(Outcome):
        raise UsageError("--mix", f"unknown outcome {name!r}", f"use {', '.join(Outcome)}")
    if not weight.isdecimal() or int(weight) > MAX_WEIGHT:
        raise UsageError("--mix", f"invalid weight {weight!r} of {name}", f"use a whole number from 0 to {MAX_WEIGHT}")
    return Outcome(name), int(weight)


DEFAULT_MIX: Final = Mix.parse(
    "confirmed=80,declined=6,cancelled_by_user=4,canceled=2,terminated=2,timed_out=3,failed=3"
)


def outcomes(mix: Mix, seed: int) -> Iterator[Outcome]:
    """Yield outcomes endlessly, in shuffled batches of 100 (if the weights sum to 100) that match the mix exactly."""
    rng = random.Random(seed)  # noqa: S311 - repeatable load, no secret
    common = math.gcd(*mix.weights.values())
    batch = [outcome for outcome in Outcome for _ in range(mix.weights.get(outcome, 0) // common)]
    while True:
        rng.shuffle(batch)
        yield from batch


def plan(count: int, mix: Mix, seed: int) -> list[Outcome]:
    """Return the first *count* outcomes of a load with this mix and seed."""
    return list(islice(outcomes(mix, seed), count))


@dataclass(frozen=True)
class Load:
    """What to start, and at which rate.

    Attributes:
        rate: Bookings per second, above 0.
        count: Total number of bookings; None for no limit.
        mix: Relative frequency of the outcomes.
        seed: The same seed gives the same outcomes in the same order.
        prefix: Part of every user ID and workflow ID; must be unique per load.
        task_queue: Task queue of the worker. Bookings that must time out use a separate task queue.
        execution_timeout: Execution timeout of a workflow.
        short_timeout: Execution timeout of bookings that must time out.
        timings: Timeouts and retries of the activities.
        max_in_flight: Maximum of bookings being started, cancelled or terminated concurrently.
    """

    rate: float
    count: int | None = None
    mix: Mix = DEFAULT_MIX
    seed: int = 0
    prefix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    task_queue: str = TASK_QUEUE
    execution_timeout: timedelta = EXECUTION_TIMEOUT
    short_timeout: timedelta = SHORT_TIMEOUT
    timings: ActivityTimings = field(default_factory=ActivityTimings)
    max_in_flight: int = MAX_IN_FLIGHT


@dataclass(frozen=True)
class Start:
    """One booking of a load."""

    workflow_id: str
    outcome: Outcome


@dataclass
class Tally:
    """Totals of a load.

    Attributes:
        started: Runs started on the server, by outcome.
        errors: Failed calls; each was retried.
        abandoned: Bookings abandoned because the load was stopped while calls failed. Whether they were started,
            cancelled or terminated on the server is unknown.
    """

    started: Counter[Outcome] = field(default_factory=Counter)
    errors: int = 0
    abandoned: int = 0


async def run(
    client: Client,
    load: Load,
    *,
    stop: asyncio.Event | None = None,
    on_started: Callable[[Start], None] | None = None,
    on_error: Callable[[Start, RPCError], None] | None = None,
) -> Tally:
    """Start bookings until *load* is complete or *stop* is set; cancel or terminate those whose outcome needs it.

    While the server is unreachable, calls are retried with backoff. A retried start uses the same workflow ID, so no
    booking is started twice. Delayed bookings are not made up for in a burst.

    Args:
        client: Client of the namespace of the bookings.
        load: What to start.
        stop: Stops the load; calls in flight are finished first.
        on_started: Called for each started run.
        on_error: Called for each failed call; by default the error is logged.
    """
    return await _Runner(client, load, stop or asyncio.Event(), on_started or _ignore, on_error or _log_error).run()


def _ignore(_start: Start) -> None:
    return


def _log_error(start: Start, error: RPCError) -> None:
    _log.warning("starting or ending %s failed, retrying: %s: %s", start.workflow_id, error.status.name, error)


class _Runner:
    """One run of a load."""

    def __init__(
        self,
        client: Client,
        load: Load,
        stop: asyncio.Event,
        on_started: Callable[[Start], None],
        on_error: Callable[[Start, RPCError], None],
    ) -> None:
        self._client = client
        self._load = load
        self._stop = stop
        self._on_started = on_started
        self._on_error = on_error
        self._slots = asyncio.Semaphore(load.max_in_flight)
        self._tally = Tally()

    async def run(self) -> Tally:
        loop = asyncio.get_running_loop()
        due = loop.time()
        async with asyncio.TaskGroup() as tasks:
            planned = islice(outcomes(self._load.mix, self._load.seed), self._load.count)
            for number, outcome in enumerate(planned):
                await self._slots.acquire()
                # Scheduled from the due time, not from now: the duration of a start does not lower the rate.
                due = max(due, loop.time() - CATCH_UP)
                if await self._stopped_within(due - loop.time()):
                    break
                tasks.create_task(self._book(number, outcome)).add_done_callback(lambda _: self._slots.release())
                due += 1 / self._load.rate
        return self._tally

    async def _stopped_within(self, seconds: float) -> bool:
        if self._stop.is_set():
            return True
        try:
            await asyncio.wait_for(self._stop.wait(), max(seconds, 0.0))
        except TimeoutError:
            return False
        return True

    async def _book(self, number: int, outcome: Outcome) -> None:
        user_id = f"{ENDINGS[outcome].user}-{self._load.prefix}-{number}"
        request = BookingRequest(
            user_id, f"bus-{number % 12}", f"segment-{number % 5}", 1000 + 100 * (number % 7), self._timings(outcome)
        )
        start = Start(f"booking-{user_id}", outcome)
        if await self._retry(start, lambda: self._start(start, request)):
            self._tally.started[outcome] += 1
            self._on_started(start)
            await self._retry(start, lambda: self._follow_up(start))

    async def _retry(self, start: Start, call: Callable[[], Awaitable[None]]) -> bool:
        """Retry a call until it succeeds; return False if the load was stopped first."""
        backoff = FIRST_BACKOFF
        while True:
            try:
                await call()
            except RPCError as error:
                self._tally.errors += 1
                self._on_error(start, error)
            else:
                return True
            if await self._stopped_within(backoff):
                self._tally.abandoned += 1
                return False
            backoff = min(backoff * 2, MAX_BACKOFF)

    async def _start(self, start: Start, request: BookingRequest) -> None:
        timed_out = start.outcome is Outcome.TIMED_OUT
        attended = ENDINGS[start.outcome].attended
        signalled = start.outcome is Outcome.CANCELLED_BY_USER
        try:
            await self._client.start_workflow(
                BookRideWorkflow.run,
                request,
                id=start.workflow_id,
                task_queue=self._load.task_queue + ("" if attended else UNATTENDED),
                execution_timeout=self._load.short_timeout if timed_out else self._load.execution_timeout,
                # A start is retried if its response was lost, and the run may have closed since.
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                start_signal=CANCEL_BOOKING if signalled else None,
                start_signal_args=["the load's user changed plans"] if signalled else [],
            )
        except WorkflowAlreadyStartedError:
            _log.debug("%s was already started by a call whose response was lost", start.workflow_id)

    def _timings(self, outcome: Outcome) -> ActivityTimings:
        # With unlimited retries the booking stays open until it is cancelled or terminated, however late.
        unlimited = ENDINGS[outcome].user == "unreachable"
        return replace(self._load.timings, max_attempts=0) if unlimited else self._load.timings

    async def _follow_up(self, start: Start) -> None:
        handle = self._client.get_workflow_handle(start.workflow_id)
        try:
            if start.outcome is Outcome.CANCELED:
                await handle.cancel()
            elif start.outcome is Outcome.TERMINATED:
                await handle.terminate("terminated by the load generator")
        except RPCError as error:
            # Closed already: an earlier attempt took effect and its response was lost.
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
