"""Classifies closed runs."""

from collections.abc import Collection
from typing import Final

from temporalio.api.history.v1 import HistoryEvent

from temporal_slo.exporter.classify.outcome import OutcomeReader
from temporal_slo.exporter.classify.status import OWN_TYPES, needs_event, verdict
from temporal_slo.ledger.change import OTHER_FAILURES, Change
from temporal_slo.ledger.state import State
from temporal_slo.names.bounded import BoundedValues
from temporal_slo.names.values import COMPLETED, NONE, UNKNOWN
from temporal_slo.runs.counted import Classification
from temporal_slo.runs.run import Run

FAILURE_TYPES_MAX: Final = 50
"""Failure types that each workflow type may have; further ones are counted as `other`."""


class Judge:
    """Turns closed runs into verdicts.

    Args:
        reader: Reads business outcomes.
        outcomes: Workflow types that have one.
        state: What the ledger knows, for the failure types that have a place already.
    """

    def __init__(self, reader: OutcomeReader, outcomes: Collection[str], state: State) -> None:
        self._reader = reader
        self._outcomes = outcomes
        known: dict[str, set[str]] = {}
        for key in state.failures:
            known.setdefault(key.workflow_type, set()).add(key.failure_type)
        self._bounded = BoundedValues(FAILURE_TYPES_MAX, always=OWN_TYPES, known=known)

    def adopt(self, reader: OutcomeReader, outcomes: Collection[str]) -> None:
        """Go by another spec from now on; its arguments are as the class has them."""
        self._reader, self._outcomes = reader, outcomes

    def at_once(self, run: Run) -> Classification | None:
        """Return what *run* is counted as, or None if that needs its close event."""
        status = str(run.status)
        if needs_event(status, outcome=self._reader.wants(run.workflow_type)):
            return None
        return verdict(status, None, self._no_outcome(run))

    def without_event(self, run: Run) -> Classification:
        """Return what *run* is counted as if its close event is gone or did not come in time."""
        return verdict(str(run.status), None, self._no_outcome(run))

    async def with_event(self, run: Run, event: HistoryEvent) -> Classification | None:
        """Return what *run* is counted as by its close event, or None if that can't be told yet."""
        outcome: str | None = self._no_outcome(run)
        if run.status == COMPLETED and run.workflow_type in self._outcomes:
            outcome = await self._reader.read(run.workflow_type, run.workflow_id, event)
        return None if outcome is None else verdict(str(run.status), event, outcome)

    def bound(self, run: Run, found: Classification, change: Change) -> Classification:
        """Return *found* with a failure type that is one of few."""
        if not found.failure_type:
            return found
        before = self._bounded.replaced
        kind = self._bounded(run.workflow_type, found.failure_type)
        change.others[OTHER_FAILURES] += self._bounded.replaced - before
        return found._replace(failure_type=kind)

    def _no_outcome(self, run: Run) -> str:
        return UNKNOWN if run.workflow_type in self._outcomes else NONE
