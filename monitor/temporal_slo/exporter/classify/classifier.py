"""Classifies closed runs: status, business outcome and failure type."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from temporalio.api.history.v1 import HistoryEvent

from temporal_slo import names
from temporal_slo.exporter.classify.outcome import Outcome, OutcomeReader
from temporal_slo.exporter.classify.payloads import Decode
from temporal_slo.exporter.classify.status import BUILT_IN_FAILURE_TYPES, classify, needs_event
from temporal_slo.ledger.change import Change
from temporal_slo.names.bounded import BoundedValues
from temporal_slo.names.values import COMPLETED, NONE, UNKNOWN
from temporal_slo.runs.counted import Classification, FailureKey
from temporal_slo.runs.run import Run
from temporal_slo.spec.bound import BoundSlo, outcomes

FAILURE_TYPES_MAX: Final = 50
"""Failure types of each workflow type; further ones are counted as `other`."""


class Classifier:
    """Classifies the closed runs of one namespace.

    Args:
        decode: Decodes results.
        rules: How the outcome is read, by workflow type.
        failures: Failure series that the ledger has: their failure types stay, whatever the limit.
    """

    def __init__(
        self, decode: Decode, rules: Mapping[str, Outcome] | None = None, failures: Iterable[FailureKey] = ()
    ) -> None:
        self._decode = decode
        self._read(rules or {})
        known: dict[str, set[str]] = {}
        for key in failures:
            known.setdefault(key.workflow_type, set()).add(key.failure_type)
        self._bounded = BoundedValues(FAILURE_TYPES_MAX, always=BUILT_IN_FAILURE_TYPES, known=known)

    def apply_slos(self, slos: Sequence[BoundSlo]) -> None:
        """Read the outcomes of *slos* from now on, also if decoding was stopped before."""
        self._read(outcomes(slos))

    def _read(self, rules: Mapping[str, Outcome]) -> None:
        self._outcomes = frozenset(rules)
        self._reader = OutcomeReader(rules, self._decode)

    @property
    def outcomes_stopped(self) -> bool | None:
        """Whether outcomes are not read for a while: too many results cannot be decoded; None without outcomes."""
        return self._reader.stopped if self._outcomes else None

    def from_visibility(self, run: Run) -> Classification | None:
        """Return the classification of *run*, or None if its close event is needed."""
        status = str(run.status)
        if needs_event(status, outcome=self._reader.reads(run.workflow_type)):
            return None
        return classify(status, None, self._no_outcome(run))

    def must_wait(self, run: Run) -> bool:
        """Return whether *run* cannot be classified now even with its close event: the codec is unavailable."""
        return run.status == COMPLETED and self._reader.waits(run.workflow_type)

    def without_event(self, run: Run) -> Classification:
        """Return the classification of a run whose close event is missing or did not come in time."""
        return classify(str(run.status), None, self._no_outcome(run))

    async def with_event(self, run: Run, event: HistoryEvent) -> Classification | None:
        """Return the classification of *run* by its close event, or None if the outcome cannot be decoded yet."""
        outcome: str | None = self._no_outcome(run)
        if run.status == COMPLETED and run.workflow_type in self._outcomes:
            outcome = await self._reader.read(run.workflow_type, run.workflow_id, event)
        return None if outcome is None else classify(str(run.status), event, outcome)

    def bound_failure_type(self, run: Run, classification: Classification, change: Change) -> Classification:
        """Return *classification* with a failure type within the limit; *change* counts those beyond it."""
        if not classification.failure_type:
            return classification
        before = self._bounded.replaced
        failure_type = self._bounded(run.workflow_type, classification.failure_type)
        if replaced := self._bounded.replaced - before:
            change.counters[names.EXPORTER_FAILURE_TYPES_OVER_LIMIT] += replaced
        return classification._replace(failure_type=failure_type)

    def _no_outcome(self, run: Run) -> str:
        return UNKNOWN if run.workflow_type in self._outcomes else NONE
