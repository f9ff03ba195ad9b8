"""One constructor per panel type except tables, with the options that current versions of Grafana's plugins need."""

from collections.abc import Sequence
from typing import Final

from temporal_slo.generate.kit.model import (
    Json,
    Link,
    Panel,
    Query,
    Threshold,
    ValueMapping,
    with_no_data_color,
)

NEUTRAL: Final = (Threshold("blue"),)


def _reduce_options(reducer: str) -> Json:
    return {"calcs": [reducer], "fields": "", "values": False}


def _legend(calcs: Sequence[str] = (), *, shown: bool = True) -> Json:
    mode = "table" if calcs else "list"
    return {"showLegend": shown, "displayMode": mode, "placement": "bottom", "calcs": list(calcs)}


def _standard_options(
    unit: str, decimals: int | None, minimum: float | None = None, maximum: float | None = None
) -> Json:
    options = {"unit": unit, "decimals": decimals, "min": minimum, "max": maximum}
    return {key: value for key, value in options.items() if value is not None}


def stat(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    size: tuple[int, int] = (4, 4),
    thresholds: Sequence[Threshold] = NEUTRAL,
    mappings: Sequence[ValueMapping] = (),
    decimals: int | None = None,
    reducer: str = "lastNotNull",
    background: bool = False,
    data_links: Sequence[Link] = (),
    no_value: str = "no data",
    show_name: bool = False,
) -> Panel:
    """Return a stat panel: one number per series.

    Args:
        title: Title of the panel.
        description: What the panel shows.
        queries: Instant queries, unless *reducer* needs the whole time range.
        unit: Unit of the numbers.
        size: Width of 24 columns, and height.
        thresholds: Colors.
        mappings: Texts displayed in place of numbers.
        decimals: Digits after the decimal point.
        reducer: Id of the calculation that reduces a series to one number.
        background: Color the background instead of the number.
        data_links: Links of the numbers.
        no_value: Text displayed if there is no data.
        show_name: Show the name of the series even if there is only one.
    """
    options: Json = {
        "reduceOptions": _reduce_options(reducer),
        "orientation": "auto",
        "textMode": "value_and_name" if show_name else "auto",
        "colorMode": "background" if background else "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    }
    return Panel(
        "stat",
        title,
        description,
        queries,
        size,
        options,
        defaults={**_standard_options(unit, decimals), "noValue": no_value},
        thresholds=with_no_data_color(thresholds),
        mappings=mappings,
        data_links=data_links,
    )


def timeseries(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    size: tuple[int, int] = (12, 8),
    thresholds: Sequence[Threshold] = (),
    stacked: bool = False,
    bars: bool = False,
    minimum: float | None = 0,
    maximum: float | None = None,
    decimals: int | None = None,
    legend_calcs: Sequence[str] = (),
    overrides: Sequence[Json] = (),
    data_links: Sequence[Link] = (),
    panel_links: Sequence[Link] = (),
) -> Panel:
    """Return a time series panel.

    Args:
        title: Title of the panel.
        description: What the panel shows.
        queries: Range queries.
        unit: Unit of the values.
        size: Width of 24 columns, and height.
        thresholds: Drawn as dashed lines.
        stacked: Stack the series.
        bars: Draw bars instead of lines.
        minimum: Lower end of the axis; None for that of the values.
        maximum: Upper end of the axis; None for that of the values.
        decimals: Digits after the decimal point.
        legend_calcs: Columns of the legend: ids of calculations.
        overrides: Field overrides.
        data_links: Links of the values.
        panel_links: Links of the panel header.
    """
    custom = _graph_styles(stacked=stacked, bars=bars, threshold_lines=bool(thresholds))
    options = {"legend": _legend(legend_calcs), "tooltip": {"mode": "multi", "sort": "desc"}}
    defaults = {**_standard_options(unit, decimals, minimum, maximum), "color": {"mode": "palette-classic"}}
    return Panel(
        "timeseries",
        title,
        description,
        queries,
        size,
        options,
        custom,
        defaults,
        thresholds=thresholds,
        overrides=overrides,
        data_links=data_links,
        panel_links=panel_links,
    )


def _graph_styles(*, stacked: bool, bars: bool, threshold_lines: bool) -> Json:
    return {
        "drawStyle": "bars" if bars else "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": 60 if bars else 25 if stacked else 8,
        "showPoints": "auto",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if threshold_lines else "off"},
        "axisPlacement": "auto",
        "axisBorderShow": False,
        "axisGridShow": True,
    }


