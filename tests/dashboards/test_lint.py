"""Every lint rule and type check finds the defect that it exists for, planted in a valid dashboard."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from temporal_slo import names

from . import grafana_types, lint
from .rendered import loaded, rendered

Json = dict[str, Any]
Defect = Callable[[Json], None]


def panel(dashboard: Json, kind: str) -> Json:
    """The first panel of a type."""
    found: Json = next(one for one in dashboard["panels"] if one["type"] == kind)
    return found


def put(kind: str, path: str, value: object) -> Defect:
    """Set a value in the first panel of a type; the path is keys and indexes, separated by dots."""

    def defect(dashboard: Json) -> None:
        parent: Any = panel(dashboard, kind)
        *keys, last = (int(key) if key.isdigit() else key for key in path.split("."))
        for key in keys:
            parent = parent[key]
        parent[last] = value

    return defect


def query(expr: str, legend: str = "__auto") -> Defect:
    """Replace the first query of the first time series panel."""

    def defect(dashboard: Json) -> None:
        panel(dashboard, "timeseries")["targets"][0] |= {"expr": expr, "legendFormat": legend}

    return defect


def variable(name: str, key: str, value: object) -> Defect:
    """Set a property of a variable."""

    def defect(dashboard: Json) -> None:
        lint.variables(dashboard)[name][key] = value

    return defect


def top(key: str, value: object) -> Defect:
    """Set a property of the dashboard."""
    return lambda dashboard: dashboard.update({key: value})


def without(name: str) -> Defect:
    """Remove a variable."""

    def defect(dashboard: Json) -> None:
        dashboard["templating"]["list"] = [one for one in dashboard["templating"]["list"] if one["name"] != name]

    return defect


def same_id(dashboard: Json) -> None:
    """Give two panels the same id."""
    dashboard["panels"][2]["id"] = dashboard["panels"][1]["id"]


def timeline_of_thresholds(dashboard: Json) -> None:
    """Turn a graph into a state timeline colored by thresholds."""
    put("timeseries", "fieldConfig.defaults.color.mode", "thresholds")(dashboard)
    put("timeseries", "type", "state-timeline")(dashboard)


STEPS: Final = "fieldConfig.defaults.thresholds.steps"
JOB: Final = '{job=~"$job", temporal_namespace=~"$temporal_namespace", workflow_type=~"$workflow_type"}'
CLOSED: Final = f"temporal_slo_workflows_closed_total{JOB}"

TYPED: Final[dict[str, Defect]] = {
    "typo in defaults": put("stat", "fieldConfig.defaults.noVaule", "no data"),
    "typo in options": put("stat", "options.colourMode", "value"),
    "typo in custom": put("timeseries", "fieldConfig.defaults.custom.lineWidht", 2),
    "typo in a target": put("stat", "targets.0.legendFromat", "x"),
    "old key of a heatmap": put("heatmap", "options.yBucketBound", "auto"),
    "thresholds are a string": put("stat", STEPS, ""),
    "wrong enum": put("stat", "options.colorMode", "colourful"),
    "wrong scalar": put("timeseries", "fieldConfig.defaults.custom.lineWidth", "wide"),
    "threshold null is a string": put("stat", f"{STEPS}.0.value", "null"),
    "wrong kind of variable": variable("job", "type", "questions"),
    "string in gridPos": put("stat", "gridPos.x", "left"),
    "decimals are a string": put("stat", "fieldConfig.defaults.decimals", "two"),
    "unknown tooltip mode": put("timeseries", "options.tooltip.mode", "all"),
    "typo in the dashboard": top("schemaVerison", 42),
    "data source is null": put("stat", "targets.0.datasource", None),
}
"""Defects found by Grafana's types."""

