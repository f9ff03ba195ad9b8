"""The kinds of panels in use, each with what Grafana's plugin of today wants."""

from collections.abc import Sequence
from typing import Final

from temporal_slo.generate.kit.parts import (
    Column,
    Json,
    Link,
    Panel,
    Query,
    Step,
    Words,
    by_name,
    mappings,
    none_first,
    thresholds,
)

NEUTRAL: Final = (Step("blue"),)
MANY: Final = 6
"""So many series want a table for a legend."""


def _reduced(calc: str, *, every_row: bool = False) -> Json:
    return {"calcs": [calc], "fields": "", "values": every_row}


def _legend(calcs: Sequence[str] = (), *, shown: bool = True) -> Json:
    mode = "table" if calcs else "list"
    return {"showLegend": shown, "displayMode": mode, "placement": "bottom", "calcs": list(calcs)}


def _numbers(unit: str, decimals: int | None, low: float | None = None, high: float | None = None) -> Json:
    given = {"unit": unit, "decimals": decimals, "min": low, "max": high}
    return {key: value for key, value in given.items() if value is not None}


def stat(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    size: tuple[int, int] = (4, 4),
    steps: Sequence[Step] = NEUTRAL,
    words: Sequence[Words] = (),
    decimals: int | None = None,
    calc: str = "lastNotNull",
    filled: bool = False,
    links: Sequence[Link] = (),
    empty: str = "no data",
    named: bool = False,
) -> Panel:
    """Return a panel of one number for each series.

    Args:
        title: Of the panel.
        description: What it shows.
        queries: Asked for the end of the time range, unless *calc* wants all of it.
        unit: Of the number.
        size: Width of 24, and height.
        steps: Colours.
        words: Shown instead of numbers.
        decimals: Digits after the point.
        calc: What becomes of a series: the id of a reducer.
        filled: Colour the whole panel, not just the number.
        links: Of the number.
        empty: Shown where there is no data.
        named: Show the name of a series although there is only one.
    """
    options: Json = {
        "reduceOptions": _reduced(calc),
        "orientation": "auto",
        "textMode": "value_and_name" if named else "auto",
        "colorMode": "background" if filled else "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    }
    defaults = {**_numbers(unit, decimals), "noValue": empty}
    colors = none_first(steps)
    return Panel(
        "stat", title, description, queries, size, options, {}, defaults, steps=colors, words=words, links=links
    )


def timeseries(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    size: tuple[int, int] = (12, 8),
    steps: Sequence[Step] = (),
    stacked: bool = False,
    bars: bool = False,
    low: float | None = 0,
    high: float | None = None,
    decimals: int | None = None,
    calcs: Sequence[str] = (),
    overrides: Sequence[Json] = (),
    links: Sequence[Link] = (),
    panel_links: Sequence[Link] = (),
) -> Panel:
    """Return a panel of series over time.

    Args:
        title: Of the panel.
        description: What it shows.
        queries: Of the series.
        unit: Of the values.
        size: Width of 24, and height.
        steps: Drawn as lines.
        stacked: Add the series up.
        bars: Draw bars and not lines.
        low: Where the axis begins; None for where the values do.
        high: Where the axis ends.
        decimals: Digits after the point.
        calcs: Columns of the legend: ids of reducers.
        overrides: Of single series.
        links: Of the values.
        panel_links: Of the panel's head.
    """
    custom = _drawn(stacked=stacked, bars=bars, lines=bool(steps))
    options = {"legend": _legend(calcs), "tooltip": {"mode": "multi", "sort": "desc"}}
    defaults = {**_numbers(unit, decimals, low, high), "color": {"mode": "palette-classic"}}
    return Panel(
        "timeseries",
        title,
        description,
        queries,
        size,
        options,
        custom,
        defaults,
        steps=steps,
        overrides=overrides,
        links=links,
        panel_links=panel_links,
    )


def _drawn(*, stacked: bool, bars: bool, lines: bool) -> Json:
    return {
        "drawStyle": "bars" if bars else "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": 60 if bars else 25 if stacked else 8,
        "showPoints": "auto",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if lines else "off"},
        "axisPlacement": "auto",
        "axisBorderShow": False,
        "axisGridShow": True,
    }


def table(
    title: str,
    description: str,
    *queries: Query,
    columns: Sequence[Column],
    size: tuple[int, int] = (24, 9),
    sorted_by: tuple[str, bool] | None = None,
) -> Panel:
    """Return a table with a row for each set of labels.

    Args:
        title: Of the panel.
        description: What it shows.
        queries: Instant ones in the format `table`; each becomes a column.
        columns: In their order; what is in none is left out.
        size: Width of 24, and height.
        sorted_by: The field of a column, and whether its greatest value comes first.
    """
    order = {column.source: index for index, column in enumerate(columns)}
    transformations: list[Json] = [{"id": "merge", "options": {}}]
    if sorted_by:
        field = next(column.source for column in columns if column.field == sorted_by[0])
        transformations.append({"id": "sortBy", "options": {"sort": [{"field": field, "desc": sorted_by[1]}]}})
    names = {column.source: column.title for column in columns}
    # Names not fields: what a later server adds to a series stays out of the table.
    transformations.append({"id": "filterFieldsByName", "options": {"include": {"names": list(order)}}})
    transformations.append(
        {"id": "organize", "options": {"excludeByName": {}, "indexByName": order, "renameByName": names}}
    )
    custom: Json = {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "filterable": True}
    options: Json = {"showHeader": True, "cellHeight": "sm"}
    overrides = [by_name(column.title, _cells(column)) for column in columns if _cells(column)]
    # A unit for what no column has one for, so that texts stay texts.
    defaults: Json = {"unit": "none", "noValue": "-"}
    return Panel(
        "table",
        title,
        description,
        queries,
        size,
        options,
        custom,
        defaults,
        overrides=overrides,
        transformations=transformations,
    )


