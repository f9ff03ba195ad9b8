"""Declarations of every metric and label: name, type, unit and help text."""

from types import ModuleType
from typing import Final

from temporal_slo.names import backfill, exporter, queues, schedules, worker, workflows
from temporal_slo.names.backfill import *
from temporal_slo.names.exporter import *
from temporal_slo.names.labels import *
from temporal_slo.names.queues import *
from temporal_slo.names.rules import *
from temporal_slo.names.schedules import *
from temporal_slo.names.worker import *
from temporal_slo.names.workflows import *


def _declared(*parts: ModuleType) -> tuple[Family, ...]:
    return tuple(value for part in parts for value in vars(part).values() if isinstance(value, Family))


EXPORTER_FAMILIES: Final = _declared(workflows, queues, schedules, backfill, exporter)
"""Metrics of the exporter, in the order of the exposition."""

DURABLE_FAMILIES: Final = tuple(family for family in _declared(workflows) if family.type in {"counter", "histogram"})
"""Counts that the ledger keeps: each of their series is first exposed at 0, or it would appear with what it counted."""

INTERCEPTOR_FAMILIES: Final = _declared(worker)
"""Metrics of the worker library, exposed through the SDK's own meter."""
