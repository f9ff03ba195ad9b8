"""Classic dashboard JSON at schema 42, made by grafanalib and then put right.

What grafanalib 0.7.1 writes by itself is of schema 12, and two of its faults break panels in Grafana of today: the null
of a threshold is a text, and panels ask for a hundred points. No other module knows of it.
"""

import json
from collections.abc import Iterator
from itertools import count, product
from string import ascii_uppercase
from typing import Any, Final

import grafanalib.core as lib
from grafanalib._gen import DashboardEncoder

from temporal_slo.generate.kit.board import Annotation, Board, Place, Row, Variable, identity, places
from temporal_slo.generate.kit.parts import PROMETHEUS, Json, Panel, Query

SCHEMA: Final = 42
TAG: Final = "temporal-slo"
REFRESH: Final = "1m"
ALL: Final = "$__all"
EVERYTHING: Final = ".+"
ON_TIME_CHANGE: Final = 2
BY_NAME: Final = 1

BOARD_LEGACY: Final = {"__inputs", "timepicker", "gnetId", "hideControls", "id", "rows", "sharedCrosshair", "style"}
PANEL_LEGACY: Final = {
    *("cacheTimeout", "editable", "error", "height", "hideTimeOverride", "minSpan", "span", "maxDataPoints"),
    *("repeat", "repeatDirection", "maxPerRow", "timeFrom", "timeShift", "interval"),
}
TARGET_KEPT: Final = {"expr", "refId", "legendFormat", "format", "instant", "datasource"}
VARIABLE_KEPT: Final = {
    *("name", "label", "type", "query", "current", "datasource", "hide", "multi", "includeAll", "allValue"),
    *("refresh", "sort", "options", "regex"),
}
WITHOUT_DATA: Final = {"text", "alertlist"}


class _Modern(lib.Panel):  # type: ignore[misc] # grafanalib has no types
    """A panel of any plugin in the shape that Grafana has now; grafanalib's own classes are of older ones."""

    def __init__(self, made: Json, **common: Any) -> None:  # noqa: ANN401 grafanalib has no types
        super().__init__(**common)
        self._made = made

    def to_json_data(self) -> Any:  # noqa: ANN401 as grafanalib has it
        return {**self.panel_json({}), **self._made}


def render(board: Board) -> str:
    """Return *board* as JSON for Grafana: import, provisioning and API take it as it is.

    Raises:
        ValueError: Two panels of a row have the same title, or a panel is too wide.
    """
    panels = [_row(row, place) if panel is None else _panel(row, panel, place) for row, panel, place in places(board)]
    dashboard = lib.Dashboard(
        title=board.title,
        uid=board.uid,
        description=board.description,
        editable=False,
        graphTooltip=1,
        schemaVersion=SCHEMA,
        refresh=REFRESH,
        tags=[TAG],
        time=lib.Time(board.since, "now"),
        timePicker=lib.DEFAULT_TIME_PICKER,
        timezone="browser",
        links=[_dropdown()],
        templating=lib.Templating(list=[_variable(variable) for variable in board.variables]),
        annotations=lib.Annotations(list=[_annotation(annotation) for annotation in board.annotations]),
        panels=panels,
    )
    made = json.loads(json.dumps(dashboard.to_json_data(), cls=DashboardEncoder))
    text = json.dumps(_cleaned(made), indent=2, sort_keys=True, ensure_ascii=False)
    _check_ids(board, made)
    return text + "\n"


def _check_ids(board: Board, made: Json) -> None:
    ids = [panel["id"] for panel in made["panels"]]
    if len(set(ids)) < len(ids):
        raise ValueError(f"{board.uid}: two panels of a row have the same title")


def _row(row: Row, place: Place) -> Any:  # noqa: ANN401 grafanalib has no types
    return lib.RowPanel(title=row.title, id=identity(row.title), gridPos=_grid(place))


def _grid(place: Place) -> Any:  # noqa: ANN401 grafanalib has no types
    return lib.GridPos(h=place.height, w=place.width, x=place.x, y=place.y)


def _panel(row: Row, panel: Panel, place: Place) -> Any:  # noqa: ANN401 grafanalib has no types
    made: Json = {"type": panel.kind, "options": panel.options}
    if panel.kind not in WITHOUT_DATA:
        made["fieldConfig"] = {"defaults": panel.field_defaults(), "overrides": list(panel.overrides)}
        made["datasource"] = PROMETHEUS
    return _Modern(
        made,
        title=panel.title,
        description=panel.description,
        id=identity(row.title, panel.title),
        gridPos=_grid(place),
        targets=[_target(*pair) for pair in zip(_letters(), panel.queries, strict=False)],
        transformations=list(panel.transformations),
        links=[link.json() | {"type": "link"} for link in panel.panel_links],
    )


def _letters() -> Iterator[str]:
    """Yield A to Z, then AA and so on, as Grafana does."""
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
    made: Json = {key: value for key, value in target.to_json_data().items() if key in TARGET_KEPT}
    return made | {"range": not query.instant, "editorMode": "code", "exemplar": query.exemplars}


def _variable(variable: Variable) -> Json:
    several = variable.kind == "query" and variable.several
    template = lib.Template(
        name=variable.name,
        label=variable.label,
        query=variable.query,
        type=variable.kind,
        dataSource=PROMETHEUS if variable.kind == "query" else None,
        multi=several,
        includeAll=several,
        allValue=EVERYTHING if several else None,
        refresh=ON_TIME_CHANGE if variable.kind == "query" else 1,
        sort=BY_NAME,
    )
    made: Json = {key: value for key, value in template.to_json_data().items() if key in VARIABLE_KEPT}
    made["current"] = {"selected": True, "text": ["All"], "value": [ALL]} if several else {}
    if variable.kind == "query":
        made["query"] = {"query": variable.query, "refId": f"variable-{variable.name}", "qryType": 1}
    return made | ({"description": variable.description} if variable.description else {})


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


def _dropdown() -> Any:  # noqa: ANN401 grafanalib has no types
    return lib.DashboardLink(
        asDropdown=True, includeVars=True, keepTime=True, tags=[TAG], title="Temporal SLO", type="dashboards"
    )


def _cleaned(made: Json) -> Json:
    kept = {key: value for key, value in made.items() if key not in BOARD_LEGACY}
    kept["panels"] = [_cleaned_panel(panel) for panel in kept["panels"]]
    return {key: _without_nulls(value) for key, value in kept.items() if value is not None}


def _cleaned_panel(panel: Json) -> Json:
    kept = {key: value for key, value in panel.items() if key not in PANEL_LEGACY}
    if panel["type"] == "row":
        return {key: kept[key] for key in ("type", "title", "id", "gridPos", "collapsed", "panels")}
    if panel["type"] in WITHOUT_DATA:
        kept = {key: value for key, value in kept.items() if key not in {"targets", "fieldConfig", "transformations"}}
    return {key: value for key, value in kept.items() if value is not None and (value != [] or key == "targets")}


def _without_nulls(made: Any, *, threshold: bool = False) -> Any:  # noqa: ANN401 any JSON
    if isinstance(made, dict):
        # The lowest step of thresholds has no value, and Grafana wants that said.
        return {
            key: _without_nulls(value, threshold=key == "steps")
            for key, value in made.items()
            if value is not None or (threshold and key == "value")
        }
    if isinstance(made, list):
        return [_without_nulls(value, threshold=threshold) for value in made]
    return made
