"""A dashboard as data, and the layout of its panels on Grafana's grid."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from temporal_slo.generate.kit.model import Panel

GRID_COLUMNS: Final = 24


@dataclass(frozen=True, slots=True)
class Variable:
    """A dashboard variable.

    Attributes:
        name: Name in queries and URLs.
        label: Displayed name.
        query: `label_values(…)` for a query variable; the data source type for a data source variable.
        kind: Type of the variable.
        multi: Allow several values and "All"; the default is "All".
        description: Help text of the variable.
    """

    name: str
    label: str
    query: str
    kind: Literal["query", "datasource"] = "query"
    multi: bool = True
    description: str = ""


@dataclass(frozen=True, slots=True)
class Annotation:
    """Marks on the time axis wherever a query returns a value.

    Attributes:
        name: Displayed name, with which the annotation can be switched off.
        expr: PromQL.
        title: Title of a mark; may contain labels as `{{label}}`.
        color: Color of the marks.
        text: Text of a mark; may contain labels.
    """

    name: str
    expr: str
    title: str
    color: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading, placed from left to right and wrapped at the grid's width."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard.

    Attributes:
        uid: Unique id in its URL; never changes.
        title: Displayed title.
        description: The questions that the dashboard answers.
        rows: From top to bottom.
        variables: Each one after those that its query uses.
        annotations: Shown on all panels.
        time_from: Start of the default time range, such as `now-6h`.
    """

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...]
    annotations: tuple[Annotation, ...] = ()
    time_from: str = "now-6h"


@dataclass(frozen=True, slots=True)
class GridPos:
    """Position and size of a panel, in grid columns and grid rows."""

    x: int
    y: int
    width: int
    height: int


def layout(dashboard: Dashboard) -> Iterator[tuple[Row, Panel | None, GridPos]]:
    """Yield each row with None for its heading and then with each of its panels, all with their positions.

    Raises:
        ValueError: A panel is wider than the grid.
    """
    top = 0
    for row in dashboard.rows:
        yield row, None, GridPos(0, top, GRID_COLUMNS, 1)
        x, y, line_height = 0, top + 1, 0
        for panel in row.panels:
            width, height = panel.size
            if width > GRID_COLUMNS:
                raise ValueError(f"{dashboard.uid}: panel {panel.title!r} is wider than {GRID_COLUMNS} columns")
            if x + width > GRID_COLUMNS:
                x, y, line_height = 0, y + line_height, 0
            yield row, panel, GridPos(x, y, width, height)
            x, line_height = x + width, max(line_height, height)
        top = y + line_height


def panel_id(row: str, title: str = "") -> int:
    """Return the id of a panel, or of a row without *title*; it depends on the titles only, not on the position."""
    digest = hashlib.sha256(f"{row}\0{title}".encode()).digest()
    # Grafana stores ids as signed 32-bit integers and counts its own from 1.
    return int.from_bytes(digest[:4]) >> 1 or 1
