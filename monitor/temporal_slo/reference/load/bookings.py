"""Bookings of the load."""

import logging
from dataclasses import replace
from typing import Final

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from temporal_slo.reference.load.calls import Http
from temporal_slo.reference.load.model import Load, Start, Step
from temporal_slo.reference.load.outcomes import Outcome
from temporal_slo.reference.workflows.booking import CANCEL_BOOKING, BookingRequest, BookRideWorkflow
from temporal_slo.reference.workflows.timings import ActivityTimings

UNATTENDED: Final = "-unattended"
"""Suffix of the task queue for bookings that no worker may take."""
BUSES: Final = 12
_REASON: Final = "the load's user changed plans"

_log = logging.getLogger(__name__)


class Bookings:
    """Starts bookings, and cancels or terminates those whose outcome needs it.

    Args:
        client: Client of their namespace.
        load: The load.
        api: API that starts them; None to start them in Temporal.
    """

    def __init__(self, client: Client, load: Load, api: Http | None) -> None:
        self._client = client
        self._load = load
        self._api = api

    @staticmethod
    def workflow_id(user_id: str) -> str:
        """Return the ID of the booking of *user_id*."""
        return f"booking-{user_id}"

    async def start(self, start: Start) -> None:
        """Start the booking; a booking that was started by a call whose response was lost is not started again."""
        if self._api and start.ending.attended:
            await self._api.send("POST", "/api/v1/bookings", self._body(start))
            return
        try:
            await self._start(start)
        except WorkflowAlreadyStartedError:
            _log.debug("%s was already started by a call whose response was lost", start.workflow_id)

    def follow_ups(self, start: Start) -> list[Step]:
        """Return the cancellation or termination, if the outcome needs one."""
        return [lambda: self._end(start)]

    async def _end(self, start: Start) -> None:
        handle = self._client.get_workflow_handle(start.workflow_id)
        try:
            if start.outcome is Outcome.BOOKING_CANCELED:
                await handle.cancel()
            elif start.outcome is Outcome.BOOKING_TERMINATED:
                await handle.terminate("terminated by the load generator")
            elif start.outcome is Outcome.BOOKING_CANCELLED_BY_USER and self._api:
                path = f"/api/v1/bookings/{start.workflow_id}/cancel"
                await self._api.send("POST", path, {"reason": _REASON})
        except RPCError as error:
            # Closed already: an earlier attempt took effect and its response was lost.
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise

    async def _start(self, start: Start) -> None:
        attended = start.ending.attended
        signalled = start.outcome is Outcome.BOOKING_CANCELLED_BY_USER
        await self._client.start_workflow(
            BookRideWorkflow.run,
            self._request(start),
            id=start.workflow_id,
            task_queue=self._load.task_queue + ("" if attended else UNATTENDED),
            execution_timeout=self._load.execution_timeout if attended else self._load.short_timeout,
            # A start is retried if its response was lost, and the run may have closed since.
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            start_signal=CANCEL_BOOKING if signalled else None,
            start_signal_args=[_REASON] if signalled else [],
        )

    def _request(self, start: Start) -> BookingRequest:
        ride = _ride(start)
        return BookingRequest(start.user_id, ride["busId"], ride["segment"], _fare(start), self._timings(start))

    def _body(self, start: Start) -> dict[str, object]:
        return {"requestId": start.user_id, "userId": start.user_id, "fare": _fare(start), **_ride(start)}

    def _timings(self, start: Start) -> ActivityTimings:
        # With unlimited retries the booking stays open until it is cancelled or terminated, however late.
        unlimited = start.ending.user == "unreachable"
        return replace(self._load.timings, max_attempts=0) if unlimited else self._load.timings


def _ride(start: Start) -> dict[str, str]:
    return {"busId": f"bus-{start.number % BUSES}", "segment": f"segment-{start.number % 5}"}


def _fare(start: Start) -> int:
    return 1000 + 100 * (start.number % 7)
