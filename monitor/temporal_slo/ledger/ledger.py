"""The ledger: persistent state of each namespace, so that a killed exporter neither loses nor double-counts a run."""

from collections.abc import Callable, Iterable
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from temporal_slo.errors import UsageError
from temporal_slo.ledger import reads, writes
from temporal_slo.ledger.change import Change
from temporal_slo.ledger.database import Database
from temporal_slo.ledger.state import State

P = ParamSpec("P")
T = TypeVar("T")


class Ledger:
    """An open ledger.

    Every method is one transaction. Transactions run one after the other in a thread of their own.

    Args:
        url: `sqlite:///path` or a PostgreSQL URL in SQLAlchemy's syntax.

    Attributes:
        epoch: The epoch of totals. A restored copy of a ledger begins a new epoch, in which totals start at 0.

    Raises:
        UsageError: The database is not a ledger, has a newer schema, is in use, or cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self.epoch = self._database.epoch
        self._loaded: dict[str, int] = {}

    def close(self) -> None:
        """Close the ledger. No transaction may be running."""
        self._database.close()

    async def load(self, namespace: str) -> State:
        """Return the state of *namespace*.

        Raises:
            LedgerError: The ledger cannot be read.
        """

        def load(connection: Connection) -> State:
            self._loaded[namespace] = self._database.generation
            return reads.load(connection, namespace, self.epoch)

        return await self._database.run(load)

    async def commit(
        self, namespace: str, change: Change, now: int, *, written: Callable[[Change], object] = lambda _: None
    ) -> None:
        """Write *change* in one transaction, then call *written* with it.

        Args:
            namespace: Temporal namespace.
            change: What to write.
            now: Current time, in microseconds of Unix time.
            written: Applies the change to the state in memory.

        Raises:
            LedgerError: The write failed and nothing was written. If the commit succeeded but the connection was lost
                before the server confirmed it, the next transaction detects this and calls *written* first.
            UsageError: Another exporter has written to the ledger; *namespace* must be loaded again.
        """

        def write(connection: Connection) -> None:
            self._require_current(namespace)
            writes.write(connection, namespace, self.epoch, change, now)

        await self._database.commit(write, lambda: written(change))

    async def recover(self, namespace: str) -> None:
        """Resolve a commit that the server did not confirm, if there is one.

        Raises:
            LedgerError: The ledger is still unreachable.
            UsageError: Another exporter has written to the ledger; *namespace* must be loaded again.
        """
        await self._database.recover()
        self._require_current(namespace)

    async def transact(self, work: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return the result of `work(connection, *args, **kwargs)`, run in one transaction.

        Args:
            work: A function of `reads`, `writes` or `retention`, or of a module with tables of its own.
            args: Its further arguments.
            kwargs: Its keyword arguments.

        Raises:
            LedgerError: The transaction failed. Whether it was committed is unknown: read again before retrying.
        """
        return await self._database.run(lambda connection: work(connection, *args, **kwargs))

    async def released(self, namespace: str) -> set[str]:
        """Return the counter series whose initial zero was scraped."""
        return await self.transact(reads.released, namespace, self.epoch)

    async def mark_released(self, namespace: str, series: Iterable[str]) -> None:
        """Store that the initial zero of these counter series was scraped; after a restart they keep their value."""
        await self.transact(writes.mark_released, namespace, self.epoch, series)

    def _require_current(self, namespace: str) -> None:
        if self._loaded.get(namespace, 0) != self._database.generation:
            raise UsageError("--ledger", "another exporter has written to it", "give each exporter its own ledger")
