"""The JSON Schema, as an editor uses it: on the output of a YAML parser."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from temporal_slo.spec.base import Part
from temporal_slo.spec.schema import json_schema

SPECS = Path(__file__).parents[1] / "specs"
BAD = sorted(path for path in (SPECS / "bad").glob("*.yaml") if path.is_file())
ACCEPTED_BY_SCHEMA = {
    "alias",  # the YAML parser of an editor expands it
    "bad-and-excluded",
    "bad-outcome-without-outcome",
    "budget-below-one-event",
    "budget-below-one-minute",
    "calendar-activity",
    "calendar-wait",
    "cause-too-fresh",
    "confidence-on-minutes",
    "control-character",
    "duplicate-key",
    "duplicate-name",
    "expression-function-unknown",
    "expression-not-jmespath",
    "low-traffic-confidence-unused",
    "low-traffic-failures-unused",
    "outcome-differs",
    "outcome-overlap",
    "outcome-without-values",
    "period-calendar-timezone-unknown",
    "period-too-long",
    "rate-on-minutes",
    "rate-zero",
    "retention-shorter-than-period",
    "retention-shorter-than-window",
    "switch",  # yes, which PyYAML parses as true
    "threshold-zero",
    "tier-switch",  # as above
    "tier-not-of-windows",
    "tier-unknown",
    "tiers-never-fire",
    "wait-threshold-not-measured",
    "windows-hold-no-scrape",
    "windows-longer-than-period",
    "windows-short-not-shorter",
    "windows-two-of-a-name",
}
"""Bad specs that a schema cannot detect: combinations of keys, several files, time zones and functions."""


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    """Validates as an editor does."""
    return jsonschema.Draft202012Validator(json_schema())


def parsed(path: Path) -> Any:  # noqa: ANN401 - any YAML
    """The output of a YAML parser, or None for a file that is not YAML."""
    try:
        return yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError):
        return None


def test_schema_is_valid() -> None:
    """The schema is valid in its dialect, and generating it gives no warning."""
    schema = json_schema()
    assert jsonschema.validators.validator_for(schema, jsonschema.Draft3Validator) is jsonschema.Draft202012Validator
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == json_schema()


@pytest.mark.parametrize("folder", ["good", "warned"])
def test_good_is_accepted(validator: jsonschema.Draft202012Validator, folder: str) -> None:
    """Every spec that loads is valid, also those of the demo."""
    paths = [*(SPECS / folder).glob("*.yaml"), *(SPECS.parents[1] / "deploy" / "slos").glob("*.yaml")]
    assert len(paths) > 2
    for path in paths:
        assert [error.message for error in validator.iter_errors(parsed(path))] == [], path


@pytest.mark.parametrize("path", BAD, ids=[path.stem for path in BAD])
def test_bad_is_rejected(validator: jsonschema.Draft202012Validator, path: Path) -> None:
    """Every bad spec is rejected, other than those on the list of what a schema cannot detect."""
    data = parsed(path)
    assert (data is not None and validator.is_valid(data)) == (path.stem in ACCEPTED_BY_SCHEMA)


def test_list_is_no_longer_than_needed() -> None:
    """Every entry of the list is a bad spec, and most bad specs are not on it."""
    assert {path.stem for path in BAD} >= ACCEPTED_BY_SCHEMA
    assert len(BAD) > 3 * len(ACCEPTED_BY_SCHEMA)


def test_every_key_is_described() -> None:
    """Every part and key has a description and an example for the editor, and each example validates."""
    schema = json_schema()
    slo = schema["$defs"]["Slo"]["properties"]
    parts = {"Spec": schema, "SliKinds": slo["sli"], **schema["$defs"]}
    assert set(parts) == {part.__name__ for part in Part.__subclasses__()}
    for name, part in parts.items():
        assert part["description"], name
        for key, field in part["properties"].items():
            assert name == "SliKinds" or field.get("description"), (name, key)
            for example in field["examples"]:
                resolved = field | {"$defs": schema["$defs"]}
                jsonschema.validate(example, resolved, jsonschema.Draft202012Validator)
            assert field["examples"]


def test_defaults_as_in_a_spec() -> None:
    """Defaults are written as in a spec, and null is not allowed."""
    schema = json_schema()
    causes = schema["$defs"]["Causes"]["properties"]
    assert causes["ingestion_lag"]["default"] == "10m"
    assert schema["$defs"]["LowTraffic"]["properties"]["confidence"]["default"] == 0.95
    assert schema["$defs"]["Slo"]["properties"]["sli"]["maxProperties"] == 1
    assert '"null"' not in str(schema).replace("'", '"')
