from datetime import timedelta

import pytest

from temporal_slo.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1ms", 0.001), ("90s", 90), ("2m", 120), ("1h30m", 5400), ("30d", 2_592_000), ("2w1d1ms", 1_296_000.001)],
)
def test_round_trip(text: str, seconds: float) -> None:
    """A duration keeps its value through parsing and formatting, to the millisecond."""
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert parse_duration(format_duration(parse_duration(text))) == parse_duration(text)


@pytest.mark.parametrize("text", ["", "5", "m", "1.5h", "-3s", "3s ", "1y", "0s", "0h0m", "40000d", "9" * 400 + "w"])
def test_refused(text: str) -> None:
    """Malformed, zero and excessive durations are refused."""
    with pytest.raises(ValueError, match="is not"):
        parse_duration(text)


def test_format() -> None:
    """Larger units come first, and zero is written 0s."""
    assert format_duration(timedelta(days=9, seconds=61)) == "1w2d1m1s"
    assert format_duration(timedelta()) == "0s"


def test_negative() -> None:
    """A negative duration is refused: the notation has none."""
    with pytest.raises(ValueError, match=r"-0\.5 seconds is not a duration"):
        format_duration(timedelta(milliseconds=-500))
