"""Who is told when the budget burns, how soon, and of what else."""

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
    """A burn rate that is worth an alert: `budget` spent within `long`, and still burning in `short`.

    Attributes:
        name: Unique in the spec.
        severity: Whether somebody is woken, or finds a ticket in the morning.
        long: The window that tells how much was spent.
        short: The window that tells that it goes on; the alert ends soon after it is quiet.
        budget: Percent of the period's budget.
    """

    name: Name = Field(examples=["page-quick"])
    severity: Severity = Field(examples=["page"])
    long: Duration = Field(examples=["1h"])
    short: Duration = Field(examples=["5m"])
    budget: Percent = Field(examples=["2"])

    @model_validator(mode="after")
    def _short_is_shorter(self) -> Self:
        if self.short >= self.long:
            raise invalid("has a short window that is not shorter than the long one", "write for example short: 5m")
        return self


class TierAlert(Part):
    """What an SLO changes of one tier.

    Attributes:
        enabled: Whether the tier alerts at all.
        for_: How long the tier must burn before it alerts, `for` in the spec, or None to alert at once.
    """

    enabled: Boolean = Field(default=True, examples=["false"])
    for_: Duration | None = Field(default=None, alias="for", examples=["2m"])


class LowTraffic(Part):
    """What guards an SLO with few events from alerts on one failure.

    Attributes:
        mode: Nothing; a number of failures; or a bound on the failures that is surely exceeded.
        min_failures: So many failures in the long window at least, in either mode that guards.
        confidence: How sure the bound is, between 0.5 and 1.
    """

    mode: Literal["none", "min_failures", "confidence"] = Field(examples=["confidence"])
    min_failures: Positive = Field(default=2, examples=["2"])
    confidence: Confidence = Field(default=Decimal("0.95"), examples=["0.95"])

    @model_validator(mode="after")
    def _is_used(self) -> Self:
        for key, modes in {"min_failures": ("min_failures", "confidence"), "confidence": ("confidence",)}.items():
            if key in self.model_fields_set and self.mode not in modes:
                raise invalid(
                    f"has {key}, which mode {self.mode} does not use", f"remove {key}, or write mode: {modes[0]}"
                )
        return self


class Alerting(Part):
    """Who is told when the budget burns.

    Attributes:
        page: Whether anybody is woken.
        ticket: Whether tickets are made.
        low_traffic: What guards from alerts on one failure, or None for the default: confidence, where there are
            events.
        tiers: What is different for this SLO, by the name of the tier.
    """

    page: Boolean = Field(default=True, examples=["true"])
    ticket: Boolean = Field(default=True, examples=["true"])
    low_traffic: LowTraffic | None = Field(default=None, examples=["{mode: confidence}"])
    tiers: Annotated[Mapping[Name, TierAlert], AfterValidator(FrozenMapping), ExtendSchema("propertyNames", NAME)] = (
        Field(default=FrozenMapping({}), examples=["{page-quick: {enabled: false}}"])
    )


class ServerCauses(Part):
    """Thresholds on the Temporal server's own metrics.

    Attributes:
        frontend_error_percent: Percent of requests that the frontend fails.
        persistence_latency: The 99th percentile of requests to the database.
        visibility_lag: How late a closed run shows in visibility.
    """

    frontend_error_percent: Percent = Field(default=Decimal(1), examples=["1"])
    persistence_latency: Duration = Field(default=timedelta(seconds=1), examples=["1s"])
    visibility_lag: Duration = Field(default=timedelta(minutes=1), examples=["1m"])


class Causes(Part):
    """Thresholds of the alerts that tell why a promise may break; each default is what most can keep.

    Attributes:
        backlog_age: Age of the oldest task that waits in a queue.
        uncovered: Close times that the exporter has not read yet.
        exporter_stale: Time since the exporter's last good poll.
        source_stale: Time since what the exporter reads beside closed runs was last read.
        audit_drift: Runs that the server has and the ledger has not.
        unknown_outcomes: Percent of completed runs whose outcome could not be read.
        retrying_activities: Activities that fail again and again.
        schedule_overdue: Time since a schedule should have run.
        stuck: How long workflow tasks fail before somebody is told.
        no_pollers_for: How long a watched queue is without a worker.
        server: Of the Temporal server's own metrics.
    """

    backlog_age: Duration = Field(default=timedelta(minutes=5), examples=["5m"])
    uncovered: Duration = Field(default=timedelta(minutes=10), examples=["10m"])
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
    """What is known of the Prometheus that evaluates the rules.

    Attributes:
        retention: How long it keeps samples, or None if that is not known.
    """

    retention: Duration | None = Field(default=None, examples=["60d"])
