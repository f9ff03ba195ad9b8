"""Gaps: close-time ranges that are not ingested yet."""

from collections.abc import Iterable

from temporal_slo.ledger.change import Gap
from temporal_slo.runs.run import Run
from temporal_slo.temporal.visibility import Page


def merged(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """Return the same close times in gaps that rise and do not overlap."""
    result: list[Gap] = []
    for low, high in sorted(gaps):
        if result and low <= result[-1].high:
            result[-1] = Gap(result[-1].low, max(result[-1].high, high))
        else:
            result.append(Gap(low, high))
    return tuple(result)


def _rest(page: Page, rows: list[Run], low: int) -> list[Gap]:
    """Return what is left to read down to *low* after *rows*, those of *page* that are not below it."""
    # A page without rows has no place to go on from, whatever its token says.
    done = len(rows) < len(page.rows) or not page.next_token or not rows
    return [] if done else [Gap(low, rows[-1].close_time or rows[-1].start_time)]
