"""The dashboards: one module each, and what they share in `common`."""

from collections.abc import Callable
from typing import Final

from temporal_slo.generate.dashboards import detail, exporter, overview, server, workers, workflows
from temporal_slo.generate.dashboards.common import Setting
from temporal_slo.generate.kit import Board

BOARDS: Final[tuple[Callable[[Setting], Board], ...]] = (
    overview.board,
    detail.board,
    workflows.board,
    workers.board,
    exporter.board,
    server.board,
)
"""In the order in which somebody who is woken needs them."""
