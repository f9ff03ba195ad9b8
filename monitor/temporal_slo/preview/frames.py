"""Converts query results of Prometheus into Grafana's data frames."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

LEGEND: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")
AUTO: Final = "__auto"

QueryResult = Sequence[Mapping[str, Any]]
"""Series as returned by Prometheus' HTTP API: `metric`, and `value` or `values`."""


def table(result: QueryResult, ref: str, *, multiple: bool) -> list[dict[str, Any]]:
    """Return one frame with a row per series and a column per label.

    Args:
        result: Of an instant query.
        ref: Letter of the query.
        multiple: The panel has several queries, so the value column gets the letter.
    """
    labels = sorted({label for series in result for label in series["metric"] if label != "__name__"})
    value = f"Value #{ref}" if multiple else "Value"
    times = [_field("Time", "time", [_milliseconds(series["value"][0]) for series in result])]
    columns = [_field(label, "string", [series["metric"].get(label, "") for series in result]) for label in labels]
    numbers = [_field(value, "number", [number(series["value"][1]) for series in result])]
    return [{"refId": ref, "fields": [*times, *columns, *numbers]}]


def series(result: QueryResult, ref: str, legend: str) -> list[dict[str, Any]]:
    """Return one frame per series, named by *legend*."""
    return [_frame(one, ref, legend) for one in result]


def _frame(one: Mapping[str, Any], ref: str, legend: str) -> dict[str, Any]:
    samples = one["values"] if "values" in one else [one["value"]]
    labels = {label: text for label, text in one["metric"].items() if label != "__name__"}
    times = _field("Time", "time", [_milliseconds(at) for at, _ in samples])
    values = _field("Value", "number", [number(value) for _, value in samples])
    config = {"displayNameFromDS": name(one["metric"], legend)}
    return {"refId": ref, "fields": [times, {**values, "labels": labels, "config": config}]}


def name(metric: Mapping[str, str], legend: str) -> str:
    """Return the displayed name of a series."""
    if legend and legend != AUTO:
        return LEGEND.sub(lambda match: metric.get(match[1], ""), legend)
    labels = [(label, text) for label, text in metric.items() if label != "__name__"]
    if len(labels) == 1 and "__name__" not in metric:
        return labels[0][1]
    matchers = ", ".join(f'{label}="{text}"' for label, text in labels)
    return f"{metric.get('__name__', '')}{{{matchers}}}"


def number(text: str) -> float | None:
    """Return a sample's value; None for NaN and infinities, which JSON cannot represent."""
    value = float(text)
    return value if math.isfinite(value) else None


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _field(name_: str, kind: str, values: list[Any]) -> dict[str, Any]:
    return {"name": name_, "type": kind, "values": values, "config": {}}
