"""How far below the watermark a list is read again."""

import pytest

from temporal_slo.exporter.mirror.watermark import FUTURE, REACH, Watermark
from temporal_slo.ledger.change import Position
from temporal_slo.runs.microseconds import MINUTE, SECOND
from tests.run_factory import BEGAN

LOWEST = BEGAN - 24 * 60 * MINUTE


def watermark(lowest: int = LOWEST) -> Watermark:
    """Return a watermark at BEGAN that moved at BEGAN."""
    return Watermark(Position(lowest=lowest, position=BEGAN), BEGAN)


@pytest.mark.parametrize(
    ("since_moved", "grace", "expected"),
    [
        pytest.param(0, 180 * SECOND, 180 * SECOND, id="just moved"),
        pytest.param(70 * SECOND, 180 * SECOND, 110 * SECOND, id="grace minus time since the move"),
        pytest.param(180 * SECOND, 180 * SECOND, 0, id="grace just over"),
        pytest.param(500 * SECOND, 180 * SECOND, 0, id="never above the watermark"),
        pytest.param(-20 * MINUTE, 180 * SECOND, 23 * MINUTE, id="clock set back"),
        pytest.param(-5 * 60 * MINUTE, 180 * SECOND, REACH, id="clock set back by more than the reach"),
        pytest.param(0, REACH + SECOND, REACH, id="never below the reach"),
    ],
)
def test_floor(since_moved: int, grace: int, expected: int) -> None:
    """A list is read again for its grace period minus the time since the watermark moved, from 0 to REACH."""
    assert watermark().floor(BEGAN + since_moved, grace) == BEGAN - expected


def test_floor_is_not_below_the_lowest_position() -> None:
    """Nothing is read again below the position where counting began."""
    assert watermark(lowest=BEGAN - 7 * SECOND).floor(BEGAN, 180 * SECOND) == BEGAN - 7 * SECOND


def test_moved_watermark_gets_the_whole_grace() -> None:
    """After the watermark moved, its grace period begins again."""
    moved = watermark()
    now = BEGAN + 500 * SECOND
    moved.move(moved.ahead([BEGAN + 490 * SECOND], now), now)
    assert moved.floor(now + 30 * SECOND, 180 * SECOND) == BEGAN + 340 * SECOND


def test_rows_of_the_future() -> None:
    """Only rows at most FUTURE ahead of the local clock move the watermark, and only forward."""
    at = watermark()
    assert at.ahead([BEGAN + FUTURE, BEGAN + FUTURE + 1], BEGAN) == Position(lowest=LOWEST, position=BEGAN + FUTURE)
    assert at.ahead([BEGAN + FUTURE + 1], BEGAN) is None
    assert at.ahead([BEGAN], BEGAN) is None
    assert at.ahead([], BEGAN) is None
