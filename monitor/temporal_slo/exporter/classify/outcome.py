"""Reads the business outcome of a completed run from its result."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final, Protocol

import httpx
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent

from temporal_slo.exporter.classify.payloads import DECODE_TIMEOUT, CodecUnavailableError, Decode
from temporal_slo.names.values import NONE, UNKNOWN
from temporal_slo.runs.outcome_rule import outcome_rule
from temporal_slo.temporal.rate_limit import backoff

UNDECODABLE_MAX: Final = 20
"""Consecutive results that cannot be decoded, after which decoding stops for a while."""

RETRY_AFTER: Final = timedelta(minutes=10)
"""Time after which decoding is tried again."""

# A codec in the exporter itself may read a key file or call a key service. TimeoutError is an OSError.
UNAVAILABLE: Final = (CodecUnavailableError, OSError, httpx.TransportError)
"""Errors of a codec that is unavailable: they say nothing about the payload."""

log = logging.getLogger(__name__)


class Outcome(Protocol):
    """The business outcome of a workflow type, as defined in the spec."""

    @property
    def from_(self) -> str:
        """JMESPath expression that selects the value in the result."""

    @property
    def good(self) -> Sequence[str]:
        """Values of a good outcome, as text."""

    @property
    def bad(self) -> Sequence[str]:
        """Values of a bad outcome, as text."""

    @property
    def excluded(self) -> Sequence[str]:
        """Values of an outcome that no SLO counts, as text."""


class OutcomeReader:
    """Reads the outcomes of the completed runs of one namespace.

    Args:
        outcomes: Outcomes by workflow type, with valid expressions.
        decode: Decodes results.
        clock: Monotonic time in seconds.

    Attributes:
        undecodable: Number of results that could not be decoded.
    """

    def __init__(
        self, outcomes: Mapping[str, Outcome], decode: Decode, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rules = {
            workflow_type: outcome_rule(outcome.from_, good=outcome.good, bad=outcome.bad, excluded=outcome.excluded)
            for workflow_type, outcome in outcomes.items()
        }
        self._decode = decode
        self._clock = clock
        self._consecutive_failures = 0
        self._stopped_until = self._waits_until = clock()
        self._outages = 0
        self.undecodable = 0

    @property
    def stopped(self) -> bool:
        """Whether decoding has stopped for a while, after too many consecutive failures."""
        return self._clock() < self._stopped_until

    def waits(self, workflow_type: str) -> bool:
        """Return whether the outcomes of *workflow_type* cannot be read now, because the codec is unavailable."""
        return self.reads(workflow_type) and self._clock() < self._waits_until

    def reads(self, workflow_type: str) -> bool:
        """Return whether outcomes of *workflow_type* are read: it has one, and decoding has not stopped."""
        return workflow_type in self._rules and not self.stopped

    def without_event(self, workflow_type: str) -> str:
        """Return the outcome of a completed run whose close event is missing or not read."""
        return UNKNOWN if workflow_type in self._rules else NONE

    async def read(self, workflow_type: str, workflow_id: str, event: HistoryEvent | None) -> str | None:
        """Return the outcome of a completed run: `good`, `bad`, `excluded`, `unknown` or `none`.

        None if the codec is unavailable, so that the outcome must be read later. It is not called for a while then.

        Args:
            workflow_type: Workflow type of the run; without an outcome in the spec the result is `none`.
            workflow_id: Workflow id of the run; some codecs use it in encryption.
            event: The close event of the run; None if it does not exist.
        """
        payload = _result(event)
        if payload is None or not self.reads(workflow_type):
            return self.without_event(workflow_type)
        if self.waits(workflow_type):
            return None
        try:
            async with asyncio.timeout(DECODE_TIMEOUT.total_seconds()):
                value = await self._decode(payload, workflow_id)
        except UNAVAILABLE:
            self._back_off()
            return None
        except Exception as error:  # noqa: BLE001 the data converter of a user may raise any error
            self._outages = 0
            self._count_failure(error)
            return UNKNOWN
        self._count_success()
        try:
            return self._rules[workflow_type](value)
        except Exception:  # noqa: BLE001 jmespath raises various errors on types that it does not expect
            return UNKNOWN

    def _back_off(self) -> None:
        # Requests that were in flight when the outage began fail for the same reason: they count once.
        if self._clock() >= self._waits_until:
            self._outages += 1
            self._waits_until = self._clock() + backoff(self._outages, random.random())  # noqa: S311 no secret

    def _count_success(self) -> None:
        if self._consecutive_failures >= UNDECODABLE_MAX:
            log.info("results can be decoded again, business outcomes are read")
        self._consecutive_failures = self._outages = 0
        self._stopped_until = self._waits_until = self._clock()

    def _count_failure(self, error: Exception) -> None:
        self.undecodable += 1
        self._consecutive_failures += 1
        if self._consecutive_failures >= UNDECODABLE_MAX and not self.stopped:
            self._stopped_until = self._clock() + RETRY_AFTER.total_seconds()
        if self._consecutive_failures == UNDECODABLE_MAX:
            # Only the type: the message may contain data from the payload.
            log.warning(
                "decoding %d consecutive results failed (%s), business outcomes are unknown, decoding is tried again"
                " every %d minutes: configure the data converter or the codec endpoint of the workers",
                self._consecutive_failures,
                type(error).__name__,
                RETRY_AFTER // timedelta(minutes=1),
            )


def _result(event: HistoryEvent | None) -> Payload | None:
    if event is None:
        return None
    payloads = event.workflow_execution_completed_event_attributes.result.payloads
    return payloads[0] if payloads else None
