"""Which minutes of the past broke a promise: those in which too many runs were open for longer than it allows."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from temporal_slo.exporter.mirror.slo_rules import OverdueRule
from temporal_slo.ledger.change import Judged
from temporal_slo.ledger.state import LongRun, OpenRun
from temporal_slo.runs.microseconds import HOUR, MINUTE

MINUTES_MAX: Final = 7 * 24 * 60
"""Minutes judged at once at most: after a long outage the rest follows a step at a time."""


class Span(NamedTuple):
    """When a run was overdue, in microseconds; it was no more at `end`."""

    begin: int
    end: int


def judge(rule: OverdueRule, runs: Iterable[OpenRun | LongRun], first: int, last: int) -> Iterator[Judged]:
    """Yield what the minutes from *first* to *last* were for an SLO, summed up by the hour; pure.

    A minute is overdue if in the course of it more runs than the rule tolerates were open for longer than its max_age.

    Args:
        rule: Of the SLO.
        runs: All that were open then, whether they still are or have closed since.
        first: Begin of the first minute, in microseconds of Unix time, a whole minute.
        last: End of the last one.
    """
    overdue = Counter(minute * MINUTE // HOUR for minute in _overdue(rule, runs, first // MINUTE, last // MINUTE))
    for hour in range(first // HOUR, -(-last // HOUR)):
        observed = min(last, (hour + 1) * HOUR) - max(first, hour * HOUR)
        yield Judged(rule.slo, hour, observed // MINUTE, overdue[hour])


def _overdue(rule: OverdueRule, runs: Iterable[OpenRun | LongRun], first: int, last: int) -> Iterator[int]:
    """Yield the numbers of the minutes that were overdue."""
    change: Counter[int] = Counter()
    for begin, end in (_span(rule, run) for run in runs if rule.fits(run.key)):
        if begin < min(end, last * MINUTE) and end > first * MINUTE:
            change[max(begin // MINUTE, first)] += 1
            # The last minute is the one in which it ended; one that begins with its end knew it no more.
            change[-(-end // MINUTE)] -= 1
    overdue = 0
    for minute in range(first, last):
        overdue += change[minute]
        if overdue > rule.tolerate:
            yield minute


def _span(rule: OverdueRule, run: OpenRun | LongRun) -> Span:
    never = 1 << 62
    return Span(run.due_time + rule.max_age, run.close_time if isinstance(run, LongRun) else never)
