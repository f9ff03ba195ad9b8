"""How workflows of the load end, and what causes each ending."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Outcome(StrEnum):
    """How a workflow of the load ends; its name starts with the workflow."""

    BOOKING_CONFIRMED = "booking.confirmed"
    BOOKING_DECLINED = "booking.declined"
    BOOKING_CANCELLED_BY_USER = "booking.cancelled_by_user"
    BOOKING_CANCELED = "booking.canceled"
    BOOKING_TERMINATED = "booking.terminated"
    BOOKING_TIMED_OUT = "booking.timed_out"
    BOOKING_FAILED = "booking.failed"
    TOPUP_CREDITED = "topup.credited"
    TOPUP_PAID_TWICE = "topup.paid_twice"
    TOPUP_APPROVED = "topup.approved"
    TOPUP_REJECTED = "topup.rejected"
    TOPUP_DECLINED = "topup.declined"
    TOPUP_EXPIRED = "topup.expired"
    TOPUP_FAILED = "topup.failed"
    BUS_ARRIVED = "bus.arrived"
    BUS_STUCK = "bus.stuck"

    @property
    def workflow(self) -> str:
        """The workflow: booking, topup or bus."""
        return self.partition(".")[0]


@dataclass(frozen=True)
class Ending:
    """How an outcome is caused, and how it shows in Temporal.

    Attributes:
        user: Kind of the test user, the first part of the user ID. Fault rules apply to some kinds.
        status: Status of the run in Temporal, lower case.
        result: Status in the result; None if the run has no result.
        attended: Whether a worker polls its task queue. A failing activity does not reliably time the run out: the
            server stops retrying when the next attempt would exceed the timeout, and the workflow then completes.
    """

    user: str
    status: str
    result: str | None
    attended: bool = True


ENDINGS: Final[Mapping[Outcome, Ending]] = {
    Outcome.BOOKING_CONFIRMED: Ending("ok", "completed", "CONFIRMED"),
    Outcome.BOOKING_DECLINED: Ending("declined", "completed", "FAILED"),
    Outcome.BOOKING_CANCELLED_BY_USER: Ending("hesitant", "completed", "CANCELLED"),
    Outcome.BOOKING_CANCELED: Ending("unreachable", "canceled", None),
    Outcome.BOOKING_TERMINATED: Ending("unreachable", "terminated", None),
    Outcome.BOOKING_TIMED_OUT: Ending("ok", "timed_out", None, attended=False),
    Outcome.BOOKING_FAILED: Ending("refundless", "failed", None),
    Outcome.TOPUP_CREDITED: Ending("ok", "completed", "CREDITED"),
    Outcome.TOPUP_PAID_TWICE: Ending("ok", "completed", "CREDITED"),
    Outcome.TOPUP_APPROVED: Ending("ok", "completed", "CREDITED"),
    Outcome.TOPUP_REJECTED: Ending("ok", "completed", "REJECTED"),
    Outcome.TOPUP_DECLINED: Ending("ok", "completed", "DECLINED"),
    Outcome.TOPUP_EXPIRED: Ending("ok", "completed", "EXPIRED"),
    Outcome.TOPUP_FAILED: Ending("uncreditable", "completed", "FAILED"),
    Outcome.BUS_ARRIVED: Ending("ok", "completed", "ARRIVED"),
    Outcome.BUS_STUCK: Ending("ok", "timed_out", None),
}
