"""Faults that are planted in a good dashboard are found, each."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from temporal_slo import names

from . import lint, typed
from .made import boards, loaded

Json = dict[str, Any]
Plant = Callable[[Json], None]


def panel(board: Json, kind: str) -> Json:
    """The first panel of a kind."""
    found: Json = next(one for one in board["panels"] if one["type"] == kind)
    return found


def put(kind: str, path: str, value: object) -> Plant:
    """Set something in the first panel of a kind; the path is of keys and numbers, with dots."""

    def plant(board: Json) -> None:
        at: Any = panel(board, kind)
        *way, last = (int(step) if step.isdigit() else step for step in path.split("."))
        for step in way:
            at = at[step]
        at[last] = value

    return plant


def ask(expr: str, legend: str = "__auto") -> Plant:
    """Ask something else in the first panel of series."""

    def plant(board: Json) -> None:
        panel(board, "timeseries")["targets"][0] |= {"expr": expr, "legendFormat": legend}

    return plant


def variable(name: str, key: str, value: object) -> Plant:
    """Set something of a variable."""

    def plant(board: Json) -> None:
        lint.variables(board)[name][key] = value

    return plant


def top(key: str, value: object) -> Plant:
    """Set something of the dashboard."""
    return lambda board: board.update({key: value})


def without(name: str) -> Plant:
    """Leave a variable out."""

    def plant(board: Json) -> None:
        board["templating"]["list"] = [one for one in board["templating"]["list"] if one["name"] != name]

    return plant


def same_id(board: Json) -> None:
    """Give two panels the same id."""
    board["panels"][2]["id"] = board["panels"][1]["id"]


def timeline_of_thresholds(board: Json) -> None:
    """Make states of a graph, coloured by thresholds."""
    put("timeseries", "fieldConfig.defaults.color.mode", "thresholds")(board)
    put("timeseries", "type", "state-timeline")(board)


STEPS: Final = "fieldConfig.defaults.thresholds.steps"
JOB: Final = '{job=~"$job", temporal_namespace=~"$temporal_namespace", workflow_type=~"$workflow_type"}'
CLOSED: Final = f"temporal_slo_workflows_closed_total{JOB}"

TYPED: Final[dict[str, Plant]] = {
    "typo in defaults": put("stat", "fieldConfig.defaults.noVaule", "no data"),
    "typo in options": put("stat", "options.colourMode", "value"),
    "typo in custom": put("timeseries", "fieldConfig.defaults.custom.lineWidht", 2),
    "typo in a target": put("stat", "targets.0.legendFromat", "x"),
    "old key of a heatmap": put("heatmap", "options.yBucketBound", "auto"),
    "thresholds are a text": put("stat", STEPS, ""),
    "wrong enum": put("stat", "options.colorMode", "colourful"),
    "wrong scalar": put("timeseries", "fieldConfig.defaults.custom.lineWidth", "wide"),
    "threshold of null as a text": put("stat", f"{STEPS}.0.value", "null"),
    "wrong kind of variable": variable("job", "type", "questions"),
    "text in gridPos": put("stat", "gridPos.x", "left"),
    "decimals are a text": put("stat", "fieldConfig.defaults.decimals", "two"),
    "tooltip is off the list": put("timeseries", "options.tooltip.mode", "all"),
    "key of the dashboard": top("schemaVerison", 42),
    "data source is null": put("stat", "targets.0.datasource", None),
}
"""What the types find."""

LINTED: Final[dict[str, tuple[str, Plant]]] = {
    "bad unit": ("units", put("stat", "fieldConfig.defaults.unit", "furlongs")),
    "no unit": ("units", lambda board: panel(board, "stat")["fieldConfig"]["defaults"].pop("unit")),
    "bad unit of a column": (
        "units",
        put("table", "fieldConfig.overrides.1.properties.0", {"id": "unit", "value": "x"}),
    ),
    "bad transformation": ("known_ids", put("table", "transformations.0.id", "blend")),
    "bad reducer": ("known_ids", put("stat", "options.reduceOptions.calcs", ["p95"])),
    "bad matcher": ("known_ids", put("table", "fieldConfig.overrides.0.matcher.id", "byLuck")),
    "bad panel": ("known_ids", put("stat", "type", "singlestat")),
    "null": ("nulls", put("stat", "fieldConfig.defaults.noValue", None)),
    "null as a text": ("nulls", put("stat", f"{STEPS}.0.value", "null")),
    "steps go down": (
        "steps",
        put("stat", STEPS, [{"color": "red", "value": None}, *({"color": "red", "value": v} for v in (2, 1))]),
    ),
    "steps lack the lowest": ("steps", put("stat", STEPS, [{"color": "red", "value": 1}])),
    "no such colour": ("steps", put("stat", f"{STEPS}.0.color", "mauve")),
    "no data looks well": (
        "unknown",
        put("stat", STEPS, [{"color": "green", "value": None}, {"color": "red", "value": 1}]),
    ),
    "too little looks like no data": (
        "unknown",
        put("stat", STEPS, [{"color": "#808080", "value": None}, {"color": "red", "value": 0}]),
    ),
    "states have no names": ("unknown", timeline_of_thresholds),
    "no data source": ("template_datasource", without("datasource")),
    "no job": ("template_job", without("job")),
    "job is one": ("template_job", variable("job", "multi", value=False)),
    "values of no metric": ("template_query", variable("job", "query", {"query": "label_values(job)"})),
    "values of a stranger": ("template_query", variable("job", "query", {"query": "label_values(up, job)"})),
    "values of no PromQL": ("template_query", variable("job", "query", {"query": "label_values(up{, job)"})),
    "values once": ("template_query", variable("job", "refresh", 1)),
    "another data source": ("datasource", put("stat", "targets.0.datasource", {"type": "prometheus", "uid": "mine"})),
    "panel of another": ("datasource", put("stat", "datasource", {"type": "prometheus", "uid": "-- Mixed --"})),
    "no title": ("title_and_description", put("stat", "title", "")),
    "no description": ("title_and_description", put("stat", "description", "")),
    "no targets": ("has_queries", put("stat", "targets", [])),
    "an empty query": ("has_queries", ask("")),
    "no PromQL": ("parses", ask("sum(")),
    "rate of no range": ("parses", ask(f"rate({CLOSED})")),
    "duration that is none": ("parses", ask(f"rate({CLOSED}[5 apples])")),
    "rate over 5m": ("rate_interval", ask(f"sum(rate({CLOSED}[5m]))")),
    "increase over 1h": ("rate_interval", ask(f"sum(increase({CLOSED}[1h]))")),
    "rate over the range": ("rate_interval", ask(f"sum(rate({CLOSED}[$__range]))")),
    "any job": ("job", ask('sum(rate(temporal_slo_workflows_closed_total{temporal_namespace="x"}[$__rate_interval]))')),
    "a job by name": ("job", ask('sum(temporal_slo_workflows_running{job="mine"})')),
    "raw counter": ("counters", ask(f"sum({CLOSED})")),
    "raw buckets": (
        "counters",
        ask(f"histogram_quantile(0.9, sum by (le) (temporal_slo_workflow_duration_seconds_bucket{JOB}))"),
    ),
    "editable": ("uneditable", top("editable", value=True)),
    "undefined variable": ("used_variables", ask('sum(temporal_slo_workflows_running{job=~"$job", x="$service"})')),
    "unused variable": (
        "used_variables",
        lambda board: board["templating"]["list"].append({"name": "idle", "type": "custom"}),
    ),
    "no variable of Grafana": ("used_variables", ask(f"sum(rate({CLOSED}[$__rate_intreval]))")),
    "unknown metric": ("metrics", ask('sum(temporal_slo_workflow_running{job=~"$job"})')),
    "bucket of a gauge": (
        "metrics",
        ask('sum(rate(temporal_slo_workflows_running_bucket{job=~"$job"}[$__rate_interval]))'),
    ),
    "histogram without its end": (
        "metrics",
        ask('sum(rate(temporal_slo_workflow_duration_seconds{job=~"$job"}[$__rate_interval]))'),
    ),
    "a panel in another": ("places", put("stat", "gridPos.w", 6)),
    "a panel off the board": ("places", put("stat", "gridPos.x", 23)),
    "same id": ("identities", same_id),
    "bad uid": ("identities", top("uid", "a b")),
    "old schema": ("legacy", top("schemaVersion", 36)),
    "a hundred points": ("legacy", put("stat", "maxDataPoints", 100)),
    "half the resolution": ("legacy", put("stat", "targets.0.intervalFactor", 2)),
    "rows of old": ("legacy", top("rows", [])),
    "legend of a lost label": ("legends", ask(f"sum by (status) (rate({CLOSED}[$__rate_interval]))", "{{outcome}}")),
    "legend of none": ("legends", ask(f"sum(rate({CLOSED}[$__rate_interval]))", "{{status}}")),
    "column of nothing": ("columns", put("table", "transformations.3.options.renameByName", {"Value #Z": "nothing"})),
    "link by no column": ("columns", put("table", "fieldConfig.overrides.0.matcher.options", "Nobody")),
    "percentage of a percentage": (
        "percents",
        lambda board: (
            ask(f"sum(rate({CLOSED}[$__rate_interval])) * 100")(board),
            put("timeseries", "fieldConfig.defaults.unit", "percentunit")(board),
        )[0],
    ),
}
"""What the rules find, and which."""


@pytest.mark.parametrize("name", TYPED)
def test_types_find(name: str) -> None:
    """Grafana's own types find it."""
    board = loaded(names.DASHBOARD_WORKFLOWS)
    TYPED[name](board)
    assert typed.problems(board)


@pytest.mark.parametrize("name", LINTED)
def test_rules_find(name: str) -> None:
    """The rule that is meant finds it."""
    rule, plant = LINTED[name]
    board = loaded(names.DASHBOARD_WORKFLOWS)
    plant(board)
    assert [found for found in lint.lint(board) if found.startswith(f"{rule}: ")]


def test_every_rule_finds() -> None:
    """There is no rule that finds nothing."""
    assert {rule for rule, _ in LINTED.values()} == {rule.__name__ for rule in lint.RULES}


@pytest.mark.parametrize("url", ["/d/temporal-slo-nowhere", "/d/temporal-slo-detail?var-workflow=x"])
def test_links_that_lead_nowhere(url: str) -> None:
    """A link to a dashboard or variable that is not there is found."""
    made = [loaded(uid) for uid in boards()]
    panel(made[1], "text")["options"]["content"] += f"[more]({url})"
    assert lint.links(made)
