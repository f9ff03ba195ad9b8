"""Every way in which a workflow ends: the server's status, and what the worker counts."""

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.common import RetryPolicy

from temporal_slo import names
from temporal_slo.interceptor import SLOPlugin

from . import cases
from .conftest import Connect
from .drive import Drive, Handle, case_worker
from .metrics import Metrics


def outcome_of(result: cases.BusinessResult) -> str:
    """Return the outcome of a result; raises for an unknown status."""
    return {"OK": "good", "NO": "bad", "VOID": "excluded"}[result.status]


ENDS = {
    ("Returns", "no", "completed", "none", "none"): 1,
    ("Classified", "no", "completed", "good", "none"): 2,
    ("Classified", "no", "completed", "bad", "none"): 1,
    ("Classified", "no", "completed", "excluded", "none"): 1,
    ("Classified", "no", "completed", "unknown", "none"): 1,
    ("AppError", "no", "failed", "none", "Declined"): 1,
    ("Benign", "no", "failed", "none", "Harmless"): 1,
    ("PythonTimeout", "no", "failed", "none", "CancelledError"): 1,
    ("DeclaredFailure", "no", "failed", "none", "ValueError"): 1,
    ("ActivityFails", "no", "failed", "none", "CardDeclined"): 1,
    ("ActivityTimesOut", "no", "completed", "none", "none"): 1,
    ("LocalActivity", "no", "completed", "none", "none"): 1,
    ("Waits", "no", "canceled", "none", "none"): 1,
    ("WaitsForActivity", "no", "canceled", "none", "none"): 1,
    ("CancelsItself", "no", "failed", "none", "CanceledError"): 1,
    ("Swallows", "no", "completed", "none", "none"): 1,
    ("CleanupFails", "no", "failed", "none", "CancelledError"): 1,
    ("SignalFails", "no", "failed", "none", "BadSignal"): 1,
    ("SignalFailsAndRunReturns", "no", "failed", "none", "BadSignal"): 1,
    ("UpdateFails", "no", "completed", "none", "none"): 1,
    ("Continues", "no", "continued_as_new", "none", "none"): 2,
    ("Continues", "no", "completed", "none", "none"): 1,
    ("Retries", "no", "failed", "none", "NotYet"): 2,
    ("Retries", "no", "completed", "none", "none"): 1,
    ("Child", "yes", "failed", "none", "ChildSaysNo"): 2,
    ("HandlesChild", "no", "completed", "none", "none"): 1,
    ("PassesChildOn", "no", "failed", "none", "ChildSaysNo"): 1,
    ("LeavesChild", "no", "completed", "none", "none"): 1,
    ("Bug", "no", "completed", "none", "none"): 1,
    ("Deadlocks", "no", "completed", "none", "none"): 1,
}
"""By workflow type, child, status, outcome and failure type."""

UNSEEN = {("Waits", "timed_out"): 2, ("Waits", "terminated"): 2}
"""Runs that the server closes by itself: two timeouts, a termination, and a child terminated with its parent."""


async def test_every_end_counts_once(connect: Connect, metrics: Metrics, queue: str) -> None:
    """Each kind of end counts once with the server's status, and nothing else counts."""
    plugin = SLOPlugin(outcomes={"Classified": outcome_of})
    client = await connect(plugin)
    drive = Drive(client, queue)
    errors = metrics.counts(names.WORKER_ERRORS).get(("outcome",), 0)
    async with case_worker(client, queue):
        await _start_all(drive)
        await drive.wait()
        rows = await drive.rows(sum(ENDS.values()) + sum(UNSEEN.values()))
    assert metrics.ends(queue) == ENDS
    seen = metrics.closed(queue)
    assert {key: count - seen[key] for key, count in rows.items() if count != seen[key]} == UNSEEN
    assert metrics.counts(names.WORKFLOW_TASK_FAILURES, queue) == {
        ("Bug", "ValueError"): 1,
        ("Deadlocks", "PotentialDeadlock"): 1,
    }
    assert metrics.counts(names.ACTIVITY_ENDS, queue) == {
        ("ActivityFails", "fail", "failed", "CardDeclined"): 1,
        ("ActivityTimesOut", "hang", "timed_out", "TimeoutError:StartToClose"): 1,
        ("LocalActivity", "echo", "completed", "none"): 1,
        ("WaitsForActivity", "hang", "canceled", "none"): 1,
    }
    # The outcome function raised for one result, which affected nothing else.
    assert metrics.counts(names.WORKER_ERRORS)[("outcome",)] == errors + 1


async def _start_all(drive: Drive) -> None:
    for case in (
        *(cases.Returns, cases.AppError, cases.Benign, cases.PythonTimeout, cases.DeclaredFailure),
        *(cases.ActivityFails, cases.ActivityTimesOut, cases.LocalActivity, cases.CancelsItself),
        *(cases.HandlesChild, cases.PassesChildOn, cases.LeavesChild, cases.Bug, cases.Deadlocks),
    ):
        await drive.start(case)
    for status in ("OK", "OK", "NO", "VOID", "undefined"):
        await drive.start(cases.Classified, status)
    await drive.start(cases.Continues, 2)
    await drive.start(cases.Retries, retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)))
    await drive.start(cases.Waits, run_timeout=timedelta(seconds=1))
    await drive.start(cases.Waits, execution_timeout=timedelta(seconds=1))
    await (await drive.start(cases.Waits)).terminate()
    await asyncio.gather(*(_cancel(drive, case) for case in (cases.Waits, cases.Swallows, cases.CleanupFails)))
    waiting = await drive.start(cases.WaitsForActivity)
    await drive.has(waiting, "activity_task_scheduled")
    await waiting.cancel()
    for signalled in (cases.SignalFails, cases.SignalFailsAndRunReturns):
        await (await drive.start(signalled)).signal("poke")
    await _update(await drive.start(cases.UpdateFails))


async def _cancel(drive: Drive, case: type) -> None:
    handle = await drive.start(case)
    await drive.has(handle, "workflow_task_completed")
    await handle.cancel()


async def _update(handle: Handle) -> None:
    with pytest.raises(WorkflowUpdateFailedError):
        await handle.execute_update("change")
