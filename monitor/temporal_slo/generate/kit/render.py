"""Renders dashboards as classic dashboard JSON of schema 42: grafanalib's output, corrected.

grafanalib 0.7.1 writes schema 12, and two of its defects break panels in current Grafana: the null of the lowest
threshold is a string, and panels are limited to a hundred data points. No other module uses grafanalib.
"""

import json
from collections.abc import Iterator
from itertools import count, product
from string import ascii_uppercase
from typing import Any, Final

import grafanalib.core as lib
from grafanalib._gen import DashboardEncoder

from temporal_slo.generate.kit.dashboard import Annotation, Dashboard, GridPos, Row, Variable, layout, panel_id
from temporal_slo.generate.kit.model import PROMETHEUS, Json, Panel, Query

SCHEMA: Final = 42
TAG: Final = "temporal-slo"
REFRESH: Final = "1m"
ALL: Final = "$__all"
ANY_VALUE: Final = ".+"
REFRESH_ON_LOAD: Final = 1
REFRESH_ON_TIME_CHANGE: Final = 2
SORT_ALPHABETICAL: Final = 1

LEGACY_DASHBOARD_KEYS: Final = {
    *("__inputs", "timepicker", "gnetId", "hideControls", "id", "rows", "sharedCrosshair", "style"),
}
LEGACY_PANEL_KEYS: Final = {
    *("cacheTimeout", "editable", "error", "height", "hideTimeOverride", "minSpan", "span", "maxDataPoints"),
    *("repeat", "repeatDirection", "maxPerRow", "timeFrom", "timeShift", "interval"),
}
TARGET_KEYS: Final = {"expr", "refId", "legendFormat", "format", "instant", "datasource"}
VARIABLE_KEYS: Final = {
    *("name", "label", "type", "query", "current", "datasource", "hide", "multi", "includeAll", "allValue"),
    *("refresh", "sort", "options", "regex"),
}
PANELS_WITHOUT_QUERIES: Final = {"text", "alertlist"}


class _PluginPanel(lib.Panel):  # type: ignore[misc] # grafanalib has no types
    """A panel of any plugin with current options; grafanalib's own panel classes write those of older versions."""

    def __init__(self, plugin_json: Json, **common: Any) -> None:  # noqa: ANN401 grafanalib has no types
        super().__init__(**common)
        self._plugin_json = plugin_json

    def to_json_data(self) -> Any:  # noqa: ANN401 as declared by grafanalib
        return {**self.panel_json({}), **self._plugin_json}


