"""The labels, and what a metric family is."""

from dataclasses import dataclass
from typing import Final, Literal

PREFIX: Final = "temporal_slo"

NAMESPACE: Final = "temporal_namespace"
WORKFLOW_TYPE: Final = "workflow_type"
TASK_QUEUE: Final = "task_queue"
TASK_TYPE: Final = "task_type"
STATUS: Final = "status"
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
"""Of exemplars only: as labels of series they would have no end."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family as it is declared once and read by all.

    Attributes:
        name: Without the `_total` that a counter gets in the exposition.
        type: Its Prometheus type.
        help: One sentence, as `# HELP` says it.
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
        """The name to query: with `_total` for a counter."""
        return f"{self.name}_total" if self.type == "counter" else self.name
