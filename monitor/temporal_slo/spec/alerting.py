"""Alerting options of a spec: burn-rate tiers, low-traffic protection, and thresholds of cause alerts."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from temporal_slo.spec.base import Part
from temporal_slo.spec.scalars import NAME, Boolean, Confidence, Duration, ExtendSchema, Name, Percent, Positive
from temporal_slo.spec.validators import FrozenMapping, invalid

Severity = Literal["page", "ticket"]


class Tier(Part):
    """A multiwindow burn-rate alert: fires when `budget` is consumed within `long` and `short` still burns as fast.

    Attributes:
        name: Name of the tier, unique in the spec.
        severity: Whether the alert pages or opens a ticket.
        long: Long window, over which the budget is consumed.
        short: Short window, which resolves the alert soon after the errors stop.
        budget: Percent of the period's error budget.
    """

    name: Name = Field(examples=["page-quick"])
    severity: Severity = Field(examples=["page"])
    long: Duration = Field(examples=["1h"])
    short: Duration = Field(examples=["5m"])
    budget: Percent = Field(examples=["2"])

    @model_validator(mode="after")
    def _short_is_shorter(self) -> Self:
        if self.short >= self.long:
            raise invalid("has a short window that is not shorter than the long window", "write for example short: 5m")
        return self


class TierAlert(Part):
    """Overrides of one tier for an SLO.

    Attributes:
        enabled: Whether the tier alerts.
        for_: Duration for which the condition must hold before the alert fires, `for` in the spec, or None for 0s.
    """

    enabled: Boolean = Field(default=True, examples=["false"])
    for_: Duration | None = Field(default=None, alias="for", examples=["2m"])


class LowTraffic(Part):
    """Protection from alerts on a single failure among few events.

    Attributes:
        mode: `none`; `min_failures`, a minimum number of failures; or `confidence`, a lower confidence bound of the
            failures that must exceed the threshold.
        min_failures: Minimum number of failures in the long window, in both modes other than none.
        confidence: Confidence level of the bound, between 0.5 and 1.
    """

    mode: Literal["none", "min_failures", "confidence"] = Field(examples=["confidence"])
    min_failures: Positive = Field(default=2, examples=["2"])
    confidence: Confidence = Field(default=Decimal("0.95"), examples=["0.95"])

    @model_validator(mode="after")
    def _is_used(self) -> Self:
        for key, modes in {"min_failures": ("min_failures", "confidence"), "confidence": ("confidence",)}.items():
            if key in self.model_fields_set and self.mode not in modes:
                raise invalid(
                    f"sets {key}, which mode {self.mode} does not use", f"remove {key}, or write mode: {modes[0]}"
                )
        return self


class Alerting(Part):
    """Alerting options of an SLO.

    Attributes:
        page: Whether tiers of severity page alert.
        ticket: Whether tiers of severity ticket alert.
        low_traffic: Protection from alerts on a single failure, or None for the default: mode confidence for events,
            none for minutes.
        tiers: Overrides for this SLO, by the name of the tier.
    """

    page: Boolean = Field(default=True, examples=["true"])
    ticket: Boolean = Field(default=True, examples=["true"])
    low_traffic: LowTraffic | None = Field(default=None, examples=["{mode: confidence}"])
    tiers: Annotated[Mapping[Name, TierAlert], AfterValidator(FrozenMapping), ExtendSchema("propertyNames", NAME)] = (
        Field(default=FrozenMapping({}), examples=["{page-quick: {enabled: false}}"])
    )


class ServerCauses(Part):
    """Alert thresholds of the Temporal server's own metrics.

    Attributes:
        frontend_error_percent: Error rate of the frontend, in percent of requests.
        persistence_latency: p99 latency of requests to the database.
        visibility_lag: Delay until a closed run appears in visibility.
    """

    frontend_error_percent: Percent = Field(default=Decimal(1), examples=["1"])
    persistence_latency: Duration = Field(default=timedelta(seconds=1), examples=["1s"])
    visibility_lag: Duration = Field(default=timedelta(minutes=1), examples=["1m"])


class Causes(Part):
    """Thresholds of the alerts on likely causes of SLO violations; the defaults suit most installations.

    Attributes:
        backlog_age: Age of the oldest task in the backlog of a task queue.
        ingestion_lag: Range of close times that the exporter has not read yet.
        classification_lag: Time since the oldest closed run that is not classified yet has closed.
        exporter_stale: Time since the exporter's last successful poll.
        source_stale: Time since the last successful read of an additional data source.
        audit_drift: Runs that Temporal has and the ledger does not have.
        unknown_outcomes: Percent of completed runs whose outcome could not be read.
        retrying_activities: Activities that keep failing and being retried.
        schedule_overdue: Time since the scheduled start of a schedule's action.
        stuck: Time for which workflow tasks fail before the alert fires.
        no_pollers_for: Time for which a task queue has no pollers before the alert fires.
        server: Thresholds of the Temporal server's own metrics.
    """

    backlog_age: Duration = Field(default=timedelta(minutes=5), examples=["5m"])
    ingestion_lag: Duration = Field(default=timedelta(minutes=10), examples=["10m"])
    classification_lag: Duration = Field(default=timedelta(minutes=10), examples=["10m"])
    exporter_stale: Duration = Field(default=timedelta(minutes=5), examples=["5m"])
    source_stale: Duration = Field(default=timedelta(minutes=15), examples=["15m"])
    audit_drift: Positive = Field(default=1, examples=["1"])
    unknown_outcomes: Percent = Field(default=Decimal(1), examples=["1"])
    retrying_activities: Positive = Field(default=1, examples=["1"])
    schedule_overdue: Duration = Field(default=timedelta(minutes=5), examples=["5m"])
    stuck: Duration = Field(default=timedelta(minutes=5), examples=["5m"])
    no_pollers_for: Duration = Field(default=timedelta(minutes=5), examples=["5m"])
    server: ServerCauses = Field(default=ServerCauses(), examples=["{persistence_latency: 1s}"])


class Prometheus(Part):
    """The Prometheus that evaluates the rules.

    Attributes:
        retention: Retention time of samples, or None if unknown.
    """

    retention: Duration | None = Field(default=None, examples=["60d"])
