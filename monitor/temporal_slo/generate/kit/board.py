"""A dashboard as data, and where its panels stand."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from temporal_slo.generate.kit.parts import Panel

COLUMNS: Final = 24


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice that the reader makes.

    Attributes:
        name: In queries and URLs.
        label: What the reader sees.
        query: For a label's values, `label_values(…)`; for a data source, its kind.
        kind: What is chosen from.
        several: Several, or all, may be chosen, and all are unless the reader chooses.
        description: What is chosen.
    """

    name: str
    label: str
    query: str
    kind: Literal["query", "datasource"] = "query"
    several: bool = True
    description: str = ""


@dataclass(frozen=True, slots=True)
class Annotation:
    """Marks on the time axis where a query returns something.

    Attributes:
        name: What the reader sees, and may switch off.
        expr: PromQL.
        title: Of a mark; may hold labels as `{{label}}`.
        color: Of the marks.
        text: More of a mark.
    """

    name: str
    expr: str
    title: str
    color: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading, from left to right, as many lines as they need."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard.

    Attributes:
        uid: In its URL; never changes.
        title: Of the dashboard.
        description: For whom it is and what it answers.
        rows: From top to bottom.
        variables: In the order in which one depends on the other.
        annotations: On all its panels.
        since: Where the time range begins, such as `now-6h`.
    """

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...]
    annotations: tuple[Annotation, ...] = ()
    since: str = "now-6h"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a panel stands, in 24ths of the width and in lines."""

    x: int
    y: int
    width: int
    height: int


def places(board: Board) -> Iterator[tuple[Row, Panel | None, Place]]:
    """Yield rows, with no panel, and their panels, each with its place.

    Raises:
        ValueError: A panel is wider than the dashboard.
    """
    line = 0
    for row in board.rows:
        yield row, None, Place(0, line, COLUMNS, 1)
        x, y, deepest = 0, line + 1, 0
        for panel in row.panels:
            width, height = panel.size
            if width > COLUMNS:
                raise ValueError(f"{board.uid}: {panel.title} is wider than {COLUMNS}")
            if x + width > COLUMNS:
                x, y, deepest = 0, y + deepest, 0
            yield row, panel, Place(x, y, width, height)
            x, deepest = x + width, max(deepest, height)
        line = y + deepest


def identity(row: str, title: str = "") -> int:
    """Return the id of a panel, or of a row: the same as long as their titles are, wherever it stands."""
    digest = hashlib.sha256(f"{row}\0{title}".encode()).digest()
    # Grafana keeps ids in signed 32 bits, and counts its own from 1.
    return int.from_bytes(digest[:4]) >> 1 or 1
