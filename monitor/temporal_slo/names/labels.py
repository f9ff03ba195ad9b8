"""Label names, and the declaration of a metric family."""

from dataclasses import dataclass
from typing import Final, Literal

PREFIX: Final = "temporal_slo"

NAMESPACE: Final = "temporal_namespace"
WORKFLOW_TYPE: Final = "workflow_type"
TASK_QUEUE: Final = "task_queue"
TASK_TYPE: Final = "task_type"
STATUS: Final = "status"
STATUS_GROUP: Final = "status_group"
OUTCOME: Final = "outcome"
API: Final = "api"
CODE: Final = "code"
FAILURE_TYPE: Final = "failure_type"
CATEGORY: Final = "category"
CAUSE: Final = "cause"
LIMITER: Final = "limiter"
SLO: Final = "slo"
VERSION: Final = "version"
CHILD: Final = "child"
ACTIVITY_TYPE: Final = "activity_type"
COUNTING: Final = "counting"
REASON: Final = "reason"
HOOK: Final = "hook"
LABEL: Final = "label"
SOURCE: Final = "source"
WORKFLOW_ID: Final = "workflow_id"
RUN_ID: Final = "run_id"
"""Labels of exemplars only: as labels of series their cardinality would be unbounded."""


@dataclass(frozen=True, slots=True)
class Family:
    """Declaration of a metric family: the exposition, the queries and METRICS.md read it.

    Attributes:
        name: The name without the `_total` suffix that a counter gets in the exposition.
        type: The Prometheus type.
        help: The `# HELP` text: a noun phrase that ends with a full stop.
        labels: Label names in the order of the exposition.
        unit: The base unit, or empty for a count.
    """

    name: str
    type: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    unit: str = ""

    @property
    def sample(self) -> str:
        """The series name to query: with `_total` for a counter."""
        return f"{self.name}_total" if self.type == "counter" else self.name
