import pytest

from temporal_slo.runs.outcome_rule import outcome_rule


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("CONFIRMED", "good"),
        ("FAILED", "bad"),
        ("CANCELLED", "excluded"),
        ("confirmed", "unknown"),
        ("", "bad"),
        (True, "good"),
        (False, "bad"),
        (7, "good"),
        (7.0, "unknown"),
        (1.5, "bad"),
        (None, "unknown"),
        (["CONFIRMED"], "unknown"),
        ({"CONFIRMED": 1}, "unknown"),
    ],
)
def test_value(value: object, expected: str) -> None:
    """A value is looked up as its JSON text; a value in no list, and one that is no scalar, is unknown."""
    rule = outcome_rule(
        "status", good=["CONFIRMED", "true", "7"], bad=["FAILED", "false", "1.5", ""], excluded=["CANCELLED"]
    )
    assert rule({"status": value}) == expected


def test_expression_that_finds_nothing() -> None:
    """A result without the value is unknown, even if the empty text is a listed value."""
    rule = outcome_rule("status", good=[""])
    results: list[object] = [{}, None, "CONFIRMED", []]
    assert [rule(result) for result in results] == ["unknown"] * 4


def test_expression_that_does_not_fit_the_result() -> None:
    """An expression that fails on the types of a result raises; the caller decides whether that is an error."""
    with pytest.raises(ValueError, match="length"):
        outcome_rule("length(items)", good=["1"])({"items": None})


@pytest.mark.parametrize("expression", ["a[", "", None, 3])
def test_bad_expression(expression: str) -> None:
    """An expression that is not JMESPath raises a ValueError when the rule is made."""
    with pytest.raises(ValueError, match=r".+"):
        outcome_rule(expression, good=["OK"])
