"""Merges lists of one closed status each into one list, which reads no open run on PostgreSQL."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import merge
from itertools import islice
from typing import Final, Protocol

from temporal_slo.runs.run import STATUS_NAMES, Run
from temporal_slo.temporal.visibility import Page, Visibility

SPARE: Final = 1.5
"""How much more is requested of a status than its share of the first page before: none should end before the others."""

SMALLEST: Final = 20
"""Rows requested of a status that was not on the first page before."""


class ListsByStatus(Visibility, Protocol):
    """Visibility that can list one status at a time."""

    async def closed_with(self, status: str, size: int, token: bytes = b"", until: int | None = None) -> Page:
        """Return closed runs of one status, as `closed` does.

        Args:
            status: The status, as queries name it.
            size: Maximum rows.
            token: Of the page.
            until: Latest close time of the rows, in microseconds of Unix time; None for all.
        """
        ...

    async def passes_open_runs(self) -> bool:
        """Return whether the store reads all open runs before the closed ones in a list of several statuses."""
        ...


@dataclass(frozen=True, slots=True)
class OneList:
    """The list of one status, as far as it is read.

    Attributes:
        status: The status, as queries name it.
        rows: Runs that are read and not returned yet, newest close first.
        token: Token of the next page; empty if there is none.
        begun: Whether the first page is read.
    """

    status: str
    rows: tuple[Run, ...] = ()
    token: bytes = b""
    begun: bool = False

    @property
    def is_unknown(self) -> bool:
        """Whether its next run is on a page that is not read yet."""
        return not self.rows and (bool(self.token) or not self.begun)


class MergeToken(bytes):
    """The token of a merged list: it holds the rows that are read and not returned yet, so it is of this process only.

    Attributes:
        lists: The lists.
    """

    lists: tuple[OneList, ...] = ()

    @classmethod
    def of(cls, lists: tuple[OneList, ...]) -> bytes:
        """Return the token of *lists*; empty if they have ended."""
        token = cls(b"merged" if any(one.rows or one.token for one in lists) else b"")
        token.lists = lists
        return token


class MergedVisibility:
    """Visibility of one Temporal namespace, which merges the lists of closed statuses where that makes polls cheaper.

    PostgreSQL has an index by close time in which all open runs come first, and one by status and close time. A query
    for several statuses reads the first from its beginning, a query for one status reads the second.

    Args:
        visibility: Lists and counts.
    """

    def __init__(self, visibility: ListsByStatus) -> None:
        self._visibility = visibility
        self._shares: Counter[str | None] = Counter()

    async def closed(self, size: int, token: bytes = b"", until: int | None = None) -> Page:
        """Return closed runs, newest close first."""
        if isinstance(token, MergeToken):
            return await self._merged(token.lists, size, until)
        if not await self._visibility.passes_open_runs():
            return await self._visibility.closed(size, token, until)
        page = await self._merged(tuple(map(OneList, STATUS_NAMES)), size, until)
        self._shares = Counter(run.status for run in page.rows)
        return page

    async def running(self, size: int, token: bytes = b"", *, paused: bool = False) -> Page:
        """Return running runs, and paused ones on request, newest start first."""
        return await self._visibility.running(size, token, paused=paused)

    async def count(self, since: int, until: int) -> int:
        """Return the number of runs closed from *since* until before *until*, in microseconds of Unix time."""
        return await self._visibility.count(since, until)

    async def _merged(self, lists: tuple[OneList, ...], size: int, until: int | None) -> Page:
        """Return the newest runs of *lists*: *size* of them, unless all lists end before."""
        rows = list[Run]()
        while len(rows) < size:
            lists = tuple([await self._known(one, size, until) for one in lists])
            newest, lists = _newest(lists, size - len(rows))
            if not newest:
                break
            rows += newest
        return Page(tuple(rows), MergeToken.of(lists))

    async def _known(self, one: OneList, size: int, until: int | None) -> OneList:
        """Return the list with its next run, unless it has ended."""
        while one.is_unknown:
            rows = size if one.begun else self._first_size(one.status, size)
            page = await self._visibility.closed_with(one.status, rows, one.token, until)
            one = OneList(one.status, page.rows, page.next_token, begun=True)
        return one

    def _first_size(self, status: str, size: int) -> int:
        total = self._shares.total()
        share = self._shares[STATUS_NAMES[status]] / total if total else 1
        return min(size, max(SMALLEST, round(SPARE * share * size)))


def _newest(lists: Sequence[OneList], size: int) -> tuple[list[Run], tuple[OneList, ...]]:
    """Return at most *size* runs, newest close first, as far as no list can have a newer one, and what is left."""
    rows, used = list[Run](), [0] * len(lists)
    numbered = [[(number, run) for run in one.rows] for number, one in enumerate(lists)]
    for number, run in islice(merge(*numbered, key=lambda pair: -pair[1].close_time), size):
        rows.append(run)
        used[number] += 1
        if used[number] == len(lists[number].rows) and lists[number].token:
            break
    return rows, tuple(replace(one, rows=one.rows[count:]) for one, count in zip(lists, used, strict=True))
