import pytest

from temporal_slo.names.bounded import BoundedValues


def test_limit() -> None:
    """Each key has its own limit; further values become other and are counted, kept values stay."""
    bounded = BoundedValues[str](2, always=["unknown"])
    assert [bounded("Ride", value) for value in ("A", "B", "C", "A", "D", "unknown", "other")] == [
        *("A", "B", "other", "A", "other", "unknown", "other")
    ]
    assert bounded("Wallet", "C") == "C"
    assert bounded.replaced == 2


def test_known_values() -> None:
    """Known values are kept even above the limit and take up places; always admitted ones take up none."""
    bounded = BoundedValues(2, always=["unknown"], known={"Ride": ["A", "other", "unknown"], "Wallet": ["A", "B", "C"]})
    assert [bounded("Ride", value) for value in "ABC"] == ["A", "B", "other"]
    assert [bounded("Wallet", value) for value in "ABCD"] == ["A", "B", "C", "other"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Card\nDecl\x00ined\u2028\u202e", "CardDeclined"),
        ("Zahlung abgelehnt ✗", "Zahlung abgelehnt ✗"),
        ("x" * 101, "x" * 100),
        ("\x1b" * 3 + "x" * 500, "x" * 100),
        ("\n", "other"),
        ("", "other"),
    ],
)
def test_values_are_fit_for_a_label(value: str, expected: str) -> None:
    """Unprintable characters are removed and the rest is cut to 100; a value of which nothing is left becomes other."""
    assert BoundedValues[str](9)("Ride", value) == expected


@pytest.mark.parametrize("value", ["", "\n"])
def test_empty_value(value: str) -> None:
    """A value without printable characters becomes the value for empty ones, which is no replacement."""
    bounded = BoundedValues[str](0, always=["none"], empty="none")
    assert (bounded("Ride", value), bounded.replaced) == ("none", 0)


def test_replacements_are_reported() -> None:
    """Each replacement is reported with its key, an empty value included."""
    keys: list[str] = []
    bounded = BoundedValues(1, on_replaced=keys.append)
    assert [bounded("Ride", value) for value in ("A", "B", "A", "")] == ["A", "other", "A", "other"]
    assert bounded("Wallet", "B") == "B"
    assert keys == ["Ride", "Ride"]
