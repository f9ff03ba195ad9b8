"""Workflows that end in every possible way, one type for each."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, ApplicationErrorCategory, CancelledError

SECOND = timedelta(seconds=1)
LONG = timedelta(seconds=30)
ONCE = RetryPolicy(maximum_attempts=1)
QUICK = RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=2)


@dataclass
class BusinessResult:
    status: str


@activity.defn
async def echo(value: int) -> int:
    return value


@activity.defn
async def fail(message: str) -> None:
    raise ApplicationError(message, type="CardDeclined")


@activity.defn
async def hang() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.05)


@activity.defn
async def later() -> None:
    activity.raise_complete_async()


@activity.defn
async def cancels_itself() -> None:
    raise asyncio.CancelledError


@activity.defn
async def outlives() -> None:
    """Run until the workflow has closed, then complete."""
    calls(activity.info().workflow_run_id or "")
    while not activity.is_cancelled() and CALLS.get("released") is None:
        await asyncio.sleep(0.01)


@activity.defn
def double(value: int) -> int:
    return 2 * value


@workflow.defn
class UsesAPool:
    @workflow.run
    async def run(self, value: int) -> int:
        return await workflow.execute_activity(double, value, start_to_close_timeout=LONG, retry_policy=ONCE)


@workflow.defn
class NoSuchActivity:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity("nobody", start_to_close_timeout=LONG, retry_policy=ONCE)


@workflow.defn
class BadArgument:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity("echo", {"no": "number"}, start_to_close_timeout=LONG, retry_policy=ONCE)


@workflow.defn
class ActivityCancelsItself:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(cancels_itself, start_to_close_timeout=LONG, retry_policy=ONCE)


@workflow.defn
class FiresAndForgets:
    def __init__(self) -> None:
        self.poked = False

    @workflow.run
    async def run(self) -> str:
        workflow.start_activity(outlives, start_to_close_timeout=LONG, retry_policy=ONCE)
        await workflow.wait_condition(lambda: self.poked)
        return "gone"

    @workflow.signal
    async def poke(self) -> None:
        self.poked = True


@workflow.defn
class RejectsUpdates:
    def __init__(self) -> None:
        self.done = False

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.done)
        return "done"

    @workflow.update
    async def change(self, value: int) -> None:
        self.done = value > 0

    @change.validator
    def reject(self, value: int) -> None:
        if value < 0:
            raise ValueError("below zero")


@workflow.defn
class Returns:
    @workflow.run
    async def run(self) -> str:
        return "done"


@workflow.defn
class Classified:
    @workflow.run
    async def run(self, status: str) -> BusinessResult:
        return BusinessResult(status)


@workflow.defn
class AppError:
    @workflow.run
    async def run(self) -> None:
        raise ApplicationError("no 4711", type="Declined")


@workflow.defn
class Benign:
    @workflow.run
    async def run(self) -> None:
        raise ApplicationError("no", type="Harmless", category=ApplicationErrorCategory.BENIGN)


@workflow.defn
class PythonTimeout:
    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False, timeout=0.01)


@workflow.defn(failure_exception_types=[ValueError])
class DeclaredFailure:
    @workflow.run
    async def run(self) -> None:
        raise ValueError("declared")


@workflow.defn
class ActivityFails:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(fail, "no", start_to_close_timeout=LONG, retry_policy=QUICK)


@workflow.defn
class CardFails:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(fail, "no", start_to_close_timeout=LONG, retry_policy=ONCE)


@workflow.defn
class CompletedElsewhere:
    @workflow.run
    async def run(self) -> str:
        with suppress(ActivityError):
            await workflow.execute_activity(later, start_to_close_timeout=SECOND, retry_policy=ONCE)
        return "done"


@workflow.defn
class FailsAs:
    @workflow.run
    async def run(self, name: str) -> None:
        raise ApplicationError("no", type=name)


@workflow.defn
class Three:
    @workflow.run
    async def run(self) -> int:
        # A short timeout: a stopping worker may have polled an activity that it never starts.
        values = [await workflow.execute_activity(echo, i, start_to_close_timeout=SECOND) for i in range(3)]
        return sum(values)


@workflow.defn
class ActivityTimesOut:
    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.execute_activity(
                hang, start_to_close_timeout=timedelta(seconds=0.5), heartbeat_timeout=LONG, retry_policy=ONCE
            )
        except ActivityError:
            return "handled"
        return "never"


@workflow.defn
class LocalActivity:
    @workflow.run
    async def run(self) -> int:
        return await workflow.execute_local_activity(echo, 3, start_to_close_timeout=LONG)


@workflow.defn
class Waits:
    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def alive(self) -> bool:
        return True


@workflow.defn
class WaitsForActivity:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            hang,
            start_to_close_timeout=LONG,
            heartbeat_timeout=SECOND,  # a cancellation is delivered by a heartbeat, at most this often
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )


@workflow.defn
class CancelsItself:
    @workflow.run
    async def run(self) -> None:
        raise CancelledError("nobody asked")


@workflow.defn
class Swallows:
    @workflow.run
    async def run(self) -> str:
        with suppress(asyncio.CancelledError):
            await workflow.wait_condition(lambda: False)
        return "never mind"


@workflow.defn
class CleanupFails:
    @workflow.run
    async def run(self) -> None:
        try:
            await workflow.wait_condition(lambda: False)
        finally:
            raise ApplicationError("no", type="CleanupFailed")


@workflow.defn
class SignalFails:
    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    async def poke(self) -> None:
        raise ApplicationError("no", type="BadSignal")


@workflow.defn
class SignalFailsAndRunReturns:
    def __init__(self) -> None:
        self.poked = False

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.poked)
        return "too late"

    @workflow.signal
    async def poke(self) -> None:
        self.poked = True
        raise ApplicationError("no", type="BadSignal")


@workflow.defn
class UpdateFails:
    def __init__(self) -> None:
        self.calls = 0

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.calls > 0)
        return "done"

    @workflow.update
    async def change(self) -> None:
        self.calls += 1
        raise ApplicationError("no", type="BadUpdate")


@workflow.defn
class Continues:
    @workflow.run
    async def run(self, left: int) -> str:
        if left:
            workflow.continue_as_new(left - 1)
        return "done"


@workflow.defn
class Slow:
    """Takes about a second in each run."""

    @workflow.run
    async def run(self, left: int) -> str:
        await workflow.sleep(1)
        if left:
            workflow.upsert_memo({"mine": left})
            workflow.continue_as_new(left - 1)
        return str(workflow.memo_value("mine", None))


@workflow.defn
class Retries:
    @workflow.run
    async def run(self) -> str:
        if workflow.info().attempt < 3:
            raise ApplicationError("again", type="NotYet")
        return "done"


@workflow.defn
class Child:
    @workflow.run
    async def run(self) -> None:
        raise ApplicationError("no", type="ChildSaysNo")


@workflow.defn
class HandlesChild:
    @workflow.run
    async def run(self) -> str:
        try:
            await workflow.execute_child_workflow(Child.run)
        except Exception:  # noqa: BLE001 any failure of the child
            return "handled"
        return "never"


@workflow.defn
class PassesChildOn:
    @workflow.run
    async def run(self) -> None:
        await workflow.execute_child_workflow(Child.run)


@workflow.defn
class LeavesChild:
    @workflow.run
    async def run(self) -> str:
        await workflow.start_child_workflow(Waits.run)
        return "gone"


CALLS: dict[str, int] = {}


def calls(key: str) -> int:
    CALLS[key] = CALLS.get(key, 0) + 1
    return CALLS[key]


@workflow.defn(sandboxed=False)
class Bug:
    @workflow.run
    async def run(self) -> str:
        if calls(workflow.info().run_id) == 1:
            raise ValueError("a bug")
        return "fixed"


@workflow.defn(sandboxed=False)
class Unserializable:
    @workflow.run
    async def run(self) -> Any:  # noqa: ANN401 a type that accepts every result
        await workflow.execute_activity(echo, 1, start_to_close_timeout=LONG)
        return object() if calls(workflow.info().run_id) == 1 else "fixed"


@workflow.defn(sandboxed=False)
class TooLarge:
    @workflow.run
    async def run(self) -> str:
        await workflow.execute_activity(echo, 1, start_to_close_timeout=LONG)
        return "x" * (3_000_000 if calls(workflow.info().run_id) == 1 else 10)


@workflow.defn(sandboxed=False)
class TaskTimesOut:
    @workflow.run
    async def run(self) -> str:
        await workflow.execute_activity(echo, 1, start_to_close_timeout=LONG)
        if calls(workflow.info().run_id) == 1:
            time.sleep(1.6)
        return "done"


@workflow.defn(sandboxed=False)
class Superseded:
    @workflow.run
    async def run(self) -> str:
        await workflow.execute_activity(echo, 1, start_to_close_timeout=LONG)
        if calls(workflow.info().workflow_id) == 1:
            time.sleep(1)
        return "done"

    @workflow.signal
    async def poke(self) -> None:
        pass


@workflow.defn(sandboxed=False)
class Unacknowledged:
    @workflow.run
    async def run(self) -> str:
        await workflow.execute_activity(echo, 1, start_to_close_timeout=LONG)
        for callback in ON_LAST_TASK:
            callback()
        return "done"


ON_LAST_TASK: list[Callable[[], None]] = []


@workflow.defn(sandboxed=False)
class Deadlocks:
    @workflow.run
    async def run(self) -> str:
        if calls(workflow.info().run_id) == 1:
            time.sleep(2.5)
        return "done"


@workflow.defn(sandboxed=False, failure_exception_types=[workflow.NondeterminismError])
class ForgetsItsTimer:
    """Fails on replay: the second execution starts no timer."""

    @workflow.run
    async def run(self) -> str:
        if calls(workflow.info().run_id) == 1:
            await workflow.sleep(3600)
        await workflow.execute_activity(echo, 1, start_to_close_timeout=LONG)
        return "never"

    @workflow.signal
    async def poke(self) -> None:
        pass


@workflow.defn
class Steps:
    def __init__(self) -> None:
        self.go = 0

    @workflow.run
    async def run(self) -> int:
        total = 0
        for step in (1, 2):
            await workflow.wait_condition(lambda step=step: self.go >= step)  # type: ignore[misc]
            total += await workflow.execute_activity(echo, step, start_to_close_timeout=LONG)
        return total

    @workflow.signal
    async def step(self) -> None:
        self.go += 1


ACTIVITIES: list[Callable[..., Any]] = [echo, fail, hang, later]
