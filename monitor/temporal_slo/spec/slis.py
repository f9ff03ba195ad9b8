"""The kinds of SLI: what an event is, and which events are good."""

from datetime import timedelta
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from temporal_slo.spec.base import Part
from temporal_slo.spec.scalars import NOT_EMPTY, UNIQUE_ITEMS, Count, Duration, Lines
from temporal_slo.spec.validators import invalid, join_words, not_empty, quoted, unique

SCHEDULE_TO_START_BUCKETS: Final = tuple(
    timedelta(milliseconds=bound)
    for bound in (5, 10, 50, 100, 500, 1_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000)
)
"""Bucket bounds of the workers' histogram of schedule-to-start latency: only these thresholds can be measured."""

BAD_OUTCOME: Final = "bad_outcome"
"""Stands in `bad` for completed runs with a bad business outcome."""

EXECUTION: Final = "execution"
RUN: Final = "run"
Measure = Literal["execution", "run"]
"""What a duration or an age is one of."""

BadEvent = Literal["failed", "timed_out", "canceled", "terminated", "bad_outcome"]
ExcludedEvent = Literal["failed", "timed_out", "canceled", "terminated"]


class Success(Part):
    """Ratio of closed runs that are not bad.

    Attributes:
        bad: Statuses of bad runs; `bad_outcome` for completed runs with a bad business outcome.
        excluded: Statuses of runs that are not counted at all.
    """

    kind: ClassVar[str] = "success"

    bad: Annotated[tuple[BadEvent, ...], AfterValidator(not_empty), AfterValidator(unique), NOT_EMPTY, UNIQUE_ITEMS] = (
        Field(examples=["[failed, timed_out]"])
    )
    excluded: Annotated[tuple[ExcludedEvent, ...], AfterValidator(unique), UNIQUE_ITEMS] = Field(
        default=(), examples=["[canceled, terminated]"]
    )

    @model_validator(mode="after")
    def _no_overlap(self) -> Self:
        for status in self.excluded:
            if status in self.bad:
                raise invalid(f"lists {quoted(status)} as both bad and excluded", "keep it in one of them")
        return self


class Latency(Part):
    """Ratio of successful runs that completed within the threshold: with a good outcome, or of a type without outcomes.

    Attributes:
        threshold: Longest duration of a good run.
        measure: `execution` for the time from the first run of a chain of continue-as-new and workflow retries to the
            close of the last, which is what a caller waits for; `run` for the time of the last run alone.
        failures: `bad` to count failed and timed-out runs, and those with a bad outcome, as bad events; by default they
            are no events, because a failure is not slow.
    """

    kind: ClassVar[str] = "latency"

    threshold: Duration = Field(examples=["2m"])
    measure: Measure = Field(default=EXECUTION, examples=["run"])
    failures: Literal["excluded", "bad"] = Field(default="excluded", examples=["bad"])


class Overdue(Part):
    """Ratio of minutes with at most `tolerate` overdue runs: runs open for longer than `max_age`.

    Attributes:
        max_age: Age from which an open run is overdue.
        measure: `execution` for the age since the first run of a chain of continue-as-new and workflow retries; `run`
            for the age of the open run alone.
        tolerate: Overdue runs that a good minute may have.
    """

    kind: ClassVar[str] = "overdue"

    max_age: Duration = Field(examples=["15m"])
    measure: Measure = Field(default=EXECUTION, examples=["run"])
    tolerate: Count = Field(default=0, examples=["2"])


ActivityTypes = Annotated[Lines, AfterValidator(not_empty), NOT_EMPTY]
ActivityEnd = Literal["failed", "timed_out", "canceled"]


class ActivitySuccess(Part):
    """Ratio of activities that succeed, after all their retries; measured by workers.

    Attributes:
        activities: Activity types to count, or None for all.
        bad: How bad activities end.
    """

    kind: ClassVar[str] = "activity_success"
    activities: ActivityTypes | None = Field(default=None, examples=["[charge_wallet]"])
    bad: Annotated[
        tuple[ActivityEnd, ...], AfterValidator(not_empty), AfterValidator(unique), NOT_EMPTY, UNIQUE_ITEMS
    ] = Field(default=("failed", "timed_out"), examples=["[failed, timed_out]"])


class ScheduleToStart(Part):
    """Ratio of activities whose first attempt starts within the threshold; measured by workers.

    Attributes:
        threshold: Longest schedule-to-start latency of a good activity.
        activities: Activity types to count, or None for all.
    """

    kind: ClassVar[str] = "schedule_to_start"
    threshold: Duration = Field(examples=["5s"])
    activities: ActivityTypes | None = Field(default=None, examples=["[charge_wallet]"])


Sli = Success | Latency | Overdue | ActivitySuccess | ScheduleToStart
WorkerSli = ActivitySuccess | ScheduleToStart
"""SLIs that only workers measure. The ledger, from which calendar periods are computed, does not have them."""


class SliKinds(Part):
    """The keys of `sli`, of which exactly one is allowed."""

    success: Success | None = Field(default=None, examples=["{bad: [failed, timed_out]}"])
    latency: Latency | None = Field(default=None, examples=["{threshold: 2m}"])
    overdue: Overdue | None = Field(default=None, examples=["{max_age: 15m}"])
    activity_success: ActivitySuccess | None = Field(default=None, examples=["{activities: [charge_wallet]}"])
    schedule_to_start: ScheduleToStart | None = Field(default=None, examples=["{threshold: 5s}"])


class SliSchema:
    """Sets the JSON Schema of `sli` to that of the YAML: a mapping whose only key is the kind."""

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(SliKinds.__pydantic_core_schema__) | {"minProperties": 1, "maxProperties": 1}


def single_kind(value: object) -> object:
    """Return the SLI under `sli`; reject none and several."""
    if isinstance(value, Sli):
        return value
    kinds = SliKinds.model_validate(value)
    given = [getattr(kinds, kind) for kind in kinds.model_fields_set]
    if len(given) != 1:
        known = join_words(list(SliKinds.model_fields), "and")
        raise invalid(f"has {len(given)} kinds of SLI", f"write exactly one of {known}")
    return given[0]
