"""Answers of Prometheus as the data frames that Grafana's components draw."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

LEGEND: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")
AUTO: Final = "__auto"

Answer = Sequence[Mapping[str, Any]]
"""Series as Prometheus' API has them: `metric`, and `value` or `values`."""


def table(answer: Answer, ref: str, *, several: bool) -> list[dict[str, Any]]:
    """Return one frame with a row for each series, its labels as columns; *several* queries number their values."""
    labels = sorted({label for series in answer for label in series["metric"] if label != "__name__"})
    value = f"Value #{ref}" if several else "Value"
    moments = [_field("Time", "time", [_milliseconds(series["value"][0]) for series in answer])]
    columns = [_field(label, "string", [series["metric"].get(label, "") for series in answer]) for label in labels]
    numbers = [_field(value, "number", [number(series["value"][1]) for series in answer])]
    return [{"refId": ref, "fields": [*moments, *columns, *numbers]}]


def series(answer: Answer, ref: str, legend: str) -> list[dict[str, Any]]:
    """Return a frame for each series, named as *legend* says."""
    return [_series(one, ref, legend) for one in answer]


def _series(one: Mapping[str, Any], ref: str, legend: str) -> dict[str, Any]:
    samples = one["values"] if "values" in one else [one["value"]]
    labels = {label: text for label, text in one["metric"].items() if label != "__name__"}
    moments = _field("Time", "time", [_milliseconds(at) for at, _ in samples])
    values = _field("Value", "number", [number(value) for _, value in samples])
    shown = {"displayNameFromDS": name(one["metric"], legend)}
    return {"refId": ref, "fields": [moments, {**values, "labels": labels, "config": shown}]}


def name(metric: Mapping[str, str], legend: str) -> str:
    """Return what a series is called."""
    if legend and legend != AUTO:
        return LEGEND.sub(lambda found: metric.get(found[1], ""), legend)
    labels = [(label, text) for label, text in metric.items() if label != "__name__"]
    if len(labels) == 1 and "__name__" not in metric:
        return labels[0][1]
    inside = ", ".join(f'{label}="{text}"' for label, text in labels)
    return f"{metric.get('__name__', '')}{{{inside}}}"


def number(text: str) -> float | None:
    """Return a sample's value; what JSON has no number for is nothing."""
    value = float(text)
    return value if math.isfinite(value) else None


def _milliseconds(moment: float) -> int:
    return round(moment * 1000)


def _field(name_: str, kind: str, values: list[Any]) -> dict[str, Any]:
    return {"name": name_, "type": kind, "values": values, "config": {}}
