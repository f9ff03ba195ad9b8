"""SLOs bound to what their spec says about all of them: the form in which every other package uses them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from temporal_slo.spec.alerting import Alerting, LowTraffic
from temporal_slo.spec.burn import tiers_of
from temporal_slo.spec.model import Latency, Outcome, Period, Sli, Slo, Spec, Tier
from temporal_slo.spec.slis import RUN


@dataclass(frozen=True, slots=True)
class BoundSlo:
    """An SLO together with what its spec sets for all SLOs of the file.

    Attributes:
        slo: The SLO as written.
        service: The service that the SLO belongs to.
        temporal_namespace: Temporal namespace of its workflows.
        owner: The team that is alerted.
        period: Compliance period: a rolling duration, or a calendar month.
        tiers: Burn-rate tiers that alert for this SLO, in the order of the spec.
    """

    slo: Slo
    service: str
    temporal_namespace: str
    owner: str
    period: Period
    tiers: tuple[Tier, ...]

    @classmethod
    def of(cls, spec: Spec, slo: Slo) -> Self:
        """Bind *slo* to the *spec* that contains it."""
        return cls(slo, spec.service, spec.temporal_namespace, spec.owner, spec.period, tiers_of(spec, slo))

    @property
    def name(self) -> str:
        """Name of the SLO, unique in its Temporal namespace."""
        return self.slo.name

    @property
    def description(self) -> str:
        """What the SLO means to a customer; may be empty."""
        return self.slo.description

    @property
    def workflow_types(self) -> tuple[str, ...]:
        """Workflow types that the SLO covers."""
        return self.slo.workflow

    @property
    def task_queue(self) -> str | None:
        """The only task queue that the SLO covers; None for all."""
        return self.slo.task_queue

    @property
    def objective(self) -> Decimal:
        """Percent of good events, with the digits of the spec."""
        return self.slo.objective

    @property
    def error_budget(self) -> Decimal:
        """Share of events that may be bad, exact: 0.005 for an objective of 99.5."""
        return self.slo.error_budget

    @property
    def outcome(self) -> Outcome | None:
        """How the business outcome is read from a result; None if only the status counts."""
        return self.slo.outcome

    @property
    def sli(self) -> Sli:
        """What an event is, and which events are good."""
        return self.slo.sli

    @property
    def alerting(self) -> Alerting:
        """Alerting options of the SLO."""
        return self.slo.alerting

    @property
    def low_traffic(self) -> LowTraffic:
        """Protection from alerts on a single failure, with the default where the spec sets none."""
        return self.slo.low_traffic


class LoadedSpecs(tuple[Spec, ...]):  # noqa: SLOT001 a tuple cannot have slots with names
    """Specs in the order of their files, with their SLOs bound once.

    Attributes:
        slos: The SLOs of all specs, in the order of the files.
    """

    slos: tuple[BoundSlo, ...]

    def __new__(cls, specs: Iterable[Spec] = ()) -> Self:
        """Bind the SLOs of *specs*."""
        self = super().__new__(cls, tuple(specs))
        self.slos = tuple(BoundSlo.of(spec, slo) for spec in self for slo in spec.slos)
        return self

    def of_namespace(self, temporal_namespace: str) -> tuple[BoundSlo, ...]:
        """Return the SLOs of one Temporal namespace, in the order of the files."""
        return tuple(slo for slo in self.slos if slo.temporal_namespace == temporal_namespace)


def outcomes(slos: Sequence[BoundSlo]) -> dict[str, Outcome]:
    """Return how to read the outcome of each workflow type that has one."""
    return {type_: slo.outcome for slo in slos if slo.outcome for type_ in slo.workflow_types}


def run_types(slos: Iterable[BoundSlo], temporal_namespace: str) -> frozenset[str]:
    """Return the workflow types of a Temporal namespace of which a latency SLO measures runs, not executions."""
    return frozenset(
        workflow_type
        for slo in slos
        for workflow_type in slo.workflow_types
        if slo.temporal_namespace == temporal_namespace and isinstance(slo.sli, Latency) and slo.sli.measure == RUN
    )


def workflow_types(slos: Sequence[BoundSlo]) -> tuple[str, ...]:
    """Return every workflow type of *slos* once, sorted."""
    return tuple(sorted({type_ for slo in slos for type_ in slo.workflow_types}))


def task_queues(slos: Sequence[BoundSlo]) -> tuple[str, ...]:
    """Return every task queue that *slos* name once, in their order."""
    return tuple(dict.fromkeys(slo.task_queue for slo in slos if slo.task_queue))
