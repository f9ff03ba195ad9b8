"""A load of bookings: so many a second, in a given mix of endings, the same for the same seed."""

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
    BookingTimings,
    BookRideWorkflow,
    Status,
)

SHORT_TIMEOUT: Final = timedelta(seconds=3)
UNATTENDED: Final = "-unattended"
"""Appended to the task queue of bookings that no worker is to take."""
MAX_WEIGHT: Final = 1000
MAX_IN_FLIGHT: Final = 50
CATCH_UP: Final = 1.0
"""Seconds of delay that the load makes up for; after a longer stall it goes on at its rate, without a burst."""
FIRST_BACKOFF: Final = 0.2
MAX_BACKOFF: Final = 5.0

_log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """The ways in which a booking of the load ends."""

    CONFIRMED = "confirmed"
    DECLINED = "declined"
    CANCELLED_BY_USER = "cancelled_by_user"
    CANCELED = "canceled"
    TERMINATED = "terminated"
    TIMED_OUT = "timed_out"
    FAILED = "failed"


@dataclass(frozen=True)
class Ending:
    """How an outcome is brought about and how it shows.

    Attributes:
        user: The kind of test user that books.
        status: Temporal's status of the run, lower case.
        result: The status in the result; None if there is no result.
        attended: Whether a worker takes it. A run whose worker only fails does not time out for certain: the server
            gives an activity up once its next attempt would come too late, and the workflow then ends by itself.
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
    """How often each outcome is wanted, as whole numbers in proportion to each other."""

    weights: Mapping[Outcome, int]

    @classmethod
    def parse(cls, text: str) -> "Mix":
        """Read for example `confirmed=80,declined=20`; what is not named does not occur.

        Raises:
            UsageError: *text* is not such a list, or wants nothing.
        """
        weights: dict[Outcome, int] = {}
        for term in text.split(","):
            outcome, weight = _parse_term(term)
            if outcome in weights:
                raise UsageError("--mix", f"{outcome} is given twice", "give each outcome once")
            weights[outcome] = weight
        if not any(weights.values()):
            raise UsageError("--mix", "every weight is 0", "give at least one outcome a weight above 0")
        return cls(weights)

    def __str__(self) -> str:
        return ",".join(f"{outcome}={weight}" for outcome, weight in self.weights.items())


def _parse_term(term: str) -> tuple[Outcome, int]:
    name, equals, weight = (part.strip() for part in term.partition("="))
    if not equals:
        raise UsageError("--mix", f"{term!r} is not outcome=weight", "write for example confirmed=80,declined=20")
    if name not in list(Outcome):
        raise UsageError("--mix", f"there is no outcome {name!r}", f"use {', '.join(Outcome)}")
    if not weight.isdecimal() or int(weight) > MAX_WEIGHT:
        raise UsageError("--mix", f"the weight of {name} is {weight!r}", f"give a whole number up to {MAX_WEIGHT}")
    return Outcome(name), int(weight)


DEFAULT_MIX: Final = Mix.parse(
    "confirmed=80,declined=6,cancelled_by_user=4,canceled=2,terminated=2,timed_out=3,failed=3"
)


def outcomes(mix: Mix, seed: int) -> Iterator[Outcome]:
    """Yield outcomes without end: every hand of 100 (if the weights add up to that) holds the mix exactly, shuffled."""
    rng = random.Random(seed)  # noqa: S311 - a load to repeat, nothing to guard
    common = math.gcd(*mix.weights.values())
    hand = [outcome for outcome in Outcome for _ in range(mix.weights.get(outcome, 0) // common)]
    while True:
        rng.shuffle(hand)
        yield from hand


def plan(count: int, mix: Mix, seed: int) -> list[Outcome]:
    """Return the first *count* outcomes of a load with this mix and seed."""
    return list(islice(outcomes(mix, seed), count))


@dataclass(frozen=True)
class Load:
    """What to start, and how fast.

    Attributes:
        rate: Bookings a second, above 0.
        count: Bookings in all; None for no end.
        mix: How they end.
        seed: The same seed brings the same outcomes in the same order.
        prefix: Part of every user and workflow id; must differ from run to run.
        task_queue: Where the worker listens. Bookings that are to time out go to a queue beside it.
        execution_timeout: How long a run may take.
        short_timeout: The same for `timed_out`.
        timings: Time limits and retries of the activities.
        max_in_flight: Bookings being started, cancelled or terminated at once.
    """

    rate: float
    count: int | None = None
    mix: Mix = DEFAULT_MIX
    seed: int = 0
    prefix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    task_queue: str = TASK_QUEUE
    execution_timeout: timedelta = EXECUTION_TIMEOUT
    short_timeout: timedelta = SHORT_TIMEOUT
    timings: BookingTimings = field(default_factory=BookingTimings)
    max_in_flight: int = MAX_IN_FLIGHT


@dataclass(frozen=True)
class Start:
    """One booking of a load."""

    workflow_id: str
    outcome: Outcome


@dataclass
class Tally:
    """What a load did.

    Attributes:
        started: Runs that the server has, by outcome.
        errors: Calls that the server did not answer; each was made again.
        abandoned: Bookings given up because the load was stopped while the server did not answer. Whether the server
            has them, and whether those to be cancelled or terminated were, is unknown.
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
    """Start bookings until *load* is done or *stop* is set, and see each through to where it ends by itself.

    A server that is away is waited for: the booking is tried again under its workflow id, so it is never started
    twice, and what was missed meanwhile is not made up for in a burst.

    Args:
        client: Its namespace is the bookings'.
        load: What to start.
        stop: Ends the load; calls that are under way are finished first.
        on_started: Told of each run that the server has.
        on_error: Told of each call that the server did not answer; by default it is logged.
    """
    return await _Runner(client, load, stop or asyncio.Event(), on_started or _ignore, on_error or _log_error).run()


def _ignore(_start: Start) -> None:
    return


def _log_error(start: Start, error: RPCError) -> None:
    _log.warning("Temporal did not answer for %s: %s: %s", start.workflow_id, error.status.name, error)


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
            wanted = islice(outcomes(self._load.mix, self._load.seed), self._load.count)
            for number, outcome in enumerate(wanted):
                await self._slots.acquire()
                # From the time it was due, not from now: the rate does not drift by what a start costs.
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
            user_id, f"bus-{number % 12}", f"segment-{number % 5}", 10.0 + number % 7, self._timings(outcome)
        )
        start = Start(f"booking-{user_id}", outcome)
        if await self._until_answered(start, lambda: self._start(start, request)):
            self._tally.started[outcome] += 1
            self._on_started(start)
            await self._until_answered(start, lambda: self._follow_up(start))

    async def _until_answered(self, start: Start, call: Callable[[], Awaitable[None]]) -> bool:
        """Make a call until the server answers it; False if the load was stopped before."""
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
                # A start whose answer was lost is asked for again, and its run may have ended since.
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                start_signal=CANCEL_BOOKING if signalled else None,
                start_signal_args=["the load's user changed plans"] if signalled else [],
            )
        except WorkflowAlreadyStartedError:
            _log.debug("%s was started by a call that got no answer", start.workflow_id)

    def _timings(self, outcome: Outcome) -> BookingTimings:
        # Retried for ever, such a booking cannot end by itself, however late it is cancelled or terminated.
        endless = ENDINGS[outcome].user == "unreachable"
        return replace(self._load.timings, max_attempts=0) if endless else self._load.timings

    async def _follow_up(self, start: Start) -> None:
        handle = self._client.get_workflow_handle(start.workflow_id)
        try:
            if start.outcome is Outcome.CANCELED:
                await handle.cancel()
            elif start.outcome is Outcome.TERMINATED:
                await handle.terminate("the load ends it")
        except RPCError as error:
            # Closed already: an earlier try took effect and only its answer was lost.
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
