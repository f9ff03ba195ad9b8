from datetime import timedelta

import pytest

from temporal_slo.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1ms", 0.001), ("90s", 90), ("2m", 120), ("1h30m", 5400), ("30d", 2_592_000), ("2w1d1ms", 1_296_000.001)],
)
def test_round_trip(text: str, seconds: float) -> None:
    """A duration is read to the millisecond and written as it was."""
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert parse_duration(format_duration(parse_duration(text))) == parse_duration(text)


@pytest.mark.parametrize("text", ["", "5", "m", "1.5h", "-3s", "3s ", "1y", "0s", "0h0m", "40000d", "9" * 400 + "w"])
def test_refused(text: str) -> None:
    """What is no duration, or none that makes sense, is refused by name."""
    with pytest.raises(ValueError, match="is not"):
        parse_duration(text)


def test_format() -> None:
    """The largest units come first, and nothing is 0s."""
    assert format_duration(timedelta(days=9, seconds=61)) == "1w2d1m1s"
    assert format_duration(timedelta()) == "0s"


def test_negative() -> None:
    """What the notation cannot say is refused, and not written as something else."""
    with pytest.raises(ValueError, match=r"-0\.5 seconds are no duration"):
        format_duration(timedelta(milliseconds=-500))
