"""Fault injection: which calls fail, and how."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from temporal_slo.reference.services.books import Db
from temporal_slo.reference.web.wire import Count, Request, Wire

EVERY_ENDPOINT: Final = "*"
CHARGE: Final = "payments/charge"
RULES_MAX: Final = 100
SECONDS_MAX: Final = 3600.0


Endpoint = Literal[
    "*",
    "approvals",
    "approvals/close",
    "approvals/remind",
    "bookings/confirm",
    "books",
    "buses",
    "buses/position",
    "invoices",
    "manifests/add-booking",
    "manifests/open",
    "manifests/seal",
    "notifications/send",
    "payments/charge",
    "payments/refund",
    "paystack/transactions",
    "paystack/transactions/cancel",
    "paystack/transactions/pay",
    "paystack/transactions/refund",
    "receipts",
    "seats/release",
    "seats/reserve",
    "timetables",
    "wallets",
    "wallets/credit",
]
"""What can fail: the paths below /api/v1 without their parameters; `*` for every one."""


class Kind(StrEnum):
    """How a call fails."""

    OUTAGE = "outage"
    ERROR = "error"
    REJECT = "reject"
    DECLINE = "decline"
    LATENCY = "latency"
    NO_RESPONSE = "no_response"


WAITING: Final = frozenset({Kind.LATENCY, Kind.NO_RESPONSE})


class FaultRule(Request):
    """A rule that makes calls fail until it is deleted.

    Attributes:
        endpoint: What fails: a path below /api/v1 without its parameters, or `*`.
        user_prefix: Only calls that concern a user whose id starts so.
        kind: outage: 503; error: 500; reject: 409, final; decline: 402, only payments/charge; latency: waits before the
            effect, until the rule is deleted at the latest; no_response: takes effect, but answers only after a wait.
        rate: Share of the calls that fail.
        seconds: The wait of latency and no_response.
        seed: The same seed and the same order of calls make the same calls fail.
        after: Number of calls that match before the first one may fail.
        count: Maximum number of calls that fail; without it, no limit.
    """

    endpoint: Endpoint
    user_prefix: Annotated[str, Field(max_length=300)] = ""
    kind: Annotated[Kind, Field(strict=False)]
    rate: Annotated[float, Field(ge=0, le=1)] = 1.0
    seconds: Annotated[float, Field(ge=0, le=SECONDS_MAX)] = 0.0
    seed: Count = 0
    after: Count = 0
    count: Count | None = None

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if self.kind is Kind.DECLINE and self.endpoint != CHARGE:
            raise ValueError(f"only the endpoint {CHARGE} can decline")
        if self.kind in WAITING and not self.seconds:
            raise ValueError(f"a fault of kind {self.kind} needs seconds above 0")
        return self

    def concerns(self, endpoint: str, user_id: str) -> bool:
        """Return whether the rule is about a call."""
        return self.endpoint in {EVERY_ENDPOINT, endpoint} and user_id.startswith(self.user_prefix)

    def fails(self, matched: int, injected: int) -> bool:
        """Return whether a call fails.

        Args:
            matched: Number of calls before it that the rule is about.
            injected: How many of them have failed.
        """
        if matched < self.after or (self.count is not None and injected >= self.count):
            return False
        # A generator for each call, so that a restart does not change which calls fail.
        return random.Random(f"{self.seed}/{matched}").random() < self.rate  # noqa: S311 - a simulation, no secret


class ActiveFault(Wire):
    """A stored rule, with the number of calls that it is about, and how many of them failed."""

    name: str
    rule: FaultRule
    matched: int
    injected: int


class ActiveFaults(Wire):
    """All stored rules, by name."""

    faults: list[ActiveFault]


@dataclass(frozen=True, slots=True)
class Injected:
    """The faults of one call, in the order of their names."""

    faults: Sequence[ActiveFault] = ()

    def of(self, kind: Kind) -> ActiveFault | None:
        """Return the first fault of a kind."""
        return next((fault for fault in self.faults if fault.rule.kind is kind), None)


NO_FAULTS: Final = Injected()


def put(db: Db, name: str, rule: FaultRule) -> None:
    """Store a rule, in place of the one that has this name; it starts with no calls."""
    db.execute("INSERT OR REPLACE INTO faults (name, rule) VALUES (?, ?)", (name, rule.json_text()))


def active(db: Db) -> list[ActiveFault]:
    """Return all rules, by name."""
    rows = db.execute("SELECT name, rule, matched, injected FROM faults ORDER BY name")
    return [
        ActiveFault(name=name, rule=FaultRule.model_validate_json(rule), matched=matched, injected=injected)
        for name, rule, matched, injected in rows
    ]


def delete(db: Db, name: str | None = None) -> list[str]:
    """Delete a rule, or all, and return the names of those that existed."""
    rows = db.execute("DELETE FROM faults WHERE ? IN (name, '') RETURNING name", (name or "",)).fetchall()
    return [row["name"] for row in rows]


def inject(db: Db, endpoint: str, user_id: str) -> Injected:
    """Return the faults of a call, and count it."""
    concerned = [fault for fault in active(db) if fault.rule.concerns(endpoint, user_id)]
    failing = [fault for fault in concerned if fault.rule.fails(fault.matched, fault.injected)]
    for fault in concerned:
        db.execute(
            "UPDATE faults SET matched = matched + 1, injected = injected + ? WHERE name = ?",
            (fault in failing, fault.name),
        )
    return Injected(failing)
