"""Panels and their elements: queries, thresholds, value mappings, links, table columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Json = dict[str, Any]

PROMETHEUS: Final = {"type": "prometheus", "uid": "${datasource}"}
"""The data source selected by the dashboard's variable."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a panel.

    Attributes:
        expr: PromQL; may contain dashboard variables.
        legend: Name of each series; may contain labels as `{{label}}`. Grafana chooses one if it is empty.
        instant: Evaluate once at the end of the time range instead of over the range.
        format: Format of the result.
        exemplars: Also show exemplars.
    """

    expr: str
    legend: str = ""
    instant: bool = False
    format: Literal["time_series", "table", "heatmap"] = "time_series"
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Threshold:
    """The color of values from *value* up to the next threshold; None is minus infinity."""

    color: str
    value: float | None = None

    def json(self) -> Json:
        """Return the JSON of a threshold step; the lowest needs a real null, "null" would disable all others."""
        return {"color": self.color, "value": self.value}


@dataclass(frozen=True, slots=True)
class ValueMapping:
    """The text and color displayed for values from *low* to *high*, both inclusive."""

    low: float
    high: float
    text: str
    color: str

    def json(self, index: int) -> Json:
        """Return the JSON of a range mapping; *index* orders several."""
        result = {"color": self.color, "text": self.text, "index": index}
        return {"type": "range", "options": {"from": self.low, "to": self.high, "result": result}}


@dataclass(frozen=True, slots=True)
class Link:
    """A panel link or data link; its URL may contain variables such as `${__data.fields.slo}`."""

    title: str
    url: str
    new_tab: bool = False

    def json(self) -> Json:
        """Return the JSON of a data link."""
        return {"title": self.title, "url": self.url, "targetBlank": self.new_tab}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        field: A label, or the letter of the query whose value is shown.
        title: Heading.
        unit: Unit of the values; None for text.
        decimals: Digits after the decimal point.
        thresholds: Colors of the cells.
        mappings: Texts displayed in place of values.
        data_links: Links of the cells.
        width: Width in pixels.
    """

    field: str
    title: str
    unit: str | None = None
    decimals: int | None = None
    thresholds: Sequence[Threshold] = ()
    mappings: Sequence[ValueMapping] = ()
    data_links: Sequence[Link] = ()
    width: int | None = None

    @property
    def source_field(self) -> str:
        """Name of the field in the query result, before it is renamed to the heading."""
        return f"Value #{self.field}" if len(self.field) == 1 else self.field


@dataclass(frozen=True, slots=True)
class Panel:
    """What all panel types have in common.

    Attributes:
        type: Id of the panel plugin.
        title: Displayed title; unique within its row.
        description: What the panel shows and how to read it.
        queries: Get the letters A, B, … in this order.
        size: Width of 24 columns, and height.
        options: Options of the plugin.
        custom: Field options of the plugin.
        defaults: Standard field options: unit, decimals, min, max.
        thresholds: Threshold steps.
        mappings: Texts displayed in place of values.
        overrides: Field overrides.
        data_links: Links of the values.
        panel_links: Links of the panel header.
        transformations: Transformations of the query results.
    """

    type: str
    title: str
    description: str
    queries: tuple[Query, ...]
    size: tuple[int, int]
    options: Json = field(default_factory=dict)
    custom: Json = field(default_factory=dict)
    defaults: Json = field(default_factory=dict)
    thresholds: Sequence[Threshold] = ()
    mappings: Sequence[ValueMapping] = ()
    overrides: Sequence[Json] = ()
    data_links: Sequence[Link] = ()
    panel_links: Sequence[Link] = ()
    transformations: Sequence[Json] = ()

    def field_defaults(self) -> Json:
        """Return the JSON of `fieldConfig.defaults`."""
        defaults: Json = dict(self.defaults)
        if self.custom:
            defaults["custom"] = dict(self.custom)
        if self.thresholds:
            defaults["thresholds"] = thresholds_json(self.thresholds)
            defaults["color"] = defaults.get("color", {"mode": "thresholds"})
        if self.mappings:
            defaults["mappings"] = mappings_json(self.mappings)
        if self.data_links:
            defaults["links"] = [link.json() for link in self.data_links]
        return defaults


NO_DATA: Final = Threshold("#808080")
LOWEST_VALUE: Final = -(10**15)
"""Below every displayed value."""


def with_no_data_color(thresholds: Sequence[Threshold]) -> Sequence[Threshold]:
    """Return *thresholds* preceded by a color for "no data", which Grafana shows in the color of the lowest step."""
    first, *others = thresholds
    if not others:
        return thresholds
    return (NO_DATA, Threshold(first.color, LOWEST_VALUE), *others)


def thresholds_json(thresholds: Sequence[Threshold]) -> Json:
    """Return the JSON of absolute thresholds."""
    return {"mode": "absolute", "steps": [threshold.json() for threshold in thresholds]}


def mappings_json(mappings: Sequence[ValueMapping]) -> list[Json]:
    """Return the JSON of value mappings."""
    return [mapping.json(index) for index, mapping in enumerate(mappings)]


def override_by_name(name: str, properties: Mapping[str, Any]) -> Json:
    """Return the JSON of an override of the field *name*."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }
