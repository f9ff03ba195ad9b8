"""The load generator: starts workflows at a constant rate with a given mix of outcomes, repeatable by seed."""

import asyncio
import logging
from collections.abc import Callable
from itertools import islice
from typing import Final

from temporalio.client import Client
from temporalio.service import RPCError

from temporal_slo.reference.load import rules
from temporal_slo.reference.load.bookings import Bookings
from temporal_slo.reference.load.buses import Buses
from temporal_slo.reference.load.calls import Http, NotYetError, RefusedError, UnavailableError
from temporal_slo.reference.load.mix import outcomes
from temporal_slo.reference.load.model import Load, Start, Starter, Step, Tally
from temporal_slo.reference.load.outcomes import ENDINGS, Outcome
from temporal_slo.reference.load.topups import TopUps

CATCH_UP: Final = 1.0
"""Seconds of delay that the load makes up for; after a longer stall it continues at its rate, without a burst."""
FIRST_BACKOFF: Final = 0.2
MAX_BACKOFF: Final = 5.0
PATIENCE: Final = 60.0
"""Seconds until the load gives up waiting for a workflow to reach a step: workers that are down do not stop it."""

_log = logging.getLogger(__name__)


async def run(
    client: Client,
    load: Load,
    *,
    stop: asyncio.Event | None = None,
    on_started: Callable[[Start], None] | None = None,
    on_error: Callable[[Start, Exception], None] | None = None,
) -> Tally:
    """Start workflows until *load* is complete or *stop* is set, and do what each outcome needs.

    The load installs its fault rules in the services first. While a server is unreachable, calls are retried with
    backoff. A retried start uses the same workflow ID, so no workflow is started twice. Delayed workflows are not made
    up for in a burst.

    Args:
        client: Client of the namespace of the workflows.
        load: What to start.
        stop: Stops the load; calls in flight are finished first.
        on_started: Called for each started run.
        on_error: Called for each failed call; by default the error is logged.
    """
    return await _Runner(client, load, stop or asyncio.Event(), on_started or _ignore, on_error or _log_error).run()


def _ignore(_start: Start) -> None:
    return


def _log_error(start: Start, error: Exception) -> None:
    status = f"{error.status.name}: " if isinstance(error, RPCError) else ""
    _log.warning("a call for %s failed, retrying: %s%s", start.workflow_id, status, error)


class _Runner:
    """One run of a load."""

    def __init__(
        self,
        client: Client,
        load: Load,
        stop: asyncio.Event,
        on_started: Callable[[Start], None],
        on_error: Callable[[Start, Exception], None],
    ) -> None:
        self._load = load
        self._stop = stop
        self._on_started = on_started
        self._on_error = on_error
        self._slots = asyncio.Semaphore(load.max_in_flight)
        self._tally = Tally()
        self._services = Http(load.services)
        self._api = Http(load.api) if load.api else None
        self._workflows: dict[str, Starter] = {
            "booking": Bookings(client, load, self._api),
            "topup": TopUps(client, load, self._services, self._api),
            "bus": Buses(client, load, self._services),
        }

    async def run(self) -> Tally:
        try:
            await rules.install(self._services)
            await self._start_all()
        finally:
            await self._services.close()
            if self._api:
                await self._api.close()
        return self._tally

    async def _start_all(self) -> None:
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
                tasks.create_task(self._one(number, outcome)).add_done_callback(lambda _: self._slots.release())
                due += 1 / self._load.rate

    async def _stopped_within(self, seconds: float) -> bool:
        if self._stop.is_set():
            return True
        try:
            await asyncio.wait_for(self._stop.wait(), max(seconds, 0.0))
        except TimeoutError:
            return False
        return True

    async def _one(self, number: int, outcome: Outcome) -> None:
        workflow = self._workflows[outcome.workflow]
        user_id = f"{ENDINGS[outcome].user}-{self._load.prefix}-{number}"
        start = Start(outcome, number, user_id, workflow.workflow_id(user_id))
        if await self._retry(start, lambda: workflow.start(start)):
            self._tally.started[outcome] += 1
            self._on_started(start)
            for step in workflow.follow_ups(start):
                if not await self._retry(start, step):
                    break

    async def _retry(self, start: Start, call: Step) -> bool:
        """Retry a call until it succeeds; return False if it was refused, came to nothing, or the load was stopped."""
        give_up = asyncio.get_running_loop().time() + PATIENCE
        backoff = FIRST_BACKOFF
        while True:
            try:
                await call()
            except NotYetError as error:
                if asyncio.get_running_loop().time() > give_up:
                    return self._abandon(start, error)
            except RefusedError as error:
                return self._abandon(start, error)
            except (RPCError, UnavailableError) as error:
                self._tally.errors += 1
                self._on_error(start, error)
            else:
                return True
            if await self._stopped_within(backoff):
                self._tally.abandoned += 1
                return False
            backoff = min(backoff * 2, MAX_BACKOFF)

    def _abandon(self, start: Start, error: Exception) -> bool:
        _log.warning("%s is abandoned: %s", start.workflow_id, error)
        self._tally.abandoned += 1
        return False
