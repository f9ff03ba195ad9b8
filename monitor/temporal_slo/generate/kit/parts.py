"""What panels are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Json = dict[str, Any]

PROMETHEUS: Final = {"type": "prometheus", "uid": "${datasource}"}
"""The data source that the reader has chosen."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a panel.

    Attributes:
        expr: PromQL; may hold variables of the dashboard.
        legend: How a series is called; may hold labels as `{{label}}`.
        instant: Ask for the end of the time range only.
        format: What the panel makes of it.
        exemplars: Show them as points.
    """

    expr: str
    legend: str = ""
    instant: bool = False
    format: Literal["time_series", "table", "heatmap"] = "time_series"
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """From *value* on, values have this colour; None is the lowest there is."""

    color: str
    value: float | None = None

    def json(self) -> Json:
        """Return it as Grafana has it, with a real null: as a text it would keep all other steps from working."""
        return {"color": self.color, "value": self.value}


@dataclass(frozen=True, slots=True)
class Words:
    """What is shown for values from *low* to *high*."""

    low: float
    high: float
    text: str
    color: str

    def json(self, index: int) -> Json:
        """Return it as a value mapping; *index* orders several."""
        result = {"color": self.color, "text": self.text, "index": index}
        return {"type": "range", "options": {"from": self.low, "to": self.high, "result": result}}


@dataclass(frozen=True, slots=True)
class Link:
    """A link from a panel or a value; may hold variables, and those of the data, such as `${__data.fields.slo}`."""

    title: str
    url: str
    new_tab: bool = False

    def json(self) -> Json:
        """Return it as panels and fields have it."""
        return {"title": self.title, "url": self.url, "targetBlank": self.new_tab}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        field: A label, or the letter of the query whose value it shows.
        title: Its heading.
        unit: Of its values; None for text.
        decimals: Digits after the point.
        steps: Colours of its cells.
        words: Shown instead of numbers.
        links: Of its cells.
        width: In pixels.
    """

    field: str
    title: str
    unit: str | None = None
    decimals: int | None = None
    steps: Sequence[Step] = ()
    words: Sequence[Words] = ()
    links: Sequence[Link] = ()
    width: int | None = None

    @property
    def source(self) -> str:
        """What the field is called before it gets its heading."""
        return f"Value #{self.field}" if len(self.field) == 1 else self.field


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel, as far as all kinds are alike.

    Attributes:
        kind: The id of Grafana's plugin.
        title: Of the panel; unique in its row.
        description: What it shows and how to read it.
        queries: Get the letters A, B, … in this order.
        size: Width of 24, and height.
        options: Of the plugin.
        custom: Of the plugin, for each field.
        defaults: Of all fields: unit, decimals, bounds.
        steps: Thresholds.
        words: Shown instead of numbers.
        overrides: Of single fields.
        links: Of the values.
        panel_links: Of the panel's head.
        transformations: Of what the queries return.
    """

    kind: str
    title: str
    description: str
    queries: tuple[Query, ...]
    size: tuple[int, int]
    options: Json = field(default_factory=dict)
    custom: Json = field(default_factory=dict)
    defaults: Json = field(default_factory=dict)
    steps: Sequence[Step] = ()
    words: Sequence[Words] = ()
    overrides: Sequence[Json] = ()
    links: Sequence[Link] = ()
    panel_links: Sequence[Link] = ()
    transformations: Sequence[Json] = ()

    def field_defaults(self) -> Json:
        """Return what all its fields have in common."""
        made: Json = dict(self.defaults)
        if self.custom:
            made["custom"] = dict(self.custom)
        if self.steps:
            made["thresholds"] = thresholds(self.steps)
            made["color"] = made.get("color", {"mode": "thresholds"})
        if self.words:
            made["mappings"] = mappings(self.words)
        if self.links:
            made["links"] = [link.json() for link in self.links]
        return made


NONE: Final = Step("#808080")
LOWEST: Final = -(10**15)
"""Below every number that is shown."""


def none_first(steps: Sequence[Step]) -> Sequence[Step]:
    """Return *steps* after a colour for no data, which Grafana shows in the first one, be that of well or of ill."""
    first, *others = steps
    if not others:
        return steps
    return (NONE, Step(first.color, LOWEST), *others)


def thresholds(steps: Sequence[Step]) -> Json:
    """Return *steps* as Grafana has them."""
    return {"mode": "absolute", "steps": [step.json() for step in steps]}


def mappings(words: Sequence[Words]) -> list[Json]:
    """Return *words* as Grafana has them."""
    return [one.json(index) for index, one in enumerate(words)]


def by_name(name: str, properties: Mapping[str, Any]) -> Json:
    """Return an override of the field *name*."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }
