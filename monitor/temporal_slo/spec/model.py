"""The SLO spec as frozen models: what may be written, and what the exporter watches because of it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from temporal_slo.spec.values import (
    Count,
    Expression,
    Line,
    Lines,
    Name,
    Paragraph,
    Percent,
    Span,
    Switch,
    Zone,
    distinct,
    filled,
    refusal,
    show,
    span,
)

PERIOD_MIN = timedelta(hours=1)
PERIOD_MAX = timedelta(days=400)
"""What the ledger keeps."""


class _Model(BaseModel):
    """A part of the spec. The example of a field is what an error shows as its remedy."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Calendar(_Model):
    """A period that begins anew with each calendar month of a time zone."""

    calendar: Literal["month"] = Field(examples=["month"])
    timezone: Zone = Field(examples=["Africa/Accra"])


class Outcome(_Model):
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
            raise refusal("names neither good nor bad values", "add for example good: [CONFIRMED]")
        values = (*self.good, *self.bad, *self.excluded)
        for index, value in enumerate(values):
            if value in values[:index]:
                raise refusal(f"puts {show(value)} into two of good, bad and excluded", "keep it in one of them")
        return self


BadEvent = Literal["failed", "timed_out", "canceled", "terminated", "bad_outcome"]
ExcludedEvent = Literal["failed", "timed_out", "canceled", "terminated"]


class Success(_Model):
    """Good is a closed run that is not bad.

    Attributes:
        bad: Statuses, and `bad_outcome`, that break the promise.
        excluded: Statuses that are no event at all.
    """

    bad: Annotated[tuple[BadEvent, ...], AfterValidator(filled), AfterValidator(distinct)] = Field(
        examples=["[failed, timed_out]"]
    )
    excluded: Annotated[tuple[ExcludedEvent, ...], AfterValidator(distinct)] = Field(
        default=(), examples=["[canceled, terminated]"]
    )

    @model_validator(mode="after")
    def _tells_apart(self) -> Self:
        for status in self.excluded:
            if status in self.bad:
                raise refusal(f"puts {show(status)} into both bad and excluded", "keep it in one of them")
        return self


class Latency(_Model):
    """Good is a run that closed well within the threshold."""

    threshold: Span = Field(examples=["2m"])


class Overdue(_Model):
    """Good is a minute in which no more than `tolerate` runs were open for longer than `max_age`."""

    max_age: Span = Field(examples=["15m"])
    tolerate: Count = Field(default=0, examples=["2"])


class SliKinds(_Model):
    """What may stand under `sli`: exactly one of these."""

    success: Success | None = Field(default=None, examples=["{bad: [failed, timed_out]}"])
    latency: Latency | None = Field(default=None, examples=["{threshold: 2m}"])
    overdue: Overdue | None = Field(default=None, examples=["{max_age: 15m}"])


class LowTraffic(_Model):
    """What guards an SLO with few events from alerts on one failure."""

    mode: Literal["none", "min_failures", "confidence"] = Field(examples=["confidence"])


class Alerting(_Model):
    """Who is told when the budget burns."""

    page: Switch = Field(default=True, examples=["true"])
    ticket: Switch = Field(default=True, examples=["true"])
    low_traffic: LowTraffic | None = Field(default=None, examples=["{mode: confidence}"])


def _period(value: object) -> timedelta | Calendar:
    # Told apart here and not by pydantic's union, which would complain once for each of its types.
    if isinstance(value, Calendar):
        return value
    if isinstance(value, Mapping):
        return Calendar.model_validate(value)
    rolling = span(value)
    if not PERIOD_MIN <= rolling <= PERIOD_MAX:
        raise refusal("is not between 1h and 400d", "write for example 30d")
    return rolling


def _sli(value: object) -> object:
    if isinstance(value, Success | Latency | Overdue):
        return value
    kinds = SliKinds.model_validate(value)
    given = [getattr(kinds, kind) for kind in kinds.model_fields_set]
    if len(given) != 1:
        raise refusal(f"holds {len(given)} kinds of SLI", "write exactly one of success, latency and overdue")
    return given[0]


def _types(value: object) -> object:
    return (value,) if isinstance(value, str) else value


class Slo(_Model):
    """One promise.

    Attributes:
        name: Unique in the namespace, over all files.
        description: What it means to a customer; may be empty.
        workflow: The workflow types whose runs are its events.
        task_queue: Only runs of this task queue, or None for all.
        objective: Percent of good events, with the digits that were written.
        outcome: How the result is read, or None if only the status counts.
        sli: What a good event is.
        alerting: Who is told.
    """

    name: Name = Field(examples=["booking-success"])
    description: Paragraph = Field(default="", examples=["A booking that we accept is confirmed."])
    workflow: Annotated[Lines, BeforeValidator(_types), AfterValidator(filled)] = Field(examples=["[BookRideWorkflow]"])
    task_queue: Line | None = Field(default=None, examples=["booking-tasks"])
    objective: Percent = Field(examples=["99.5"])
    outcome: Outcome | None = Field(default=None, examples=["{from: status, good: [CONFIRMED], bad: [FAILED]}"])
    sli: Annotated[Success | Latency | Overdue, BeforeValidator(_sli)] = Field(examples=["{latency: {threshold: 2m}}"])
    alerting: Alerting = Field(default=Alerting(), examples=["{page: true, ticket: true}"])

    # Checks between fields are field validators: those run although other fields are refused.

    @field_validator("sli")
    @classmethod
    def _outcome_is_known(cls, sli: Success | Latency | Overdue, info: ValidationInfo) -> Success | Latency | Overdue:
        if isinstance(sli, Success) and "bad_outcome" in sli.bad and info.data.get("outcome", sli) is None:
            raise refusal("counts bad_outcome, but the SLO has no outcome", "add outcome, or remove bad_outcome")
        return sli

    @field_validator("alerting")
    @classmethod
    def _confidence_has_events(cls, alerting: Alerting, info: ValidationInfo) -> Alerting:
        mode = alerting.low_traffic and alerting.low_traffic.mode
        if mode == "confidence" and isinstance(info.data.get("sli"), Overdue):
            raise refusal("low_traffic mode confidence needs events, and overdue counts minutes", "write mode none")
        return alerting


class Spec(_Model):
    """One file: the promises of one service in one Temporal namespace."""

    version: Literal["temporal-slo/v1"] = Field(examples=["temporal-slo/v1"])
    service: Name = Field(examples=["volteryde"])
    temporal_namespace: Line = Field(examples=["volteryde-dev"])
    owner: Line = Field(examples=["bookings-team"])
    period: Annotated[timedelta | Calendar, BeforeValidator(_period)] = Field(examples=["30d"])
    slos: Annotated[tuple[Slo, ...], AfterValidator(filled)] = Field(
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
