"""What pydantic found, in plain words: what is wrong at a place of the spec, and the remedy."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from temporal_slo.spec import model
from temporal_slo.spec.values import REFUSED, one_of, show

MODELS: Final[Mapping[str, type[BaseModel]]] = {
    "": model.Spec,
    "period": model.Calendar,
    "slos": model.Slo,
    "outcome": model.Outcome,
    "sli": model.SliKinds,
    "success": model.Success,
    "latency": model.Latency,
    "overdue": model.Overdue,
    "alerting": model.Alerting,
    "activity_success": model.ActivitySuccess,
    "schedule_to_start": model.ScheduleToStart,
    "low_traffic": model.LowTraffic,
    "tiers": model.TierAlert,
    "windows": model.Tier,
    "prometheus": model.Prometheus,
    "causes": model.Causes,
    "server": model.ServerCauses,
}
"""The model that stands under each key; under `tiers`, below the name of each tier."""
_WANTED: Final = {"tuple_type": "a list", "model_type": "a mapping", "mapping_type": "a mapping"}


def explain(error: ErrorDetails) -> str:
    """Return what is wrong and the remedy; pydantic's own words are never in it."""
    if error["type"] == REFUSED:
        return error["msg"]
    if error["type"] == "missing":
        return f"is missing; write for example {_example(error)}"
    if error["type"] == "extra_forbidden":
        return _unknown(error)
    if error["type"] == "literal_error" and isinstance(error["input"], str):
        return _choice(error, error["input"])
    wanted = _WANTED.get(error["type"], "text")
    return f"is {_kind(error['input'])}, not {wanted}; write for example {_example(error)}"


def _fields(error: ErrorDetails) -> tuple[str, Mapping[str, FieldInfo]]:
    """Return the key that an error is about, and what may stand beside it."""
    keys = ["", *(part for part in error["loc"] if isinstance(part, str))]
    if "tiers" in keys:
        # Beneath it stand names of the user's, not keys of ours.
        del keys[keys.index("tiers") + 1 : keys.index("tiers") + 2]
    if len(keys) == 1:
        return "", {}
    fields = MODELS[keys[-2]].model_fields
    return keys[-1], {field.alias or name: field for name, field in fields.items()}


def _example(error: ErrorDetails) -> str:
    key, fields = _fields(error)
    if not key:
        return "version: temporal-slo/v1 on its first line"
    return f"{key}: {(fields[key].examples or [''])[0]}"


def _unknown(error: ErrorDetails) -> str:
    key, fields = _fields(error)
    near = get_close_matches(key, fields, n=1)
    return f"is not a key here; {f'write {near[0]}' if near else f'remove it, or write {one_of(list(fields))}'}"


def _choice(error: ErrorDetails, written: str) -> str:
    choices = error["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
    near = get_close_matches(written, choices, n=1)
    return f"{show(written)} is not known here; write {near[0] if near else one_of(choices)}"


def _kind(value: object) -> str:
    if isinstance(value, list | tuple):
        return "a list"
    return (
        "a mapping"
        if isinstance(value, Mapping)
        else f"text ({show(value)})"
        if isinstance(value, str)
        else show(value)
    )
