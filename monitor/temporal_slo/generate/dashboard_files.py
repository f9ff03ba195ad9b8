"""Dashboards as files: JSON to import or to provision, or ConfigMaps that Grafana's sidecar picks up."""

from collections.abc import Sequence
from typing import Final

import yaml

from temporal_slo.generate.dashboards import DASHBOARDS
from temporal_slo.generate.dashboards.common import DashboardConfig
from temporal_slo.generate.files import MARK, README, Files
from temporal_slo.generate.kit import Dashboard, render
from temporal_slo.generate.links import Links
from temporal_slo.names.sdk import WHOLE, Profile
from temporal_slo.spec.bound import BoundSlo

SIDECAR_LABEL: Final = "grafana_dashboard"
"""What Grafana's Helm chart has its sidecar look for, unless it is told otherwise."""
FOLDER: Final = "grafana_folder"
SUFFIX: Final = ".configmap.yaml"

PAGE: Final = """\
# Dashboards

Made by `temporal-slo generate`; do not edit. Import a file in Grafana, or let it read this folder (`deploy/grafana`);
each asks for the Prometheus that it is to read. For Kubernetes, `--format operator` makes ConfigMaps that the sidecar
of Grafana's Helm chart picks up. Classic dashboards of schema 42, for Grafana 11 and newer.
"""


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such, so that a diff of a dashboard can be read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def files(slos: Sequence[BoundSlo], links: Links, profile: Profile = WHOLE, *, operator: bool = False) -> Files:
    """Return the files of the dashboards by name; a function of its arguments alone.

    Args:
        slos: Their burn tiers are the lines of the dashboards.
        links: Where readers look next.
        profile: How workers' own metrics are named.
        operator: Make ConfigMaps.
    """
    config = DashboardConfig.of(slos, links, profile)
    dashboards = [build(config) for build in DASHBOARDS]
    if operator:
        made = {f"{dashboard.uid}{SUFFIX}": _config_map(dashboard) for dashboard in dashboards}
    else:
        made = {f"{dashboard.uid}.json": render(dashboard) for dashboard in dashboards}
    return {**made, README: PAGE + "".join(map(_section, dashboards))}


def _config_map(dashboard: Dashboard) -> str:
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": dashboard.uid,
            "labels": {"app": "temporal-slo", SIDECAR_LABEL: "1"},
            "annotations": {FOLDER: "Temporal SLO"},
        },
        "data": {f"{dashboard.uid}.json": render(dashboard)},
    }
    return MARK + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)


def _section(dashboard: Dashboard) -> str:
    rows = "; ".join(row.title for row in dashboard.rows)
    return (
        f"\n## {dashboard.title}\n\n{dashboard.description} Rows: {rows}.\n\n"
        f"`{dashboard.uid}.json`, at `/d/{dashboard.uid}`\n\n![{dashboard.title}](pictures/{dashboard.uid}.png)\n"
    )
