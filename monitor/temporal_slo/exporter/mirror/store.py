"""What is known of one namespace, in memory and in the ledger; a change moves both."""

import asyncio
from collections.abc import Iterator, Sequence

from temporal_slo.errors import LedgerError
from temporal_slo.exporter.mirror.executions import Executions
from temporal_slo.exporter.mirror.exemplars import Exemplars
from temporal_slo.exporter.mirror.series_bounds import SeriesBounds
from temporal_slo.exporter.mirror.slo_rules import SloRules
from temporal_slo.ledger import reads
from temporal_slo.ledger.change import Change
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.runs.counted import Classification, Counted
from temporal_slo.runs.run import Run


class MirrorStore:
    """The facts, the rules and the exemplars of one namespace.

    Args:
        namespace: Temporal namespace.
        ledger: Persists the facts.
        state: The facts, as the ledger has them.
        rules: What the SLOs require; a reload replaces them as a whole.
        exemplars: Collects exemplars.
        bounds: Limits workflow types and task queues; None for the default limits.

    Attributes:
        oldest_pending: Close time of the oldest pending run when requests were last sent; None before.
        executions: Finds out when the execution of each run started.
        audit_drift: Closed runs that the server counted beyond the ledger in the last audited slice; None before.
    """

    def __init__(
        self,
        namespace: str,
        ledger: Ledger,
        state: State,
        *,
        rules: SloRules | None = None,
        exemplars: Exemplars | None = None,
        bounds: SeriesBounds | None = None,
    ) -> None:
        self.namespace = namespace
        self.state = state
        self.rules = SloRules() if rules is None else rules
        self.exemplars = Exemplars() if exemplars is None else exemplars
        self.bounds = SeriesBounds(state) if bounds is None else bounds
        self.oldest_pending: int | None = None
        self.audit_drift: int | None = None
        self.executions = Executions(namespace, ledger, state)
        self._ledger = ledger
        # What is read and what is classified are committed by two loops, and each looks at what the other has written.
        self._committing = asyncio.Lock()

    def unknown_open(self) -> Iterator[str]:
        """Yield the ids of open runs of which an SLO must know whether they continue others, and does not."""
        types, opened = self.rules.execution_types, self.state.open
        for run_id in self.executions.unknown_open:
            if run_id in opened and opened[run_id].key.workflow_type in types:
                yield run_id

    async def recover(self) -> None:
        """Find out whether a change whose commit was not acknowledged is in the ledger.

        Raises:
            LedgerError: That is not known yet.
            UsageError: Another exporter has counted in the ledger.
        """
        await self._ledger.recover(self.namespace)

    async def unseen(self, run_ids: Sequence[str]) -> set[str]:
        """Return which of *run_ids* belong to no closed run that is counted or pending.

        Raises:
            LedgerError: The ledger could not be read.
        """
        return await self._ledger.transact(reads.unseen, self.namespace, run_ids) if run_ids else set()

    def counted(self, run: Run, classification: Classification) -> Counted:
        """Return *run* as the rules of this moment count it."""
        return self.rules.counted(run, classification)

    async def commit(self, change: Change, now: int, *, polled: int | None = None) -> None:
        """Add to *change* what it says about executions, write it to the ledger, then apply it in memory.

        Args:
            change: An empty one is not written.
            now: Current time in microseconds of Unix time.
            polled: When a complete poll began that has just ended; None if none has.

        Raises:
            LedgerError: It could not be written; nothing is applied.
        """
        async with self._committing:
            try:
                await self.executions.complete(change, self.rules, now, polled)
                if change != Change():
                    await self._ledger.commit(self.namespace, change, now, written=self._apply)
            except LedgerError:
                self.executions.reload()
                raise

    def _apply(self, change: Change) -> None:
        self.state.apply(change)
        self.executions.applied(change)
        self.exemplars.add(change.counted)
