"""Dashboards as typed data, and their rendering to Grafana's classic dashboard JSON."""

from temporal_slo.generate.kit.dashboard import Annotation, Dashboard, Row, Variable, panel_id
from temporal_slo.generate.kit.model import Column, Link, Panel, Query, Threshold, ValueMapping
from temporal_slo.generate.kit.panels import (
    alert_list,
    bar_gauge,
    gauge,
    heatmap,
    stat,
    state_timeline,
    text,
    timeseries,
)
from temporal_slo.generate.kit.render import render
from temporal_slo.generate.kit.table import table

__all__ = [
    "Annotation",
    "Column",
    "Dashboard",
    "Link",
    "Panel",
    "Query",
    "Row",
    "Threshold",
    "ValueMapping",
    "Variable",
    "alert_list",
    "bar_gauge",
    "gauge",
    "heatmap",
    "panel_id",
    "render",
    "stat",
    "state_timeline",
    "table",
    "text",
    "timeseries",
]