def render(dashboard: Dashboard) -> str:
    """Return the JSON of *dashboard*, ready for import, provisioning and the HTTP API.

    Raises:
        ValueError: Two panels of a row have the same title, or a panel is too wide.
    """
    panels = [
        _row(row, position) if panel is None else _panel(row, panel, position)
        for row, panel, position in layout(dashboard)
    ]
    grafanalib_dashboard = lib.Dashboard(
        title=dashboard.title,
        uid=dashboard.uid,
        description=dashboard.description,
        editable=False,
        graphTooltip=1,
        schemaVersion=SCHEMA,
        refresh=REFRESH,
        tags=[TAG],
        time=lib.Time(dashboard.time_from, "now"),
        timePicker=lib.DEFAULT_TIME_PICKER,
        timezone="browser",
        links=[_dashboards_menu()],
        templating=lib.Templating(list=[_variable(variable) for variable in dashboard.variables]),
        annotations=lib.Annotations(list=[_annotation(annotation) for annotation in dashboard.annotations]),
        panels=panels,
    )
    rendered = json.loads(json.dumps(grafanalib_dashboard.to_json_data(), cls=DashboardEncoder))
    _check_ids(dashboard, rendered)
    return json.dumps(_cleaned(rendered), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _check_ids(dashboard: Dashboard, rendered: Json) -> None:
    ids = [panel["id"] for panel in rendered["panels"]]
    if len(set(ids)) < len(ids):
        raise ValueError(f"{dashboard.uid}: two panels of a row have the same title")


def _row(row: Row, position: GridPos) -> Any:  # noqa: ANN401 grafanalib has no types
    return lib.RowPanel(title=row.title, id=panel_id(row.title), gridPos=_grid_pos(position))


def _grid_pos(position: GridPos) -> Any:  # noqa: ANN401 grafanalib has no types
    return lib.GridPos(h=position.height, w=position.width, x=position.x, y=position.y)


def _panel(row: Row, panel: Panel, position: GridPos) -> Any:  # noqa: ANN401 grafanalib has no types
    plugin_json: Json = {"type": panel.type, "options": panel.options}
    if panel.type not in PANELS_WITHOUT_QUERIES:
        plugin_json["fieldConfig"] = {"defaults": panel.field_defaults(), "overrides": list(panel.overrides)}
        plugin_json["datasource"] = PROMETHEUS
    return _PluginPanel(
        plugin_json,
        title=panel.title,
        description=panel.description,
        id=panel_id(row.title, panel.title),
        gridPos=_grid_pos(position),
        targets=[_target(*pair) for pair in zip(_letters(), panel.queries, strict=False)],
        transformations=list(panel.transformations),
        links=[link.json() | {"type": "link"} for link in panel.panel_links],
    )


def _letters() -> Iterator[str]:
    """Yield A to Z, then AA and so on, as Grafana names queries."""
    for length in count(1):
        yield from map("".join, product(ascii_uppercase, repeat=length))


def _target(letter: str, query: Query) -> Json:
    target = lib.Target(
        expr=query.expr,
        refId=letter,
        legendFormat=query.legend or "__auto",
        format=query.format,
        instant=query.instant,
        datasource=PROMETHEUS,
    )
    fields: Json = {key: value for key, value in target.to_json_data().items() if key in TARGET_KEYS}
    return fields | {"range": not query.instant, "editorMode": "code", "exemplar": query.exemplars}


def _variable(variable: Variable) -> Json:
    multi = variable.kind == "query" and variable.multi
    template = lib.Template(
        name=variable.name,
        label=variable.label,
        query=variable.query,
        type=variable.kind,
        dataSource=PROMETHEUS if variable.kind == "query" else None,
        multi=multi,
        includeAll=multi,
        allValue=ANY_VALUE if multi else None,
        refresh=REFRESH_ON_TIME_CHANGE if variable.kind == "query" else REFRESH_ON_LOAD,
        sort=SORT_ALPHABETICAL,
    )
    fields: Json = {key: value for key, value in template.to_json_data().items() if key in VARIABLE_KEYS}
    fields["current"] = {"selected": True, "text": ["All"], "value": [ALL]} if multi else {}
    if variable.kind == "query":
        fields["query"] = {"query": variable.query, "refId": f"variable-{variable.name}", "qryType": 1}
    return fields | ({"description": variable.description} if variable.description else {})


def _annotation(annotation: Annotation) -> Json:
    return {
        "name": annotation.name,
        "enable": True,
        "hide": False,
        "iconColor": annotation.color,
        "datasource": PROMETHEUS,
        "expr": annotation.expr,
        "titleFormat": annotation.title,
        "textFormat": annotation.text,
        "step": "60s",
        "useValueForTime": False,
    }


def _dashboards_menu() -> Any:  # noqa: ANN401 grafanalib has no types
    return lib.DashboardLink(
        asDropdown=True, includeVars=True, keepTime=True, tags=[TAG], title="Temporal SLO", type="dashboards"
    )


def _cleaned(dashboard: Json) -> Json:
    kept = {key: value for key, value in dashboard.items() if key not in LEGACY_DASHBOARD_KEYS}
    kept["panels"] = [_cleaned_panel(panel) for panel in kept["panels"]]
    return {key: _without_nulls(value) for key, value in kept.items() if value is not None}


def _cleaned_panel(panel: Json) -> Json:
    kept = {key: value for key, value in panel.items() if key not in LEGACY_PANEL_KEYS}
    if panel["type"] == "row":
        return {key: kept[key] for key in ("type", "title", "id", "gridPos", "collapsed", "panels")}
    if panel["type"] in PANELS_WITHOUT_QUERIES:
        kept = {key: value for key, value in kept.items() if key not in {"targets", "fieldConfig", "transformations"}}
    return {key: value for key, value in kept.items() if value is not None and (value != [] or key == "targets")}


def _without_nulls(data: Any, *, threshold: bool = False) -> Any:  # noqa: ANN401 any JSON
    if isinstance(data, dict):
        # Grafana requires the null of the lowest threshold step.
        return {
            key: _without_nulls(value, threshold=key == "steps")
            for key, value in data.items()
            if value is not None or (threshold and key == "value")
        }
    if isinstance(data, list):
        return [_without_nulls(value, threshold=threshold) for value in data]
    return data
