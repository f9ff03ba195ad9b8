"""The audit of closed runs: drift, and repairs."""

from collections.abc import AsyncIterator, Callable

import pytest

from temporal_slo import names
from temporal_slo.errors import TemporalRequestError
from temporal_slo.exporter.mirror.audit import AUDITED_AFTER, RETRY, SLICE, Auditor
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.ledger import retention
from temporal_slo.ledger.change import AUDIT
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.retention import KEEP_SEEN
from temporal_slo.ledger.state import State
from temporal_slo.runs.counted import Classification
from temporal_slo.runs.microseconds import MINUTE, SECOND
from temporal_slo.runs.run import Run
from temporal_slo.testing import FakeVisibility
from tests.run_factory import BEGAN, closed, from_visibility

DUE = (AUDITED_AFTER + SLICE) // SECOND + 60
"""When the first slice is due, in seconds after the start."""


class Audited:
    """A mirror of a fake namespace; times are seconds after its start."""

    def __init__(self, ledger: Ledger, classify: Callable[[Run], Classification | None] = from_visibility) -> None:
        # An earlier run: without one, counting begins with the first run.
        self.visibility = FakeVisibility([closed(-10)])
        self.mirror = Mirror("shop", self.visibility, ledger, State(), BEGAN, classify=classify)
        self.auditor = Auditor(self.mirror.store, ledger, self.visibility)

    async def poll(self, at: float) -> None:
        """Poll and audit *at* seconds after the start."""
        now = BEGAN + round(at * SECOND)
        await self.mirror.poll(now)
        await self.catch_up(now)
        await self.auditor.audit(now)
        await self.catch_up(now)

    async def catch_up(self, now: int) -> None:
        """Ingest all gaps."""
        while await self.mirror.catch_up(now):
            pass

    def result(self) -> tuple[int | None, int, int]:
        """Return drift, repaired runs and counted runs."""
        state = self.mirror.state
        counted = sum(histogram.count for histogram in state.closed.values())
        return self.mirror.store.audit_drift, state.counters[names.EXPORTER_AUDIT_REPAIRED_RUNS], counted


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    """Return a new ledger."""
    ledger = Ledger(ledger_url)
    yield ledger
    ledger.close()


async def test_no_drift(ledger: Ledger) -> None:
    """Without missing runs an audit is one count request every half hour, and changes nothing."""
    audited = Audited(ledger)
    await audited.poll(0)
    audited.visibility.put(*(closed(at) for at in (50, 60, 900)))
    for at in range(15, 7500, 15):
        await audited.poll(at)
    assert audited.visibility.requests.count("count") == 3
    assert audited.result() == (0, 0, 3)


async def test_contiguous_slices(ledger: Ledger) -> None:
    """Audited slices are contiguous, however much time passes between polls."""
    audited = Audited(ledger)
    ends = []
    for at in (0, DUE, DUE + 1000, DUE + 4000, DUE + 4001):
        await audited.poll(at)
        ends.append(audited.mirror.state.positions[AUDIT].position if AUDIT in audited.mirror.state.positions else 0)
    first, second = ((BEGAN + at * SECOND - AUDITED_AFTER) // MINUTE * MINUTE for at in (DUE, DUE + 4000))
    assert ends == [0, first, first, second, second]


async def test_repairs(ledger: Ledger) -> None:
    """A run that became visible too late for any sweep is found by the audit and counted, once."""
    audited = Audited(ledger)
    await audited.poll(0)
    audited.visibility.put(closed(200))
    await audited.poll(210)
    await audited.poll(600)
    audited.visibility.put(closed(100, "failed"), closed(150))
    await audited.poll(660)
    assert audited.result() == (None, 0, 1)
    await audited.poll(DUE)
    assert audited.result() == (2, 2, 3)
    await audited.poll(DUE + 1800)
    assert audited.result() == (0, 2, 3)


async def test_pending_runs(ledger: Ledger) -> None:
    """Pending runs are not missing."""
    audited = Audited(ledger, classify=lambda _: None)
    await audited.poll(0)
    audited.visibility.put(closed(100))
    await audited.poll(DUE)
    assert audited.result() == (0, 0, 0)
    assert audited.mirror.state.pending == 1


async def test_deleted(ledger: Ledger) -> None:
    """Runs deleted after they were counted make the drift negative, and stay counted."""
    audited = Audited(ledger)
    await audited.poll(0)
    deleted = closed(100)
    audited.visibility.put(deleted, closed(110))
    await audited.poll(200)
    del audited.visibility.runs[deleted.run_id]
    await audited.poll(DUE)
    assert audited.result() == (-1, 0, 2)


async def test_no_repair_without_ids(ledger: Ledger) -> None:
    """If ids of counted runs have expired, drift is reported without repair, which would count runs twice."""
    audited = Audited(ledger)
    await audited.poll(0)
    audited.visibility.put(closed(50), closed(100))
    await audited.poll(200)
    await audited.poll(500)
    # As after the local clock jumped ahead and back.
    await ledger.transact(retention.expire, "shop", ledger.epoch, BEGAN + 90 * SECOND, BEGAN + 300 * SECOND + KEEP_SEEN)
    audited.visibility.put(closed(60))
    await audited.poll(DUE)
    assert audited.result() == (1, 0, 2)


async def test_failure(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    """A failed audit does not fail the poll, and is retried after ten minutes, not at every poll."""
    audited = Audited(ledger)
    await audited.poll(0)
    for delay in (0, 15, RETRY // SECOND - 1, RETRY // SECOND):
        audited.visibility.requests.clear()
        audited.visibility.errors.extend([None, None, TemporalRequestError("DEADLINE_EXCEEDED", "slow")])
        await audited.poll(DUE + delay)
        audited.visibility.errors.clear()
        assert audited.visibility.requests.count("count") == (delay in (0, RETRY // SECOND))
    assert [record.message for record in caplog.records] == [
        "shop: audit of closed runs failed: DEADLINE_EXCEEDED: slow"
    ] * 2
    await audited.poll(DUE + 2 * RETRY // SECOND)
    assert audited.result() == (0, 0, 0)
