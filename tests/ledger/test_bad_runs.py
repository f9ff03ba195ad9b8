"""Bad runs: which runs consume the error budget of an SLO, and how many of them the ledger keeps."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from temporal_slo.exporter.mirror.slo_rules import ClosedRunRule, SloRules
from temporal_slo.ledger import retention
from temporal_slo.ledger.change import Change
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.retention import KEEP_BAD_RUNS, KEEP_DAYS
from temporal_slo.runs.counted import Classification
from temporal_slo.runs.microseconds import HOUR, SECOND
from temporal_slo.spec.events import bad_run_predicate
from temporal_slo.spec.model import Latency, Overdue, Success
from tests.conftest import query
from tests.run_factory import BEGAN, closed

SUCCESS = Success(bad=("failed", "timed_out", "bad_outcome"), excluded=("canceled",))
LATENCY = Latency(threshold=timedelta(seconds=2))
WITH_FAILURES = Latency(threshold=timedelta(seconds=2), failures="bad")


@pytest.mark.parametrize(
    ("status", "outcome", "success", "with_failures"),
    [
        ("completed", "good", False, False),
        ("completed", "none", False, False),
        ("completed", "bad", True, True),
        ("completed", "excluded", False, False),
        ("completed", "unknown", False, False),
        ("failed", "none", True, True),
        ("timed_out", "none", True, True),
        ("terminated", "none", False, False),
        ("canceled", "none", False, False),
        ("retried", "none", False, False),
        ("reset", "none", False, False),
        ("continued_as_new", "none", False, False),
    ],
)
def test_broken(status: str, outcome: str, success: bool, with_failures: bool) -> None:  # noqa: FBT001 - columns of the table
    """Status and outcome decide whether a run consumes the error budget; a run that is not an event never does."""
    for sli, expected in ((SUCCESS, success), (WITH_FAILURES, with_failures), (LATENCY, False)):
        is_bad = bad_run_predicate(sli)
        assert is_bad
        assert is_bad(status, outcome, 2 * SECOND) is expected


@pytest.mark.parametrize(("outcome", "late"), [("good", True), ("none", True), ("excluded", False), ("unknown", False)])
def test_late(outcome: str, late: bool) -> None:  # noqa: FBT001 - a column of the table
    """A run that exceeds the latency threshold by a microsecond is bad, if it is an event."""
    for sli in (LATENCY, WITH_FAILURES):
        is_bad = bad_run_predicate(sli)
        assert is_bad
        assert is_bad("completed", outcome, 2 * SECOND + 1) is late


def test_minutes_have_no_runs() -> None:
    """No closed run is an event of an overdue SLO."""
    assert bad_run_predicate(Overdue(max_age=timedelta(minutes=1))) is None


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A new ledger."""
    ledger = Ledger(ledger_url)
    yield ledger
    ledger.close()


def kept(ledger: str) -> list[tuple[str, int]]:
    """SLO and close time, in seconds after BEGAN, of every bad run in the ledger."""
    rows = query(ledger, "SELECT slo, close_time FROM bad_runs ORDER BY slo, close_time")
    return [(str(slo), (int(str(close)) - BEGAN) // SECOND) for slo, close in rows]


def spending(*moments: int, **changes: object) -> Change:
    """A change that counts failed runs against two SLOs: one for all task queues, one for the queue `rides`."""
    is_bad = bad_run_predicate(SUCCESS)
    assert is_bad
    rules = SloRules(
        closed_runs=(ClosedRunRule("all", ("Ride",), None, is_bad), ClosedRunRule("queue", ("Ride",), "rides", is_bad))
    )
    runs = [closed(at, "failed", **changes) for at in moments]
    return Change(counted=[rules.counted(run, Classification("failed", "none", "Refused")) for run in runs])


async def test_kept(ledger: Ledger, ledger_url: str) -> None:
    """A bad run is stored for each SLO whose error budget it consumes, and for no other."""
    for change in (spending(1), spending(2, task_queue="other"), spending(3, workflow_type="Else")):
        await ledger.commit("shop", change, BEGAN)
    assert kept(ledger_url) == [("all", 1), ("all", 2), ("queue", 1)]


async def test_bounded(ledger: Ledger, ledger_url: str) -> None:
    """The newest bad runs of each SLO are kept, for a limited time."""
    await ledger.commit("shop", spending(*range(KEEP_BAD_RUNS + 7)), BEGAN)
    await ledger.commit("other", spending(1), BEGAN)
    await ledger.transact(retention.expire, "shop", ledger.epoch, BEGAN, BEGAN)
    newest = [*range(7, KEEP_BAD_RUNS + 7)]
    assert kept(ledger_url) == [(slo, at) for slo in ("all", "queue") for at in sorted([1, *newest])]
    await ledger.transact(
        retention.expire, "shop", ledger.epoch, BEGAN, BEGAN + KEEP_DAYS * 24 * HOUR + (KEEP_BAD_RUNS + 6) * SECOND
    )
    assert kept(ledger_url) == [("all", 1), ("all", KEEP_BAD_RUNS + 6), ("queue", 1), ("queue", KEEP_BAD_RUNS + 6)]