def bar_gauge(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    size: tuple[int, int] = (12, 8),
    thresholds: Sequence[Threshold] = NEUTRAL,
    maximum: float | None = None,
    decimals: int | None = None,
    data_links: Sequence[Link] = (),
) -> Panel:
    """Return a bar gauge panel: one bar per series, from 0 to *maximum*; other arguments as in `stat`."""
    options: Json = {
        "reduceOptions": _reduce_options("lastNotNull"),
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
    return Panel(
        "bargauge",
        title,
        description,
        queries,
        size,
        options,
        defaults=_standard_options(unit, decimals, 0, maximum),
        thresholds=thresholds,
        data_links=data_links,
    )


def gauge(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    size: tuple[int, int] = (4, 4),
    thresholds: Sequence[Threshold] = NEUTRAL,
    minimum: float = 0,
    maximum: float = 1,
) -> Panel:
    """Return a gauge panel: one dial per series, from *minimum* to *maximum*; other arguments as in `stat`."""
    options: Json = {
        "reduceOptions": _reduce_options("lastNotNull"),
        "orientation": "auto",
        "showThresholdLabels": False,
        "showThresholdMarkers": True,
        "sizing": "auto",
        "minVizWidth": 75,
        "minVizHeight": 75,
    }
    defaults = {**_standard_options(unit, None, minimum, maximum), "noValue": "no data"}
    return Panel("gauge", title, description, queries, size, options, defaults=defaults, thresholds=thresholds)


def heatmap(title: str, description: str, query: Query, *, unit: str, size: tuple[int, int] = (12, 8)) -> Panel:
    """Return a heatmap panel of a histogram.

    Args:
        title: Title of the panel.
        description: What the panel shows.
        query: Increase of the buckets by `le`, in the format `heatmap`.
        unit: Unit of the bucket bounds.
        size: Width of 24 columns, and height.
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
    custom: Json = {"scaleDistribution": {"type": "linear"}, "hideFrom": _hide_from_nothing()}
    return Panel("heatmap", title, description, (query,), size, options, custom, {"unit": unit})


def _hide_from_nothing() -> Json:
    return {"legend": False, "tooltip": False, "viz": False}


def state_timeline(
    title: str,
    description: str,
    *queries: Query,
    mappings: Sequence[ValueMapping],
    size: tuple[int, int] = (24, 6),
) -> Panel:
    """Return a state timeline panel: one bar of states per series; *mappings* name the states, whole numbers."""
    options: Json = {
        "showValue": "auto",
        "rowHeight": 0.85,
        "mergeValues": True,
        "alignValue": "left",
        "legend": _legend(),
        "tooltip": {"mode": "single", "sort": "none"},
    }
    custom: Json = {"lineWidth": 0, "fillOpacity": 75, "spanNulls": False, "hideFrom": _hide_from_nothing()}
    # No thresholds: if they set the colors, Grafana names the states after them and ignores the mappings.
    defaults = {"unit": "none", "color": {"mode": "palette-classic"}}
    return Panel("state-timeline", title, description, queries, size, options, custom, defaults, mappings=mappings)


def text(title: str, description: str, markdown: str, *, size: tuple[int, int] = (8, 5)) -> Panel:
    """Return a text panel; *markdown* may contain dashboard variables."""
    return Panel("text", title, description, (), size, {"mode": "markdown", "content": markdown})


def alert_list(title: str, description: str, *, alert_name: str, size: tuple[int, int] = (8, 8)) -> Panel:
    """Return a list of the pending and firing alerts whose names contain *alert_name*."""
    states = {"firing": True, "pending": True, "noData": False, "normal": False, "error": True, "recovering": True}
    options: Json = {
        "viewMode": "list",
        "groupMode": "default",
        "groupBy": [],
        "maxItems": 20,
        "sortOrder": 3,
        "dashboardAlerts": False,
        "alertName": alert_name,
        "alertInstanceLabelFilter": "",
        "showInstances": False,
        "stateFilter": states,
    }
    return Panel("alertlist", title, description, (), size, options)
