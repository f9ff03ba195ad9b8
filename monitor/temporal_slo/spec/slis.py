"""The kinds of SLI: what an event is, and which ones are good."""

from datetime import timedelta
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from temporal_slo.spec.base import Part
from temporal_slo.spec.scalars import NOT_EMPTY, UNIQUE_ITEMS, Count, Duration, Lines
from temporal_slo.spec.validators import invalid, join_words, not_empty, quoted, unique

SCHEDULE_TO_START_BUCKETS: Final = tuple(
    timedelta(milliseconds=edge)
    for edge in (5, 10, 50, 100, 500, 1_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000)
)
"""Bucket edges of the waits that workers measure: between two of them nobody knows how many waits were longer."""

BadEvent = Literal["failed", "timed_out", "canceled", "terminated", "bad_outcome"]
ExcludedEvent = Literal["failed", "timed_out", "canceled", "terminated"]


class Success(Part):
    """Good is a closed run that is not bad.

    Attributes:
        bad: Statuses, and `bad_outcome`, that break the promise.
        excluded: Statuses that are no event at all.
    """

    kind: ClassVar[str] = "success"

    bad: Annotated[tuple[BadEvent, ...], AfterValidator(not_empty), AfterValidator(unique), NOT_EMPTY, UNIQUE_ITEMS] = (
        Field(examples=["[failed, timed_out]"])
    )
    excluded: Annotated[tuple[ExcludedEvent, ...], AfterValidator(unique), UNIQUE_ITEMS] = Field(
        default=(), examples=["[canceled, terminated]"]
    )

    @model_validator(mode="after")
    def _tells_apart(self) -> Self:
        for status in self.excluded:
            if status in self.bad:
                raise invalid(f"puts {quoted(status)} into both bad and excluded", "keep it in one of them")
        return self


class Latency(Part):
    """Good is a run that closed well within the threshold.

    Attributes:
        threshold: A run that took longer is late.
    """

    kind: ClassVar[str] = "latency"

    threshold: Duration = Field(examples=["2m"])


class Overdue(Part):
    """Good is a minute in which no more than `tolerate` runs were open for longer than `max_age`.

    Attributes:
        max_age: A run that is open for longer is overdue.
        tolerate: So many overdue runs make no bad minute.
    """

    kind: ClassVar[str] = "overdue"

    max_age: Duration = Field(examples=["15m"])
    tolerate: Count = Field(default=0, examples=["2"])


ActivityTypes = Annotated[Lines, AfterValidator(not_empty), NOT_EMPTY]
ActivityEnd = Literal["failed", "timed_out", "canceled"]


class ActivitySuccess(Part):
    """Good is an activity that ended well, after all its retries; counted by workers.

    Attributes:
        activities: Only activities of these types, or None for all.
        bad: Ends that break the promise.
    """

    kind: ClassVar[str] = "activity_success"
    activities: ActivityTypes | None = Field(default=None, examples=["[charge_wallet]"])
    bad: Annotated[
        tuple[ActivityEnd, ...], AfterValidator(not_empty), AfterValidator(unique), NOT_EMPTY, UNIQUE_ITEMS
    ] = Field(default=("failed", "timed_out"), examples=["[failed, timed_out]"])


class ScheduleToStart(Part):
    """Good is an activity whose first attempt waited no longer than the threshold for a worker; measured by workers.

    Attributes:
        threshold: A longer wait is bad.
        activities: Only activities of these types, or None for all.
    """

    kind: ClassVar[str] = "schedule_to_start"
    threshold: Duration = Field(examples=["5s"])
    activities: ActivityTypes | None = Field(default=None, examples=["[charge_wallet]"])


Sli = Success | Latency | Overdue | ActivitySuccess | ScheduleToStart
WorkerSli = ActivitySuccess | ScheduleToStart
"""What only workers see: the ledger, which keeps calendar periods, knows nothing of it."""


class SliKinds(Part):
    """What may stand under `sli`: exactly one of these."""

    success: Success | None = Field(default=None, examples=["{bad: [failed, timed_out]}"])
    latency: Latency | None = Field(default=None, examples=["{threshold: 2m}"])
    overdue: Overdue | None = Field(default=None, examples=["{max_age: 15m}"])
    activity_success: ActivitySuccess | None = Field(default=None, examples=["{activities: [charge_wallet]}"])
    schedule_to_start: ScheduleToStart | None = Field(default=None, examples=["{threshold: 5s}"])


class SliSchema:
    """Stands in the JSON Schema for what is written: the key tells which kind it is."""

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(SliKinds.__pydantic_core_schema__) | {"minProperties": 1, "maxProperties": 1}


def single_kind(value: object) -> object:
    """Return the one SLI that stands under `sli`."""
    if isinstance(value, Sli):
        return value
    kinds = SliKinds.model_validate(value)
    given = [getattr(kinds, kind) for kind in kinds.model_fields_set]
    if len(given) != 1:
        kinds_known = join_words(list(SliKinds.model_fields), "and")
        raise invalid(f"holds {len(given)} kinds of SLI", f"write exactly one of {kinds_known}")
    return given[0]
