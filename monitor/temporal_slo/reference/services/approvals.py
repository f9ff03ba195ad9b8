"""Approvals of wallet top-ups by people."""

from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import Field

from temporal_slo.reference.services.books import Db
from temporal_slo.reference.services.refusals import refuse, refuse_unless_same
from temporal_slo.reference.web.problems import ProblemError
from temporal_slo.reference.web.wire import Amount, Empty, Id, Request, Text, Wire

State = Literal["open", "closed"]
Decision = Literal["approved", "rejected", "expired"]


class ApprovalRequest(Request):
    """Request to approve a payment of another amount than asked for."""

    workflow_id: Id
    user_id: Id
    asked: Amount
    paid: Amount
    reference: Id


class Approver(Request):
    """The approval to remind the approvers of."""

    workflow_id: Id


class Closure(Request):
    """The decision on an approval."""

    workflow_id: Id
    decision: Decision
    approver: Annotated[Text, Field(max_length=300)] = ""
    reason: Text = ""


class Requested(Wire):
    """The state of an approval that was asked for; all fields are absent while it is open."""

    decision: Decision | None = None
    approver: str | None = None
    reason: str | None = None


class Approval(Wire):
    """An approval. The last three fields are absent while it is open."""

    workflow_id: str
    user_id: str
    asked: int
    paid: int
    reference: str
    state: State
    opened_at: str | None = None
    reminders: int
    decision: Decision | None = None
    approver: str | None = None
    reason: str | None = None


class Approvals(Wire):
    """A page of approvals, oldest first; the next page starts at the cursor, if there is one."""

    approvals: list[Approval]
    next_cursor: str | None = None


def request_approval(db: Db, request: ApprovalRequest, at: str) -> Requested:
    """Open an approval. One that exists stays as it is: a decision is returned, so that it is not asked for again."""
    known = _find(db, request.workflow_id)
    details = request.model_dump(exclude={"workflow_id"})
    if known:
        refuse(known["opened_at"] is None, "the approval was closed before it was requested")
        refuse_unless_same(known, **details)
        return Requested(decision=known["decision"], approver=known["approver"], reason=known["reason"])
    db.execute(
        "INSERT INTO approvals (workflow_id, user_id, asked, paid, reference, opened_at) VALUES (?, ?, ?, ?, ?, ?)",
        (request.workflow_id, *details.values(), at),
    )
    return Requested()


def remind(db: Db, request: Approver) -> Empty:
    """Remind the approvers of an open approval.

    Raises:
        ProblemError: It does not exist, or was closed.
    """
    known = _find(db, request.workflow_id)
    if known is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "no approval of this workflow")
    refuse(known["decision"], "the approval was closed")
    db.execute("UPDATE approvals SET reminders = reminders + 1 WHERE workflow_id = ?", (request.workflow_id,))
    return Empty()


def close(db: Db, request: Closure) -> Empty:
    """Close an approval with a decision, which is final."""
    known = _find(db, request.workflow_id)
    refuse(known and known["decision"] not in {None, request.decision}, "the approval has another decision")
    db.execute(
        "INSERT INTO approvals (workflow_id, decision, approver, reason) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET decision = excluded.decision, approver = excluded.approver,"
        " reason = excluded.reason WHERE decision IS NULL",
        (request.workflow_id, request.decision, request.approver, request.reason),
    )
    return Empty()


def listed(db: Db, state: State | None, limit: int, cursor: int) -> Approvals:
    """Return a page of approvals after *cursor*."""
    rows = db.execute(
        "SELECT *, IIF(decision IS NULL, 'open', 'closed') AS state FROM approvals"
        " WHERE seq > ? AND COALESCE(?, state) = state ORDER BY seq LIMIT ?",
        (cursor, state, limit + 1),
    ).fetchall()
    page = [Approval(**{field: row[field] for field in Approval.model_fields}) for row in rows[:limit]]
    return Approvals(approvals=page, next_cursor=str(rows[limit - 1]["seq"]) if len(rows) > limit else None)


def _find(db: Db, workflow_id: str) -> Any:  # noqa: ANN401 a row or None
    return db.execute("SELECT * FROM approvals WHERE workflow_id = ?", (workflow_id,)).fetchone()
