"""The JSON Schema, as an editor uses it: on what a YAML parser made of a file."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from temporal_slo.spec.base import Part
from temporal_slo.spec.schema import json_schema

SPECS = Path(__file__).parents[1] / "specs"
BAD = sorted(path for path in (SPECS / "bad").glob("*.yaml") if path.is_file())
KNOWN_TO_LOAD_ALONE = {
    "alias",  # YAML: an editor's parser has resolved it
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
    "switch",  # yes, which PyYAML takes for true
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
"""Mistakes that are none in a schema's eyes: of several keys together, of other files, of time zones and functions."""


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    """What an editor does with the schema."""
    return jsonschema.Draft202012Validator(json_schema())


def parsed(path: Path) -> Any:  # noqa: ANN401 - any YAML
    """What a YAML parser makes of a file, or None if it is no YAML."""
    try:
        return yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError):
        return None


def test_schema_is_valid() -> None:
    """The schema is valid in the dialect that it names, and warns of nothing while it is made."""
    schema = json_schema()
    assert jsonschema.validators.validator_for(schema, jsonschema.Draft3Validator) is jsonschema.Draft202012Validator
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == json_schema()


@pytest.mark.parametrize("folder", ["good", "warned"])
def test_good_is_accepted(validator: jsonschema.Draft202012Validator, folder: str) -> None:
    """Every spec that can be loaded validates, so does the one that the demo uses."""
    paths = [*(SPECS / folder).glob("*.yaml"), *(SPECS.parents[1] / "deploy" / "slos").glob("*.yaml")]
    assert len(paths) > 2
    for path in paths:
        assert [error.message for error in validator.iter_errors(parsed(path))] == [], path


@pytest.mark.parametrize("path", BAD, ids=[path.stem for path in BAD])
def test_bad_is_refused(validator: jsonschema.Draft202012Validator, path: Path) -> None:
    """Every mistake that a schema can know is refused; those that it cannot are on a list."""
    data = parsed(path)
    assert (data is not None and validator.is_valid(data)) == (path.stem in KNOWN_TO_LOAD_ALONE)


def test_list_is_no_longer_than_needed() -> None:
    """Whatever is on the list is there as a file, and most mistakes are not on it."""
    assert {path.stem for path in BAD} >= KNOWN_TO_LOAD_ALONE
    assert len(BAD) > 3 * len(KNOWN_TO_LOAD_ALONE)


def test_every_key_is_described() -> None:
    """Every part and key has a description and an example for the editor, and each example validates."""
    schema = json_schema()
    slo = schema["$defs"]["Slo"]["properties"]
    parts = {"Spec": schema, "SliKinds": slo["sli"], **schema["$defs"]}
    assert set(parts) == {part.__name__ for part in Part.__subclasses__()}
    for name, part in parts.items():
        assert part["description"], name
        for key, told in part["properties"].items():
            assert name == "SliKinds" or told.get("description"), (name, key)
            for example in told["examples"]:
                resolved = told | {"$defs": schema["$defs"]}
                jsonschema.validate(example, resolved, jsonschema.Draft202012Validator)
            assert told["examples"]


def test_words_are_those_of_a_spec() -> None:
    """Durations stand as a spec has them, numbers without noise, and there is no null."""
    schema = json_schema()
    causes = schema["$defs"]["Causes"]["properties"]
    assert causes["uncovered"]["default"] == "10m"
    assert schema["$defs"]["LowTraffic"]["properties"]["confidence"]["default"] == 0.95
    assert schema["$defs"]["Slo"]["properties"]["sli"]["maxProperties"] == 1
    assert '"null"' not in str(schema).replace("'", '"')
