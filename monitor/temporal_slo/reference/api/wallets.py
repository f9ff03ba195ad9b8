"""Wallets: start a top-up, report its status, report the balance."""

from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Response
from pydantic import Field

from temporal_slo.reference.api.service_reader import ServiceReader
from temporal_slo.reference.api.temporal_service import Run, TemporalService
from temporal_slo.reference.api.topups import WORKFLOW, TopUpBody, TopUps
from temporal_slo.reference.api.wire import LOCATION, REQUEST_ID, Answer, UserPath, errors
from temporal_slo.reference.web.problems import ProblemError
from temporal_slo.reference.web.wire import Wire
from temporal_slo.reference.workflows.wallet_messages import TopUpResult

PREFIX: Final = "/api/v1"
UNKNOWN: Final = "no such top-up"

TopUpId = Annotated[str, Path(alias="workflowId", pattern=f"^topup-{REQUEST_ID}$", examples=["topup-8b03d1"])]
Status = Literal[
    "RUNNING",
    "CREDITED",
    "FAILED",
    "EXPIRED",
    "DECLINED",
    "REJECTED",
    "REFUNDED",
    "CANCELLED",
    "TIMED_OUT",
    "TERMINATED",
]

_UNSUCCESSFUL: Final[dict[str, Status]] = {
    "CANCELED": "CANCELLED",
    "TIMED_OUT": "TIMED_OUT",
    "TERMINATED": "TERMINATED",
}


class TopUpLinks(Wire):
    """Where to follow the top-up."""

    status: Annotated[str, Field(examples=["/api/v1/topups/topup-8b03d1/status"])]


class TopUpAccepted(Wire):
    """The top-up was started, now or by an earlier request with the same body."""

    workflow_id: Annotated[str, Field(examples=["topup-8b03d1"])]
    reference: Annotated[str, Field(description="Reference at the payment provider", examples=["topup-8b03d1"])]
    links: TopUpLinks


class TopUpStatus(Wire):
    """Status of a top-up: `RUNNING` until its workflow has closed."""

    workflow_id: Annotated[str, Field(examples=["topup-8b03d1"])]
    status: Annotated[Status, Field(examples=["CREDITED"])]
    transaction_id: Annotated[str | None, Field(description="Credited or refunded", examples=["tx-99"])] = None
    error: Annotated[
        str | None, Field(description="Why the wallet was not credited", examples=["no payment within 10 minutes"])
    ] = None


class Wallet(Answer):
    """A wallet."""

    user_id: Annotated[str, Field(examples=["user-7"])]
    balance: Annotated[int, Field(description="In minor units (kobo)", examples=[500_000])]


class WalletsController:
    """The routes of wallets and top-ups.

    Args:
        temporal: Sends the requests to Temporal.
        services: Reads balances.
        topups: How top-ups start.
    """

    def __init__(self, temporal: TemporalService, services: ServiceReader, topups: TopUps) -> None:
        self._temporal = temporal
        self._services = services
        self._topups = topups

    def routes(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix=PREFIX, tags=["wallets"])
        router.add_api_route(
            "/wallets/{userId}/topups",
            self.create_top_up,
            methods=["POST"],
            status_code=HTTPStatus.ACCEPTED,
            responses={202: LOCATION, **errors(404, 409, 500, 503)},
        )
        router.add_api_route("/topups/{workflowId}/status", self.get_top_up_status, responses=errors(404, 500, 503))
        router.add_api_route("/wallets/{userId}", self.get_wallet, responses=errors(404, 500, 502, 503))
        return router

    async def create_top_up(self, user_id: UserPath, body: TopUpBody, response: Response) -> TopUpAccepted:
        """Start a top-up. A repeated request with the same body has no further effect."""
        start = self._topups.start(user_id, body)
        await self._temporal.start_once(start)
        links = TopUpLinks(status=f"{PREFIX}/topups/{start.workflow_id}/status")
        response.headers["Location"] = links.status
        return TopUpAccepted(workflow_id=start.workflow_id, reference=start.workflow_id, links=links)

    async def get_top_up_status(self, workflow_id: TopUpId) -> TopUpStatus:
        """Return the status at once, also while the top-up is running."""
        run = await self._temporal.run(WORKFLOW, workflow_id, TopUpResult)
        if run is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, UNKNOWN)
        return _status(workflow_id, run)

    async def get_wallet(self, user_id: UserPath) -> Wallet:
        """Return the balance of a wallet."""
        wallet = await self._services.read(Wallet, "wallets", user_id)
        if wallet is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "no such wallet")
        return wallet


def _status(workflow_id: str, run: Run) -> TopUpStatus:
    if run.status == "RUNNING":
        return TopUpStatus(workflow_id=workflow_id, status="RUNNING")
    if isinstance(run.result, TopUpResult):
        result = run.result
        return TopUpStatus(
            workflow_id=workflow_id,
            status=result.status,
            transaction_id=result.transaction_id or None,
            error=result.error,
        )
    return TopUpStatus(workflow_id=workflow_id, status=_UNSUCCESSFUL.get(run.status, "FAILED"), error=run.error)
