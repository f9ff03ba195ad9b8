"""The order in which pending runs are requested: newest and oldest share the requests, each run once a lap."""

from typing import Final, NamedTuple

from sqlalchemy import Connection

from temporal_slo.ledger import reads
from temporal_slo.ledger.reads import PendingRun, SortKey
from temporal_slo.ledger.writes import RANKS

OLDEST_SHARE: Final = 16
"""One request in so many goes to the oldest runs while there are more runs than can be requested at once.

SLIs take the share of bad outcomes from the runs that are classified now: of old ones among them it would lag behind.
"""

FIRST: Final = (-1, "")
"""A sort key below all others."""


class _Range(NamedTuple):
    """Sort keys, both ends included, between which every run was requested."""

    low: SortKey
    high: SortKey


class Lap:
    """Requests each pending run of a namespace once.

    Runs that close during the lap are the newest, and so among the next: under permanent overload new runs do not wait
    behind the backlog. The oldest runs always get some of the requests.

    Args:
        namespace: Temporal namespace.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        # By rank: what was requested, oldest range first. The first one grows from the oldest run up.
        self._requested = {rank: [_Range(FIRST, FIRST)] for rank in RANKS}

    def next(self, connection: Connection, size: int, *, oldest_only: bool) -> list[PendingRun]:
        """Return up to *size* runs to request next. Half of the requests are for failures, if there are so many.

        Args:
            connection: An open transaction of the ledger.
            size: Maximum number of runs.
            oldest_only: Whether to return no newest runs.
        """
        failures, others = RANKS
        found = self._of_rank(connection, failures, size // 2, oldest_only=oldest_only)
        found += self._of_rank(connection, others, size - len(found), oldest_only=oldest_only)
        return found + self._of_rank(connection, failures, size - len(found), oldest_only=oldest_only)

    def _of_rank(self, connection: Connection, rank: int, size: int, *, oldest_only: bool) -> list[PendingRun]:
        oldest = size if oldest_only else size // OLDEST_SHARE
        found = self._newest(connection, rank, size - oldest)
        return found + self._oldest(connection, rank, size - len(found))

    def _newest(self, connection: Connection, rank: int, size: int) -> list[PendingRun]:
        """Return the newest runs that were not requested, from the gaps between the ranges."""
        found: list[PendingRun] = []
        ranges = self._requested[rank]
        for index in reversed(range(len(ranges))):
            if len(found) == size:
                break
            below, above = ranges[index], ranges[index + 1] if index + 1 < len(ranges) else None
            limit = size - len(found)
            rows = reads.pending_runs(
                connection, self._namespace, rank, limit, above=below.high, below=above.low if above else None
            )
            found += rows
            if rows or above:
                high = above.high if above else rows[0].sort_key
                # A gap without further runs is closed.
                merged = _Range(rows[-1].sort_key, high) if len(rows) == limit else _Range(below.low, high)
                ranges[index : index + 2] = [below, merged] if len(rows) == limit else [merged]
        return found

    def _oldest(self, connection: Connection, rank: int, size: int) -> list[PendingRun]:
        """Return the oldest runs that were not requested, from the gap above the first range."""
        ranges = self._requested[rank]
        found: list[PendingRun] = []
        while len(found) < size:
            first, above = ranges[0], ranges[1] if len(ranges) > 1 else None
            limit = size - len(found)
            below = above.low if above else None
            rows = reads.pending_runs(
                connection, self._namespace, rank, limit, above=first.high, below=below, newest_first=False
            )
            found += rows
            high = rows[-1].sort_key if rows else first.high
            if len(rows) < limit and above:
                ranges[:2] = [_Range(first.low, above.high)]
                continue
            ranges[0] = _Range(first.low, high)
            break
        return found
