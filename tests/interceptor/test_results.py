"""Results of sandboxed classes, local activities, and retry policies with non-retryable error types."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.worker import Worker

from temporal_slo import names
from temporal_slo.interceptor import Objective, OutcomeExpression, SLOInterceptor, SLOPlugin

from . import sandboxed_cases as cases
from .conftest import Connect
from .drive import Drive
from .metrics import Metrics

Function = Callable[..., Any]


def worker(client: Client, queue: str) -> Worker:
    """Return a worker with all workflows of `sandboxed_cases`."""
    return Worker(client, task_queue=queue, workflows=cases.WORKFLOWS, activities=cases.ACTIVITIES)


async def connected(connect: Connect, metrics: Metrics, hooks: str, **options: Any) -> Client:  # noqa: ANN401 any of them
    """Return a client with the plugin or with the interceptor alone."""
    if hooks == "plugin":
        return await connect(SLOPlugin(**options))
    return await connect(interceptors=[SLOInterceptor(runtime=metrics.runtime, **options)])


def by_enum(receipt: cases.Receipt) -> str:
    """Compare with a member of the enum that this process has imported."""
    return "bad" if receipt.status is cases.Status.FAILED else "good"


def by_value(receipt: cases.Receipt) -> str:
    """Compare with a plain value."""
    return "bad" if receipt.status == "failed" else "good"


@pytest.mark.parametrize(
    ("hooks", "case", "function"),
    [
        ("plugin", cases.Charges, by_enum),
        ("plugin", cases.ChargesUntyped, by_value),
        ("interceptor", cases.Charges, by_value),
    ],
    ids=["typed", "untyped", "interceptor"],
)
async def test_outcome_functions_get_their_own_classes(
    *, connect: Connect, metrics: Metrics, queue: str, hooks: str, case: type, function: Function
) -> None:
    """A function gets classes of this process if the workflow declares its return type, else those of the sandbox."""
    client = await connected(connect, metrics, hooks, outcomes={case.__name__: function})
    drive = Drive(client, queue)
    async with worker(client, queue):
        for status in (cases.Status.OK, cases.Status.FAILED, cases.Status.FAILED):
            await drive.start(case, status)
        await drive.wait()
    assert {labels[3]: count for labels, count in metrics.ends(queue).items()} == {"good": 1, "bad": 2}


@pytest.mark.parametrize("hooks", ["plugin", "interceptor"])
@pytest.mark.parametrize("given", ["expression", "function"])
async def test_unreadable_result(*, connect: Connect, metrics: Metrics, queue: str, hooks: str, given: str) -> None:
    """A result that cannot be read has outcome unknown and counts as an error; the end still counts."""
    outcome = (
        OutcomeExpression(expression="length(items)", good=["1"]) if given == "expression" else lambda r: r.no_such
    )
    before = metrics.counts(names.WORKER_ERRORS).get(("outcome",), 0)
    client = await connected(connect, metrics, hooks, outcomes={"Charges": outcome})
    drive = Drive(client, queue)
    async with worker(client, queue):
        await drive.start(cases.Charges, cases.Status.OK)
        await drive.wait()
    assert metrics.ends(queue) == {("Charges", "no", "completed", "unknown", "none"): 1}
    assert metrics.counts(names.WORKER_ERRORS)[("outcome",)] == before + 1


async def test_local_activities_count_once_in_latency(connect: Connect, metrics: Metrics, queue: str) -> None:
    """The latency of a workflow that waited for a local activity equals the server's."""
    client = await connect(SLOPlugin())
    drive = Drive(client, queue)
    async with worker(client, queue):
        handle = await drive.start(cases.WaitsLocally)
        await drive.wait()
    ((_, latency),) = metrics.seconds(names.WORKFLOW_LATENCY, queue)
    row = await handle.describe()
    assert row.close_time
    assert latency == pytest.approx((row.close_time - row.start_time).total_seconds(), abs=cases.LOCAL / 2)


@pytest.mark.parametrize("hooks", ["plugin", "interceptor"])
async def test_retry_policy_ignores_causes(connect: Connect, metrics: Metrics, queue: str, hooks: str) -> None:
    """A non-retryable type does not match a cause: the attempt is retried and counts towards no objective."""
    objective = Objective(slo="paid", workflow="FailsByItsActivity", threshold=timedelta(minutes=1))
    policy = RetryPolicy(initial_interval=timedelta(milliseconds=10), non_retryable_error_types=["CardDeclined"])
    client = await connected(connect, metrics, hooks, objectives=[objective])
    drive = Drive(client, queue)
    async with worker(client, queue):
        handle = await drive.start(cases.FailsByItsActivity, retry_policy=policy)
        assert await handle.result() == "paid in cash"
    assert metrics.ends(queue) == {
        ("FailsByItsActivity", "no", "failed", "none", "CardDeclined"): 1,
        ("FailsByItsActivity", "no", "completed", "none", "none"): 1,
    }
    assert metrics.counts(names.WORKFLOW_OBJECTIVE, queue) == {("FailsByItsActivity", "no", "paid"): 1}
    assert metrics.counts(names.WORKFLOW_WITHIN_OBJECTIVE, queue) == {("FailsByItsActivity", "no", "paid"): 1}
