"""Overdue minutes: minutes in which more runs than an SLO tolerates were open for longer than its max_age."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from temporal_slo.exporter.mirror.slo_rules import OverdueRule
from temporal_slo.exporter.mirror.store import MirrorStore
from temporal_slo.ledger.change import GOES_ON, MINUTES, Change, ClosedOverdueRun, EvaluatedHour, Position
from temporal_slo.ledger.state import OpenRun
from temporal_slo.runs.microseconds import HOUR, MINUTE, SECOND

MINUTES_MAX: Final = 7 * 24 * 60
"""Minutes evaluated at once at most. After a long outage the rest follows step by step."""

EVALUATED_AFTER: Final = 60 * SECOND
"""How long after its end a minute is evaluated. It cannot be corrected, so late rows are waited for."""


class OverdueMinutes:
    """Evaluates the minutes of one namespace, each once.

    Args:
        store: Has the runs, and gets the evaluated minutes.
        now: Local clock, in microseconds of Unix time.

    Attributes:
        first: The first minute of a new ledger.
    """

    def __init__(self, store: MirrorStore, now: int) -> None:
        self._store = store
        self.first = -(-now // MINUTE) * MINUTE

    async def evaluate(self, swept: int, now: int) -> None:
        """Evaluate the minutes whose closes are all ingested; none while there is a gap.

        Args:
            swept: When the last sweep began, which read the rows that became visible late.
            now: Local clock; both in microseconds of Unix time.

        Raises:
            LedgerError: The minutes could not be written; they are evaluated again.
        """
        store, state = self._store, self._store.state
        if state.gaps:
            return
        # A ledger of an older version has no position here.
        lowest, first = state.positions.get(MINUTES, Position(self.first, self.first))
        until = await store.executions.judged_until(swept - EVALUATED_AFTER, store.rules)
        last = min(until // MINUTE, first // MINUTE + MINUTES_MAX) * MINUTE
        if last <= first:
            return
        runs: Iterable[OpenRun | ClosedOverdueRun] = [*state.open.values(), *state.closed_overdue.values()]
        evaluated = [hour for rule in store.rules.overdue for hour in evaluate(rule, runs, first, last)]
        await store.commit(Change(evaluated=evaluated, positions={MINUTES: Position(lowest, last)}), now)


class Span(NamedTuple):
    """When a run was overdue, in microseconds of Unix time; `end` is the first moment at which it no longer was."""

    begin: int
    end: int


def evaluate(
    rule: OverdueRule, runs: Iterable[OpenRun | ClosedOverdueRun], first: int, last: int
) -> Iterator[EvaluatedHour]:
    """Yield the minutes from *first* to *last*, summed by hour. Pure.

    A minute is overdue if during it more runs than the rule tolerates were open for longer than its max_age.

    Args:
        rule: Of the SLO.
        runs: All runs that were open then, whether they still are or have closed since.
        first: Start of the first minute, in microseconds of Unix time, a whole minute.
        last: End of the last minute.
    """
    overdue = Counter(minute * MINUTE // HOUR for minute in _overdue(rule, runs, first // MINUTE, last // MINUTE))
    for hour in range(first // HOUR, -(-last // HOUR)):
        observed = min(last, (hour + 1) * HOUR) - max(first, hour * HOUR)
        yield EvaluatedHour(rule.slo, hour, observed // MINUTE, overdue[hour])


def _overdue(rule: OverdueRule, runs: Iterable[OpenRun | ClosedOverdueRun], first: int, last: int) -> Iterator[int]:
    """Yield the numbers of the overdue minutes."""
    change: Counter[int] = Counter()
    counted = (run for run in runs if rule.applies_to(run.key) and rule.since(run) != GOES_ON)
    for begin, end in (_span(rule, run) for run in counted):
        if begin < min(end, last * MINUTE) and end > first * MINUTE:
            change[max(begin // MINUTE, first)] += 1
            # The last overdue minute contains the end; a minute that begins at the end does not.
            change[-(-end // MINUTE)] -= 1
    overdue = 0
    for minute in range(first, last):
        overdue += change[minute]
        if overdue > rule.tolerate:
            yield minute


def _span(rule: OverdueRule, run: OpenRun | ClosedOverdueRun) -> Span:
    never = 1 << 62
    return Span(rule.since(run) + rule.max_age, run.close_time if isinstance(run, ClosedOverdueRun) else never)
