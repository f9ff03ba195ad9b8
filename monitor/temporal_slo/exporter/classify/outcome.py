"""The business outcome of a completed run, read from its result."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent

from temporal_slo.exporter.classify.payloads import DECODE_TIMEOUT, CodecAwayError, Decode
from temporal_slo.names.values import NONE, UNKNOWN
from temporal_slo.runs.outcome_rule import outcome_rule

UNDECODABLE_MAX: Final = 20
"""Results in a row that can't be decoded, after which no more are tried."""


log = logging.getLogger(__name__)


class Outcome(Protocol):
    """How the business outcome of a workflow type is read, as the spec has it."""

    @property
    def from_(self) -> str:
        """JMESPath expression into the result."""

    @property
    def good(self) -> Sequence[str]:
        """Values, as text, that mean a kept promise."""

    @property
    def bad(self) -> Sequence[str]:
        """Values that mean a broken one."""

    @property
    def excluded(self) -> Sequence[str]:
        """Values that count as neither."""


class OutcomeReader:
    """Reads the outcomes of one namespace's completed runs.

    Args:
        specs: How to read them, by workflow type; their expressions are valid.
        decode: Decodes results.

    Attributes:
        undecodable: Results so far that could not be decoded.
        stopped: Whether too many in a row could not: then none is tried any more.
    """

    def __init__(self, specs: Mapping[str, Outcome], decode: Decode) -> None:
        self._rules = {
            workflow_type: outcome_rule(spec.from_, good=spec.good, bad=spec.bad, excluded=spec.excluded)
            for workflow_type, spec in specs.items()
        }
        self._decode = decode
        self._in_a_row = 0
        self.undecodable = 0
        self.stopped = False

    def wants(self, workflow_type: str) -> bool:
        """Return whether the close events of this type's completed runs are worth fetching."""
        return workflow_type in self._rules and not self.stopped

    def without_event(self, workflow_type: str) -> str:
        """Return the outcome of a completed run whose close event is not there, or not wanted."""
        return UNKNOWN if workflow_type in self._rules else NONE

    async def read(self, workflow_type: str, workflow_id: str, event: HistoryEvent | None) -> str | None:
        """Return the outcome of a completed run: good, bad, excluded or unknown; or none.

        None if it can't be told yet, for the codec endpoint is away: it may be asked again.

        Args:
            workflow_type: The outcome is none if it has no spec.
            workflow_id: Part of what some codecs encrypt with.
            event: The run's close event; None if it is gone.
        """
        payload = _result(event)
        if payload is None or not self.wants(workflow_type):
            return self.without_event(workflow_type)
        try:
            async with asyncio.timeout(DECODE_TIMEOUT.total_seconds()):
                value = await self._decode(payload, workflow_id)
        except (CodecAwayError, TimeoutError):
            return None
        except Exception as error:  # noqa: BLE001 a user's converter may raise anything
            self._fail(error)
            return UNKNOWN
        self._in_a_row = 0
        try:
            return self._rules[workflow_type](value)
        except Exception:  # noqa: BLE001 the types in the result may be such that jmespath itself fails
            return UNKNOWN

    def _fail(self, error: Exception) -> None:
        self.undecodable += 1
        self._in_a_row += 1
        if self._in_a_row >= UNDECODABLE_MAX and not self.stopped:
            self.stopped = True
            # Its name alone: the message may hold what the customer wrote.
            name = type(error).__name__
            log.warning(
                "%d results in a row can't be decoded (%s): business outcomes are unknown from now on; configure the"
                " data converter or the codec endpoint that the workers use, and restart",
                self._in_a_row,
                name,
            )


def _result(event: HistoryEvent | None) -> Payload | None:
    if event is None:
        return None
    payloads = event.workflow_execution_completed_event_attributes.result.payloads
    return payloads[0] if payloads else None
