"""The dashboards rendered from the reference specs."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from temporal_slo.generate.command import links
from temporal_slo.generate.dashboards import DASHBOARDS
from temporal_slo.generate.dashboards.common import DashboardConfig
from temporal_slo.generate.kit import render
from temporal_slo.names.sdk import WHOLE, Profile
from temporal_slo.spec.load import load

ROOT: Final = Path(__file__).parents[2]


def reference_config(profile: Profile = WHOLE) -> DashboardConfig:
    """Return the dashboard configuration of the reference specs."""
    return DashboardConfig.of(load([ROOT / "deploy" / "slos"]).slos, links(None, None, None), profile)


@cache
def rendered(profile: Profile = WHOLE) -> dict[str, str]:
    """Return the JSON text of each dashboard by uid."""
    config = reference_config(profile)
    return {dashboard.uid: render(dashboard) for dashboard in (build(config) for build in DASHBOARDS)}


def loaded(uid: str, profile: Profile = WHOLE) -> dict[str, Any]:
    """Return a new copy of one dashboard's JSON."""
    dashboard: dict[str, Any] = json.loads(rendered(profile)[uid])
    return dashboard
