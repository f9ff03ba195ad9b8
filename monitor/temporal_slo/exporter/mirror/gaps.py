"""Gaps: close-time ranges that are not ingested yet."""

from collections.abc import Iterable

from temporal_slo.ledger.change import Gap
from temporal_slo.runs.run import Run
from temporal_slo.temporal.visibility import Page


def merged(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """Return the same close times as gaps that ascend and do not overlap."""
    result: list[Gap] = []
    for low, high in sorted(gaps):
        if result and low <= result[-1].high:
            result[-1] = Gap(result[-1].low, max(result[-1].high, high))
        else:
            result.append(Gap(low, high))
    return tuple(result)


def unread(page: Page, rows: list[Run], low: int) -> list[Gap]:
    """Return the range between *low* and the last of *rows* that is not read yet: one gap, or none.

    Args:
        page: The page that was read, newest first.
        rows: Its rows that are not below *low*.
        low: Time down to which the list is to be read, in microseconds of Unix time.
    """
    # An empty page offers no row to continue from, whatever its token says.
    complete = len(rows) < len(page.rows) or not page.next_token or not rows
    return [] if complete else [Gap(low, rows[-1].close_time or rows[-1].start_time)]
