"""Messages for pydantic's validation errors: what is wrong at a place in the spec, and the remedy."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from temporal_slo.spec import model
from temporal_slo.spec.validators import EXPLAINED, join_words, quoted

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
"""The model under each key; for `tiers`, under the name of each tier."""
_EXPECTED: Final = {"tuple_type": "a list", "model_type": "a mapping", "mapping_type": "a mapping"}


def explain(error: ErrorDetails) -> str:
    """Return the reason and the remedy, without any of pydantic's own wording."""
    if error["type"] == EXPLAINED:
        return error["msg"]
    if error["type"] == "missing":
        return f"is missing; write for example {_example(error)}"
    if error["type"] == "extra_forbidden":
        return _unknown_key(error)
    if error["type"] == "literal_error" and isinstance(error["input"], str):
        return _unknown_choice(error, error["input"])
    expected = _EXPECTED.get(error["type"], "text")
    return f"is {_type(error['input'])}, not {expected}; write for example {_example(error)}"


def _fields(error: ErrorDetails) -> tuple[str, Mapping[str, FieldInfo]]:
    """Return the key of an error, and the fields that are allowed next to it."""
    keys = ["", *(part for part in error["loc"] if isinstance(part, str))]
    if "tiers" in keys:
        # The keys below it are names of tiers, not fields.
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


def _unknown_key(error: ErrorDetails) -> str:
    key, fields = _fields(error)
    near = get_close_matches(key, fields, n=1)
    return f"is not a known key; {f'write {near[0]}' if near else f'remove it, or write {join_words(list(fields))}'}"


def _unknown_choice(error: ErrorDetails, written: str) -> str:
    choices = error["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
    near = get_close_matches(written, choices, n=1)
    return f"{quoted(written)} is not a valid value; write {near[0] if near else join_words(choices)}"


def _type(value: object) -> str:
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, Mapping):
        return "a mapping"
    return f"text ({quoted(value)})" if isinstance(value, str) else quoted(value)
