"""The HTTP API of the reference application."""

from dataclasses import dataclass, field
from http import HTTPStatus
from importlib.metadata import version
from typing import Annotated, Final, Literal

from fastapi import FastAPI
from pydantic import Field
from pydantic.alias_generators import to_camel

from temporal_slo.reference.api.approvals import ApprovalsController
from temporal_slo.reference.api.bookings import BookingsController
from temporal_slo.reference.api.service_reader import ServiceReader
from temporal_slo.reference.api.temporal_service import TemporalService
from temporal_slo.reference.api.topups import TopUps
from temporal_slo.reference.api.wallets import WalletsController
from temporal_slo.reference.api.webhooks import PaystackSignature, WebhooksController
from temporal_slo.reference.api.wire import errors
from temporal_slo.reference.web import problems
from temporal_slo.reference.web.limits import BodyLimit
from temporal_slo.reference.web.wire import Wire
from temporal_slo.reference.workflows.booking import TASK_QUEUE
from temporal_slo.reference.workflows.timings import ActivityTimings

DESCRIPTION: Final = """
Starts the workflows of the reference application, reports on them and receives webhooks.

Every error is a problem (RFC 9457). A request that starts a workflow carries a `requestId`, from which the workflow ID
is derived: a client that got no response repeats the request, and nothing is started twice. After 503, repeat it when
`Retry-After` has passed.

There is no authentication: run the API behind a gateway that provides it. Webhooks are verified by their signature.
"""


@dataclass(frozen=True, kw_only=True)
class Starts:
    """How workflows start.

    Attributes:
        booking_timings: Timeouts and retries of the activities of a booking.
        booking_task_queue: Task queue of the booking workers.
        topups: How top-ups start.
    """

    booking_timings: ActivityTimings = field(default_factory=ActivityTimings)
    booking_task_queue: str = TASK_QUEUE
    topups: TopUps = field(default_factory=TopUps)


class Health(Wire):
    """The process serves requests."""

    status: Annotated[Literal["ok"], Field(examples=["ok"])] = "ok"


def create_app(
    temporal: TemporalService, services: ServiceReader, signature: PaystackSignature, starts: Starts | None = None
) -> FastAPI:
    """Return the application.

    Args:
        temporal: Sends the requests to Temporal.
        services: Reads from the services.
        signature: Verifies the webhooks of Paystack.
        starts: How workflows start.
    """
    starts = starts or Starts()
    app = FastAPI(
        title="temporal-slo reference API",
        version=version("temporal-slo"),
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: to_camel(route.name),
    )
    app.add_middleware(BodyLimit)
    # An identifier that cannot exist names nothing.
    problems.install(app, invalid_path=HTTPStatus.NOT_FOUND)
    app.add_api_route("/healthz", healthz, tags=["health"], responses=errors(500))
    app.include_router(BookingsController(temporal, starts.booking_timings, starts.booking_task_queue).routes())
    app.include_router(WalletsController(temporal, services, starts.topups).routes())
    app.include_router(ApprovalsController(temporal, services).routes())
    app.include_router(WebhooksController(temporal, services, starts.topups, signature).routes())
    return app


async def healthz() -> Health:
    """Return at once, whatever the state of Temporal and of the services."""
    return Health()
