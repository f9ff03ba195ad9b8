"""The daily workflow that starts the bus services of the next day; a schedule starts it."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from temporal_slo.reference.workflows.failures import reason
from temporal_slo.reference.workflows.fleet import MAX_EVENTS, BusService, BusServiceRequest, Tracking, call
from temporal_slo.reference.workflows.timings import ActivityTimings

LIST_BUSES: Final = "listBuses"
START_BUS_SERVICE: Final = "startBusService"

BUSES_NOT_STARTED: Final = "BusesNotStarted"
"""Failure type of a run that could not start every bus service."""


@dataclass(frozen=True)
class OpenManifestsRequest:
    """Input of the daily workflow: the parameters of the bus services that it starts."""

    timings: ActivityTimings = field(default_factory=ActivityTimings)
    tracking: Tracking = field(default_factory=Tracking)
    max_events: int = MAX_EVENTS


@dataclass(frozen=True)
class OpenedManifests:
    """Result of the daily workflow."""

    service_date: str
    buses: list[str]


@workflow.defn(name="OpenManifestsWorkflow")
class OpenManifestsWorkflow:
    """Starts the bus services of the next day, each of which opens its manifest."""

    @workflow.run
    async def run(self, request: OpenManifestsRequest) -> OpenedManifests:
        """Start the bus services of the day after today, in UTC.

        A bus service that cannot be started does not keep the others from being started.

        Args:
            request: Parameters of the bus services.

        Raises:
            ApplicationError: `BusesNotStarted` with the buses, if any could not be started.
        """
        service_date = (workflow.now() + timedelta(days=1)).date().isoformat()
        buses = await call(LIST_BUSES, [], list[str], request.timings)
        failed: dict[str, ActivityError] = {}
        for bus_id in buses:
            bus = BusServiceRequest(
                BusService(bus_id, service_date), request.timings, request.tracking, request.max_events
            )
            try:
                await call(START_BUS_SERVICE, [bus], type(None), request.timings)
            except ActivityError as error:
                if is_cancelled_exception(error):
                    raise
                failed[bus_id] = error
        if failed:
            errors = "; ".join(f"{bus_id}: {reason(error)}" for bus_id, error in failed.items())
            raise ApplicationError(
                f"{len(failed)} of {len(buses)} bus services of {service_date} were not started: {errors}",
                type=BUSES_NOT_STARTED,
            ) from next(iter(failed.values()))
        return OpenedManifests(service_date, buses)