LINTED: Final[dict[str, tuple[str, Defect]]] = {
    "bad unit": ("units", put("stat", "fieldConfig.defaults.unit", "furlongs")),
    "no unit": ("units", lambda dashboard: panel(dashboard, "stat")["fieldConfig"]["defaults"].pop("unit")),
    "bad unit of a column": (
        "units",
        put("table", "fieldConfig.overrides.1.properties.0", {"id": "unit", "value": "x"}),
    ),
    "bad transformation": ("known_ids", put("table", "transformations.0.id", "blend")),
    "bad reducer": ("known_ids", put("stat", "options.reduceOptions.calcs", ["p95"])),
    "bad matcher": ("known_ids", put("table", "fieldConfig.overrides.0.matcher.id", "byLuck")),
    "bad panel": ("known_ids", put("stat", "type", "singlestat")),
    "null": ("nulls", put("stat", "fieldConfig.defaults.noValue", None)),
    "null is a string": ("nulls", put("stat", f"{STEPS}.0.value", "null")),
    "thresholds descend": (
        "steps",
        put("stat", STEPS, [{"color": "red", "value": None}, *({"color": "red", "value": v} for v in (2, 1))]),
    ),
    "no lowest threshold": ("steps", put("stat", STEPS, [{"color": "red", "value": 1}])),
    "unknown color": ("steps", put("stat", f"{STEPS}.0.color", "mauve")),
    "no data is green": (
        "no_data_color",
        put("stat", STEPS, [{"color": "green", "value": None}, {"color": "red", "value": 1}]),
    ),
    "low values look like no data": (
        "no_data_color",
        put("stat", STEPS, [{"color": "#808080", "value": None}, {"color": "red", "value": 0}]),
    ),
    "states without mappings": ("no_data_color", timeline_of_thresholds),
    "no data source": ("template_datasource", without("datasource")),
    "no job": ("template_job", without("job")),
    "job is single-valued": ("template_job", variable("job", "multi", value=False)),
    "variable without a metric": ("template_query", variable("job", "query", {"query": "label_values(job)"})),
    "variable of an unknown metric": ("template_query", variable("job", "query", {"query": "label_values(up, job)"})),
    "variable with invalid PromQL": ("template_query", variable("job", "query", {"query": "label_values(up{, job)"})),
    "variable not refreshed": ("template_query", variable("job", "refresh", 1)),
    "another data source": ("datasource", put("stat", "targets.0.datasource", {"type": "prometheus", "uid": "mine"})),
    "another data source of a panel": (
        "datasource",
        put("stat", "datasource", {"type": "prometheus", "uid": "-- Mixed --"}),
    ),
    "no title": ("title_and_description", put("stat", "title", "")),
    "no description": ("title_and_description", put("stat", "description", "")),
    "no targets": ("has_queries", put("stat", "targets", [])),
    "empty query": ("has_queries", query("")),
    "invalid PromQL": ("parses", query("sum(")),
    "rate without a range": ("parses", query(f"rate({CLOSED})")),
    "invalid duration": ("parses", query(f"rate({CLOSED}[5 apples])")),
    "rate over 5m": ("rate_interval", query(f"sum(rate({CLOSED}[5m]))")),
    "increase over 1h": ("rate_interval", query(f"sum(increase({CLOSED}[1h]))")),
    "rate over the range": ("rate_interval", query(f"sum(rate({CLOSED}[$__range]))")),
    "no job matcher": (
        "job",
        query('sum(rate(temporal_slo_workflows_closed_total{temporal_namespace="x"}[$__rate_interval]))'),
    ),
    "job by name": ("job", query('sum(temporal_slo_workflows_running{job="mine"})')),
    "raw counter": ("counters", query(f"sum({CLOSED})")),
    "raw buckets": (
        "counters",
        query(f"histogram_quantile(0.9, sum by (le) (temporal_slo_workflow_duration_seconds_bucket{JOB}))"),
    ),
    "editable": ("uneditable", top("editable", value=True)),
    "undefined variable": ("used_variables", query('sum(temporal_slo_workflows_running{job=~"$job", x="$service"})')),
    "unused variable": (
        "used_variables",
        lambda dashboard: dashboard["templating"]["list"].append({"name": "idle", "type": "custom"}),
    ),
    "unknown built-in variable": ("used_variables", query(f"sum(rate({CLOSED}[$__rate_intreval]))")),
    "unknown metric": ("metrics", query('sum(temporal_slo_workflow_running{job=~"$job"})')),
    "bucket of a gauge": (
        "metrics",
        query('sum(rate(temporal_slo_workflows_running_bucket{job=~"$job"}[$__rate_interval]))'),
    ),
    "histogram without suffix": (
        "metrics",
        query('sum(rate(temporal_slo_workflow_duration_seconds{job=~"$job"}[$__rate_interval]))'),
    ),
    "overlapping panels": ("grid", put("stat", "gridPos.w", 6)),
    "panel outside of the grid": ("grid", put("stat", "gridPos.x", 23)),
    "same id": ("unique_ids", same_id),
    "bad uid": ("unique_ids", top("uid", "a b")),
    "earlier schema": ("legacy", top("schemaVersion", 36)),
    "a hundred points": ("legacy", put("stat", "maxDataPoints", 100)),
    "half the resolution": ("legacy", put("stat", "targets.0.intervalFactor", 2)),
    "rows of an earlier schema": ("legacy", top("rows", [])),
    "legend with a dropped label": (
        "legends",
        query(f"sum by (status) (rate({CLOSED}[$__rate_interval]))", "{{outcome}}"),
    ),
    "legend without labels": ("legends", query(f"sum(rate({CLOSED}[$__rate_interval]))", "{{status}}")),
    "column without a field": (
        "columns",
        put("table", "transformations.3.options.renameByName", {"Value #Z": "nothing"}),
    ),
    "override of an unknown column": ("columns", put("table", "fieldConfig.overrides.0.matcher.options", "Nobody")),
    "percentage multiplied by 100": (
        "percents",
        lambda dashboard: (
            query(f"sum(rate({CLOSED}[$__rate_interval])) * 100")(dashboard),
            put("timeseries", "fieldConfig.defaults.unit", "percentunit")(dashboard),
        )[0],
    ),
}
"""Defects found by a lint rule, with the name of the rule."""


@pytest.mark.parametrize("name", TYPED)
def test_types_find(name: str) -> None:
    """Grafana's types find the defect."""
    dashboard = loaded(names.DASHBOARD_WORKFLOWS)
    TYPED[name](dashboard)
    assert grafana_types.problems(dashboard)


@pytest.mark.parametrize("name", LINTED)
def test_rules_find(name: str) -> None:
    """The intended rule finds the defect."""
    rule, defect = LINTED[name]
    dashboard = loaded(names.DASHBOARD_WORKFLOWS)
    defect(dashboard)
    assert [found for found in lint.lint(dashboard) if found.startswith(f"{rule}: ")]


def test_every_rule_is_tested() -> None:
    """Every rule has a defect that it finds."""
    assert {rule for rule, _ in LINTED.values()} == {rule.__name__ for rule in lint.RULES}


@pytest.mark.parametrize("url", ["/d/temporal-slo-nowhere", "/d/temporal-slo-detail?var-workflow=x"])
def test_broken_links(url: str) -> None:
    """A link to an unknown dashboard or variable is found."""
    dashboards = [loaded(uid) for uid in rendered()]
    panel(dashboards[1], "text")["options"]["content"] += f"[more]({url})"
    assert lint.links(dashboards)