def _cells(column: Column) -> Json:
    given: Json = {
        "unit": column.unit,
        "decimals": column.decimals,
        "custom.width": column.width,
        "links": [link.json() for link in column.links] or None,
        "mappings": mappings(column.words) if column.words else None,
    }
    if column.steps:
        kind = {"type": "color-background", "mode": "basic"} if column.words else {"type": "color-text"}
        given |= {"thresholds": thresholds(column.steps), "custom.cellOptions": kind, "color": {"mode": "thresholds"}}
    return {key: value for key, value in given.items() if value is not None}


def bar_gauge(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    size: tuple[int, int] = (12, 8),
    steps: Sequence[Step] = NEUTRAL,
    high: float | None = None,
    decimals: int | None = None,
    links: Sequence[Link] = (),
) -> Panel:
    """Return a panel of one bar for each series, up to *high*; the other arguments are those of `stat`."""
    options: Json = {
        "reduceOptions": _reduced("lastNotNull"),
        "orientation": "horizontal",
        "displayMode": "gradient",
        "valueMode": "color",
        "namePlacement": "auto",
        "showUnfilled": True,
        "sizing": "auto",
        "minVizWidth": 8,
        "minVizHeight": 16,
        "legend": _legend(shown=False),
    }
    defaults = _numbers(unit, decimals, 0, high)
    return Panel("bargauge", title, description, queries, size, options, {}, defaults, steps=steps, links=links)


def gauge(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    size: tuple[int, int] = (4, 4),
    steps: Sequence[Step] = NEUTRAL,
    low: float = 0,
    high: float = 1,
) -> Panel:
    """Return a panel of one dial for each series, from *low* to *high*."""
    options: Json = {
        "reduceOptions": _reduced("lastNotNull"),
        "orientation": "auto",
        "showThresholdLabels": False,
        "showThresholdMarkers": True,
        "sizing": "auto",
        "minVizWidth": 75,
        "minVizHeight": 75,
    }
    defaults = {**_numbers(unit, None, low, high), "noValue": "no data"}
    return Panel("gauge", title, description, queries, size, options, {}, defaults, steps=steps)


def heatmap(title: str, description: str, query: Query, *, unit: str, size: tuple[int, int] = (12, 8)) -> Panel:
    """Return a heatmap of a histogram's buckets.

    Args:
        title: Of the panel.
        description: What it shows.
        query: The increase of the buckets by `le`, in the format `heatmap`.
        unit: Of the bucket edges.
        size: Width of 24, and height.
    """
    options: Json = {
        "calculate": False,
        "rowsFrame": {"layout": "auto"},
        "yAxis": {"axisPlacement": "left", "unit": unit, "reverse": False},
        "color": {"mode": "scheme", "scheme": "Oranges", "fill": "dark-orange", "steps": 64, "reverse": False},
        "cellGap": 1,
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": True},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "showValue": "never",
    }
    custom: Json = {"scaleDistribution": {"type": "linear"}, "hideFrom": _shown_everywhere()}
    return Panel("heatmap", title, description, (query,), size, options, custom, {"unit": unit})


def _shown_everywhere() -> Json:
    return {"legend": False, "tooltip": False, "viz": False}


def state_timeline(
    title: str,
    description: str,
    *queries: Query,
    words: Sequence[Words],
    size: tuple[int, int] = (24, 6),
) -> Panel:
    """Return a panel of one bar for each series that shows how its state changed; *words* name whole numbers."""
    options: Json = {
        "showValue": "auto",
        "rowHeight": 0.85,
        "mergeValues": True,
        "alignValue": "left",
        "legend": _legend(),
        "tooltip": {"mode": "single", "sort": "none"},
    }
    custom: Json = {"lineWidth": 0, "fillOpacity": 75, "spanNulls": False, "hideFrom": _shown_everywhere()}
    # Without thresholds: where they give the colours, Grafana names the states by them, and not by these words.
    defaults = {"unit": "none", "color": {"mode": "palette-classic"}}
    return Panel("state-timeline", title, description, queries, size, options, custom, defaults, words=words)


def text(title: str, description: str, markdown: str, *, size: tuple[int, int] = (8, 5)) -> Panel:
    """Return a panel of text, which may hold variables."""
    return Panel("text", title, description, (), size, {"mode": "markdown", "content": markdown})


def alert_list(title: str, description: str, *, about: str, size: tuple[int, int] = (8, 8)) -> Panel:
    """Return a list of alerts that fire or are about to; *about* is a part of their names."""
    states = {"firing": True, "pending": True, "noData": False, "normal": False, "error": True, "recovering": True}
    options: Json = {
        "viewMode": "list",
        "groupMode": "default",
        "groupBy": [],
        "maxItems": 20,
        "sortOrder": 3,
        "dashboardAlerts": False,
        "alertName": about,
        "alertInstanceLabelFilter": "",
        "showInstances": False,
        "stateFilter": states,
    }
    return Panel("alertlist", title, description, (), size, options)
