"""Approvals: list those that are open, decide one."""

import hashlib
from http import HTTPStatus
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from temporal_slo.reference.api.service_reader import ServiceReader
from temporal_slo.reference.api.temporal_service import TemporalService
from temporal_slo.reference.api.topups import WORKFLOW
from temporal_slo.reference.api.wallets import UNKNOWN, TopUpId
from temporal_slo.reference.api.wire import Answer, ShortId, ShortText, errors
from temporal_slo.reference.web.problems import ProblemError
from temporal_slo.reference.web.wire import Request, Wire
from temporal_slo.reference.workflows.wallet_messages import DECIDE_TOP_UP, Decision, TopUpResult

PREFIX: Final = "/api/v1/approvals"
CLOSED: Final = "already decided: the top-up is no longer running"


class Approval(Answer):
    """A top-up that waits for an approver, because the customer paid another amount."""

    workflow_id: Annotated[str, Field(examples=["topup-8b03d1"])]
    user_id: Annotated[str, Field(examples=["user-7"])]
    asked: Annotated[int, Field(description="In minor units (kobo)", examples=[500_000])]
    paid: Annotated[int, Field(description="In minor units (kobo)", examples=[450_000])]
    reference: Annotated[str, Field(examples=["topup-8b03d1"])]
    state: Literal["open", "closed"]
    decision: Annotated[
        Literal["approved", "rejected", "expired"] | None, Field(description="Set if closed", examples=["approved"])
    ] = None
    approver: Annotated[str | None, Field(description="Set if closed", examples=["finance-1"])] = None
    reason: Annotated[str | None, Field(description="Set if closed", examples=["paid in two parts"])] = None


class Approvals(Answer):
    """A page of approvals."""

    approvals: list[Approval]
    next_cursor: Annotated[
        str | None, Field(description="Cursor of the next page, if there is one", examples=["42"])
    ] = None


class DecisionBody(Request):
    """An approver's decision."""

    approved: Annotated[bool, Field(examples=[True])]
    approver: Annotated[ShortId, Field(examples=["finance-1"])]
    reason: Annotated[ShortText, Field(examples=["the customer paid in two parts"])]


class DecisionTaken(Wire):
    """The decision that the workflow has accepted."""

    workflow_id: Annotated[str, Field(examples=["topup-8b03d1"])]
    decision: Annotated[Literal["approved", "rejected"], Field(examples=["approved"])]


class ApprovalsController:
    """The routes of approvals.

    Args:
        temporal: Sends decisions to the workflows.
        services: Reads the list.
    """

    def __init__(self, temporal: TemporalService, services: ServiceReader) -> None:
        self._temporal = temporal
        self._services = services

    def routes(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix=PREFIX, tags=["approvals"])
        router.add_api_route("", self.list_approvals, responses=errors(500, 502, 503))
        router.add_api_route(
            "/{workflowId}/decision",
            self.decide,
            methods=["POST"],
            responses=errors(404, 409, 500, 503),
        )
        return router

    async def list_approvals(
        self,
        state: Literal["open", "closed"] = "open",
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        cursor: Annotated[str | None, Query(pattern="^[0-9]{1,18}$", description="From `nextCursor`")] = None,
    ) -> Approvals:
        """Return the approvals, oldest first."""
        page = await self._services.read(Approvals, "approvals", state=state, limit=limit, cursor=cursor)
        return page or Approvals(approvals=[])

    async def decide(self, workflow_id: TopUpId, body: DecisionBody) -> DecisionTaken:
        """Decide an approval. The same decision again has no further effect; another one is refused."""
        decision = Decision(body.approved, body.approver, body.reason)
        # An ID of its own for each decision: Temporal returns the outcome of a repeated one, also of a closed run.
        update_id = f"decision-{hashlib.sha256(body.model_dump_json().encode()).hexdigest()[:32]}"
        if not await self._temporal.update(workflow_id, DECIDE_TOP_UP, decision, update_id):
            if await self._temporal.run(WORKFLOW, workflow_id, TopUpResult) is None:
                raise ProblemError(HTTPStatus.NOT_FOUND, UNKNOWN)
            raise ProblemError(HTTPStatus.CONFLICT, CLOSED)
        return DecisionTaken(workflow_id=workflow_id, decision="approved" if body.approved else "rejected")
