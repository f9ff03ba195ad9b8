"""The SLO spec as frozen models: what may be written, and what the exporter watches because of it."""

from collections.abc import Iterator, Mapping, Sequence
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
    "latency_thresholds",
    "overdue_slos",
    "slos_of",
    "spec_outcomes",
    "watched_types",
]

PERIOD_MIN = timedelta(hours=1)
PERIOD_MAX = timedelta(days=400)
"""What the ledger keeps."""


class Calendar(Part):
    """A period that begins anew with each calendar month of a time zone.

    Attributes:
        calendar: What it begins anew with.
        timezone: Whose midnight that is, as the IANA names it.
    """

    calendar: Literal["month"] = Field(examples=["month"])
    timezone: TimeZone = Field(examples=["Africa/Accra"])


class Outcome(Part):
    """How a completed run's business outcome is read from its result.

    Attributes:
        from_: JMESPath expression, `from` in the spec.
        good: The values, as text, that mean a kept promise.
        bad: The values that mean a broken one.
        excluded: The values that count as neither.
    """

    from_: Expression = Field(alias="from", examples=["status"])
    good: Lines = Field(default=(), examples=["[CONFIRMED]"])
    bad: Lines = Field(default=(), examples=["[FAILED]"])
    excluded: Lines = Field(default=(), examples=["[CANCELLED]"])

    @model_validator(mode="after")
    def _tells_apart(self) -> Self:
        if not self.good and not self.bad:
            raise invalid("names neither good nor bad values", "add for example good: [CONFIRMED]")
        values = (*self.good, *self.bad, *self.excluded)
        for index, value in enumerate(values):
            if value in values[:index]:
                raise invalid(f"puts {quoted(value)} into two of good, bad and excluded", "keep it in one of them")
        return self


Period = timedelta | Calendar
"""Rolling, or by the calendar."""


def _period(value: object) -> Period:
    # Told apart here and not by pydantic's union, which would complain once for each of its types.
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
    """One promise.

    Attributes:
        name: Unique in the namespace, over all files.
        description: What it means to a customer; may be empty.
        workflow: The workflow types whose runs are its events.
        task_queue: Only runs of this task queue, or, for what workers measure, activities of it; None for all.
        objective: Percent of good events, with the digits that were written.
        outcome: How the result is read, or None if only the status counts.
        sli: What a good event is.
        expected_rate: Events per second, or None if nobody knows; mistakes that only traffic shows need it.
        alerting: Who is told.
    """

    name: Name = Field(examples=["booking-success"])
    description: Paragraph = Field(default="", examples=["A booking that we accept is confirmed."])
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
        """The share of events that may be bad, exact: 0.005 for an objective of 99.5."""
        return EXACT.divide(EXACT.subtract(Decimal(HUNDRED_PERCENT), self.objective), Decimal(HUNDRED_PERCENT))

    @property
    def low_traffic(self) -> LowTraffic:
        """What guards from alerts on one failure; minutes, which come at a fixed pace, need nothing."""
        default = LowTraffic(mode="none" if isinstance(self.sli, Overdue) else "confidence")
        return self.alerting.low_traffic or default

    # Checks between fields are field validators: those run although other fields are refused.

    @field_validator("sli")
    @classmethod
    def _outcome_is_known(cls, sli: Sli, info: ValidationInfo) -> Sli:
        if isinstance(sli, Success) and "bad_outcome" in sli.bad and info.data.get("outcome", sli) is None:
            raise invalid("counts bad_outcome, but the SLO has no outcome", "add outcome, or remove bad_outcome")
        return sli

    @field_validator("expected_rate")
    @classmethod
    def _rate_is_not_known(cls, rate: Rate | None, info: ValidationInfo) -> Rate | None:
        if isinstance(info.data.get("sli"), Overdue):
            raise invalid("overdue counts minutes, of which there is always one a minute", "remove it")
        return rate

    @field_validator("alerting")
    @classmethod
    def _confidence_has_events(cls, alerting: Alerting, info: ValidationInfo) -> Alerting:
        mode = alerting.low_traffic and alerting.low_traffic.mode
        if mode == "confidence" and isinstance(info.data.get("sli"), Overdue):
            raise invalid("low_traffic mode confidence needs events, and overdue counts minutes", "write mode none")
        return alerting


def _distinct_tiers(tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
    names = [tier.name for tier in tiers]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise invalid(f"holds two tiers named {quoted(name)}", "give one of them another name")
    return tiers


PeriodKey = Annotated[Annotated[timedelta, ReplaceSchema(DURATION)] | Calendar, BeforeValidator(_period)]
WindowsKey = Annotated[tuple[Tier, ...], AfterValidator(not_empty), AfterValidator(_distinct_tiers), NOT_EMPTY]


class Spec(Part):
    """One file: the promises of one service in one Temporal namespace.

    Attributes:
        version: Of this format.
        service: Whose promises these are.
        temporal_namespace: Where its workflows run.
        owner: The team that is told.
        period: What the objectives are over: the last days, or the calendar month.
        windows: Burn tiers in place of the default ones, or None for those.
        prometheus: What is known of the Prometheus that evaluates the rules.
        causes: Thresholds of the alerts that tell why a promise may break.
        slos: The promises.
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


def spec_outcomes(specs: Sequence[Spec], namespace: str) -> dict[str, Outcome]:
    """Return how to read the outcome of each workflow type that has one."""
    return {type_: slo.outcome for slo in slos_of(specs, namespace) if slo.outcome for type_ in slo.workflow}


def latency_thresholds(specs: Sequence[Spec], namespace: str) -> tuple[float, ...]:
    """Return every latency threshold in seconds, ascending, each once: the edges that a histogram needs."""
    return tuple(
        sorted({slo.sli.threshold.total_seconds() for slo in slos_of(specs, namespace) if isinstance(slo.sli, Latency)})
    )


def slos_of(specs: Sequence[Spec], namespace: str) -> Iterator[Slo]:
    """Yield the SLOs of *namespace* in the order of the specs."""
    for spec in specs:
        if spec.temporal_namespace == namespace:
            yield from spec.slos


def overdue_slos(specs: Sequence[Spec], namespace: str) -> tuple[tuple[Slo, Overdue], ...]:
    """Return the SLOs that count minutes, each with its SLI, in the order of the specs."""
    return tuple((slo, slo.sli) for slo in slos_of(specs, namespace) if isinstance(slo.sli, Overdue))


def watched_types(specs: Sequence[Spec], namespace: str) -> tuple[str, ...]:
    """Return every workflow type that an SLO names, sorted: their series exist from the start."""
    return tuple(sorted({type_ for slo in slos_of(specs, namespace) for type_ in slo.workflow}))
