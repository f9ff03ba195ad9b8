"""Dashboards as data: what stands on them, and how that becomes JSON that Grafana takes as it is."""

from temporal_slo.generate.kit.board import Annotation, Board, Row, Variable, identity
from temporal_slo.generate.kit.panels import (
    alert_list,
    bar_gauge,
    gauge,
    heatmap,
    stat,
    state_timeline,
    table,
    text,
    timeseries,
)
from temporal_slo.generate.kit.parts import Column, Link, Panel, Query, Step, Words
from temporal_slo.generate.kit.render import render

__all__ = [
    "Annotation",
    "Board",
    "Column",
    "Link",
    "Panel",
    "Query",
    "Row",
    "Step",
    "Variable",
    "Words",
    "alert_list",
    "bar_gauge",
    "gauge",
    "heatmap",
    "identity",
    "render",
    "stat",
    "state_timeline",
    "table",
    "text",
    "timeseries",
]
