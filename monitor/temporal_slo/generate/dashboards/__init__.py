"""The dashboards, one module each; shared query builders are in `common`."""

from collections.abc import Callable
from typing import Final

from temporal_slo.generate.dashboards import detail, exporter, overview, server, workers, workflows
from temporal_slo.generate.dashboards.common import DashboardConfig
from temporal_slo.generate.kit import Dashboard

DASHBOARDS: Final[tuple[Callable[[DashboardConfig], Dashboard], ...]] = (
    overview.dashboard,
    detail.dashboard,
    workflows.dashboard,
    workers.dashboard,
    exporter.dashboard,
    server.dashboard,
)
"""Constructors of all dashboards, in the order in which an on-call engineer needs them."""
