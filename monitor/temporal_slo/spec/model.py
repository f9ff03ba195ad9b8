"""The SLO spec as frozen, validated models."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from temporal_slo.spec.alerting import (
    Alerting,
    Causes,
    LowTraffic,
    Prometheus,
    ServerCauses,
    Severity,
    Tier,
    TierAlert,
)
from temporal_slo.spec.base import Part
from temporal_slo.spec.scalars import (
    DURATION,
    LINE,
    NOT_EMPTY,
    Expression,
    Line,
    Lines,
    Name,
    Objective,
    Paragraph,
    Rate,
    ReplaceSchema,
    TimeZone,
)
from temporal_slo.spec.slis import (
    ActivitySuccess,
    Latency,
    Overdue,
    ScheduleToStart,
    Sli,
    SliKinds,
    SliSchema,
    Success,
    WorkerSli,
    single_kind,
)
from temporal_slo.spec.validators import EXACT, HUNDRED_PERCENT, duration, invalid, not_empty, quoted

__all__ = [
    "ActivitySuccess",
    "Alerting",
    "Calendar",
    "Causes",
    "Latency",
    "LowTraffic",
    "Outcome",
    "Overdue",
    "Period",
    "PeriodKey",
    "Prometheus",
    "ScheduleToStart",
    "ServerCauses",
    "Severity",
    "Sli",
    "SliKinds",
    "Slo",
    "Spec",
    "Success",
    "Tier",
    "TierAlert",
    "WindowsKey",
    "WorkerSli",
]

PERIOD_MIN = timedelta(hours=1)
PERIOD_MAX = timedelta(days=400)
"""Retention of the ledger."""


class Calendar(Part):
    """A period of one calendar month.

    Attributes:
        calendar: Calendar unit of the period.
        timezone: IANA time zone in which the month starts.
    """

    calendar: Literal["month"] = Field(examples=["month"])
    timezone: TimeZone = Field(examples=["Africa/Accra"])


class Outcome(Part):
    """How the business outcome of a completed run is read from its result.

    Attributes:
        from_: JMESPath expression on the result, `from` in the spec.
        good: Values, as text, of a good outcome.
        bad: Values of a bad outcome.
        excluded: Values of runs that are not counted at all.
    """

    from_: Expression = Field(alias="from", examples=["status"])
    good: Lines = Field(default=(), examples=["[CONFIRMED]"])
    bad: Lines = Field(default=(), examples=["[FAILED]"])
    excluded: Lines = Field(default=(), examples=["[CANCELLED]"])

    @model_validator(mode="after")
    def _no_overlap(self) -> Self:
        if not self.good and not self.bad:
            raise invalid("has neither good nor bad values", "add for example good: [CONFIRMED]")
        values = (*self.good, *self.bad, *self.excluded)
        for index, value in enumerate(values):
            if value in values[:index]:
                raise invalid(f"lists {quoted(value)} in two of good, bad and excluded", "keep it in one of them")
        return self


Period = timedelta | Calendar
"""Compliance period: a rolling duration, or a calendar month."""


def _period(value: object) -> Period:
    # Not pydantic's union, which reports an error for each of its types.
    if isinstance(value, Calendar):
        return value
    if isinstance(value, Mapping):
        return Calendar.model_validate(value)
    rolling = duration(value)
    if not PERIOD_MIN <= rolling <= PERIOD_MAX:
        raise invalid("is not between 1h and 400d", "write for example 30d")
    return rolling


def _types(value: object) -> object:
    return (value,) if isinstance(value, str) else value


_LINES = {"type": "array", "items": LINE, "minItems": 1, "uniqueItems": True}


class Slo(Part):
    """One service level objective.

    Attributes:
        name: Name of the SLO, unique in the Temporal namespace across all files.
        description: What the SLO means to a customer; may be empty.
        workflow: Workflow types that the SLO covers.
        task_queue: Only runs, or for SLIs measured by workers activities, of this task queue, or None for all.
        objective: Percent of good events, with the digits as written.
        outcome: How the business outcome is read from the result, or None if only the status counts.
        sli: What an event is, and which events are good.
        expected_rate: Expected events per second, or None if unknown; enables warnings about low traffic.
        alerting: Alerting options.
    """

    name: Name = Field(examples=["booking-success"])
    description: Paragraph = Field(default="", examples=["Accepted bookings are confirmed."])
    workflow: Annotated[
        Lines, BeforeValidator(_types), AfterValidator(not_empty), ReplaceSchema({"anyOf": [LINE, _LINES]})
    ] = Field(examples=["[BookRideWorkflow]"])
    task_queue: Line | None = Field(default=None, examples=["booking-tasks"])
    objective: Objective = Field(examples=["99.5"])
    outcome: Outcome | None = Field(default=None, examples=["{from: status, good: [CONFIRMED], bad: [FAILED]}"])
    sli: Annotated[Sli, BeforeValidator(single_kind), SliSchema()] = Field(examples=["{latency: {threshold: 2m}}"])
    expected_rate: Rate | None = Field(default=None, examples=["20/h"])
    alerting: Alerting = Field(default=Alerting(), examples=["{page: true, ticket: true}"])

    @property
    def error_budget(self) -> Decimal:
        """Share of events that may be bad, exact: 0.005 for an objective of 99.5."""
        return EXACT.divide(EXACT.subtract(Decimal(HUNDRED_PERCENT), self.objective), Decimal(HUNDRED_PERCENT))

    @property
    def low_traffic(self) -> LowTraffic:
        """Protection from alerts on a single failure; minutes, which occur at a fixed rate, need none by default."""
        default = LowTraffic(mode="none" if isinstance(self.sli, Overdue) else "confidence")
        return self.alerting.low_traffic or default

    # Checks across fields are field validators, because those run even if other fields are invalid.

    @field_validator("sli")
    @classmethod
    def _bad_outcome_has_outcome(cls, sli: Sli, info: ValidationInfo) -> Sli:
        if isinstance(sli, Success) and "bad_outcome" in sli.bad and info.data.get("outcome", sli) is None:
            raise invalid("counts bad_outcome, but the SLO has no outcome", "add outcome, or remove bad_outcome")
        return sli

    @field_validator("expected_rate")
    @classmethod
    def _no_rate_for_minutes(cls, rate: Rate | None, info: ValidationInfo) -> Rate | None:
        if isinstance(info.data.get("sli"), Overdue):
            raise invalid("has no effect on overdue, which counts one event a minute", "remove it")
        return rate

    @field_validator("alerting")
    @classmethod
    def _no_confidence_for_minutes(cls, alerting: Alerting, info: ValidationInfo) -> Alerting:
        mode = alerting.low_traffic and alerting.low_traffic.mode
        if mode == "confidence" and isinstance(info.data.get("sli"), Overdue):
            raise invalid(
                "low_traffic mode confidence is not available for overdue, which counts minutes", "write mode none"
            )
        return alerting


def _distinct_tiers(tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
    names = [tier.name for tier in tiers]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise invalid(f"has two tiers named {quoted(name)}", "rename one of them")
    return tiers


PeriodKey = Annotated[Annotated[timedelta, ReplaceSchema(DURATION)] | Calendar, BeforeValidator(_period)]
WindowsKey = Annotated[tuple[Tier, ...], AfterValidator(not_empty), AfterValidator(_distinct_tiers), NOT_EMPTY]


class Spec(Part):
    """One file: the SLOs of one service in one Temporal namespace.

    Attributes:
        version: Version of the format.
        service: Name of the service.
        temporal_namespace: Temporal namespace of its workflows.
        owner: The team that is alerted.
        period: Compliance period of the objectives: a rolling duration such as 30d, or a calendar month.
        windows: Burn-rate tiers, or None for the default tiers.
        prometheus: The Prometheus that evaluates the rules.
        causes: Thresholds of the alerts on likely causes of SLO violations.
        slos: The SLOs.
    """

    version: Literal["temporal-slo/v1"] = Field(examples=["temporal-slo/v1"])
    service: Name = Field(examples=["volteryde"])
    temporal_namespace: Line = Field(examples=["volteryde-dev"])
    owner: Line = Field(examples=["bookings-team"])
    period: PeriodKey = Field(examples=["30d"])
    windows: WindowsKey | None = Field(
        default=None, examples=["[{name: page-quick, severity: page, long: 1h, short: 5m, budget: 2}]"]
    )
    prometheus: Prometheus = Field(default=Prometheus(), examples=["{retention: 60d}"])
    causes: Causes = Field(default=Causes(), examples=["{backlog_age: 5m}"])
    slos: Annotated[tuple[Slo, ...], AfterValidator(not_empty), NOT_EMPTY] = Field(
        examples=[
            "[{name: booking-latency, workflow: BookRideWorkflow, objective: 99, sli: {latency: {threshold: 2m}}}]"
        ]
    )
