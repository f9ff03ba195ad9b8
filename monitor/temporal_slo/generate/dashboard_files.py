"""Dashboards as files: JSON to import or to provision, or ConfigMaps that Grafana's sidecar picks up."""

from collections.abc import Sequence
from typing import Final

import yaml

from temporal_slo.generate.dashboards import BOARDS
from temporal_slo.generate.dashboards.common import Setting
from temporal_slo.generate.files import MARK, README, Files
from temporal_slo.generate.kit import Board, render
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
    setting = Setting.of(slos, links, profile)
    boards = [make(setting) for make in BOARDS]
    if operator:
        made = {f"{board.uid}{SUFFIX}": _config_map(board) for board in boards}
    else:
        made = {f"{board.uid}.json": render(board) for board in boards}
    return {**made, README: PAGE + "".join(map(_section, boards))}


def _config_map(board: Board) -> str:
    document = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": board.uid,
            "labels": {"app": "temporal-slo", SIDECAR_LABEL: "1"},
            "annotations": {FOLDER: "Temporal SLO"},
        },
        "data": {f"{board.uid}.json": render(board)},
    }
    return MARK + yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)


def _section(board: Board) -> str:
    rows = "; ".join(row.title for row in board.rows)
    return (
        f"\n## {board.title}\n\n{board.description} Rows: {rows}.\n\n"
        f"`{board.uid}.json`, at `/d/{board.uid}`\n\n![{board.title}](pictures/{board.uid}.png)\n"
    )
