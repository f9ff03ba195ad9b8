"""Results of the sandbox's own classes, local activities, and policies that name causes."""

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

Given = Callable[..., Any]


def worker(client: Client, queue: str) -> Worker:
    """Return a worker of these cases."""
    return Worker(client, task_queue=queue, workflows=cases.WORKFLOWS, activities=cases.ACTIVITIES)


async def connected(connect: Connect, metrics: Metrics, way: str, **options: Any) -> Client:  # noqa: ANN401 any of them
    """Return a client with the plugin, or with the interceptor alone."""
    if way == "plugin":
        return await connect(SLOPlugin(**options))
    return await connect(interceptors=[SLOInterceptor(runtime=metrics.runtime, **options)])


def by_enum(receipt: cases.Receipt) -> str:
    """Compare a member of an enum with one of the module that the test has imported."""
    return "bad" if receipt.status is cases.Status.FAILED else "good"


def by_value(receipt: cases.Receipt) -> str:
    """Compare a plain value."""
    return "bad" if receipt.status == "failed" else "good"


@pytest.mark.parametrize(
    ("way", "case", "judge"),
    [
        ("plugin", cases.Charges, by_enum),
        ("plugin", cases.ChargesSomehow, by_value),
        ("interceptor", cases.Charges, by_value),
    ],
    ids=["typed", "untyped", "interceptor"],
)
async def test_outcome_functions_see_what_they_compare_with(
    *, connect: Connect, metrics: Metrics, queue: str, way: str, case: type, judge: Given
) -> None:
    """A function gets objects of the classes that it knows, where a workflow says what it returns; else plain ones."""
    client = await connected(connect, metrics, way, outcomes={case.__name__: judge})
    drive = Drive(client, queue)
    async with worker(client, queue):
        for status in (cases.Status.OK, cases.Status.FAILED, cases.Status.FAILED):
            await drive.start(case, status)
        await drive.ended()
    assert {labels[3]: count for labels, count in metrics.ends(queue).items()} == {"good": 1, "bad": 2}


@pytest.mark.parametrize("way", ["plugin", "interceptor"])
@pytest.mark.parametrize("given", ["expression", "function"])
async def test_unreadable_result_keeps_its_end(
    *, connect: Connect, metrics: Metrics, queue: str, way: str, given: str
) -> None:
    """An outcome that cannot be read is unknown, and an error; the end counts."""
    outcome = (
        OutcomeExpression(expression="length(items)", good=["1"]) if given == "expression" else lambda r: r.no_such
    )
    before = metrics.counts(names.WORKER_ERRORS).get(("outcome",), 0)
    client = await connected(connect, metrics, way, outcomes={"Charges": outcome})
    drive = Drive(client, queue)
    async with worker(client, queue):
        await drive.start(cases.Charges, cases.Status.OK)
        await drive.ended()
    assert metrics.ends(queue) == {("Charges", "no", "completed", "unknown", "none"): 1}
    assert metrics.counts(names.WORKER_ERRORS)[("outcome",)] == before + 1


async def test_local_activities_take_their_time_once(connect: Connect, metrics: Metrics, queue: str) -> None:
    """The latency of a workflow that has waited for a local activity is what the server says."""
    client = await connect(SLOPlugin())
    drive = Drive(client, queue)
    async with worker(client, queue):
        handle = await drive.start(cases.WaitsLocally)
        await drive.ended()
    ((_, latency),) = metrics.seconds(names.WORKFLOW_LATENCY, queue)
    row = await handle.describe()
    assert row.close_time
    assert latency == pytest.approx((row.close_time - row.start_time).total_seconds(), abs=cases.LOCAL / 2)


@pytest.mark.parametrize("way", ["plugin", "interceptor"])
async def test_policies_name_no_causes(connect: Connect, metrics: Metrics, queue: str, way: str) -> None:
    """A failure by an activity is retried whatever the activity failed with, and so is no event of an objective."""
    promised = Objective(slo="paid", workflow="FailsByItsCard", threshold=timedelta(minutes=1))
    policy = RetryPolicy(initial_interval=timedelta(milliseconds=10), non_retryable_error_types=["CardDeclined"])
    client = await connected(connect, metrics, way, objectives=[promised])
    drive = Drive(client, queue)
    async with worker(client, queue):
        handle = await drive.start(cases.FailsByItsCard, retry_policy=policy)
        assert await handle.result() == "paid in cash"
    assert metrics.ends(queue) == {
        ("FailsByItsCard", "no", "failed", "none", "CardDeclined"): 1,
        ("FailsByItsCard", "no", "completed", "none", "none"): 1,
    }
    assert metrics.counts(names.WORKFLOW_OBJECTIVE, queue) == {("FailsByItsCard", "no", "paid"): 1}
    assert metrics.counts(names.WORKFLOW_WITHIN_OBJECTIVE, queue) == {("FailsByItsCard", "no", "paid"): 1}
