"""Workflows with results of sandboxed classes and with unusual times; the sandbox imports this module again."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

LONG = timedelta(seconds=30)
LOCAL = 0.6
"""Duration of the local activity in seconds."""


class Status(StrEnum):
    """An enum whose members differ between imports of this module."""

    OK = "ok"
    FAILED = "failed"


@dataclass
class Receipt:
    """Result of a workflow."""

    status: Status


@activity.defn
async def pause() -> None:
    """Take `LOCAL` seconds."""
    await asyncio.sleep(LOCAL)


@activity.defn
async def declined() -> None:
    """Fail."""
    raise ApplicationError("no", type="CardDeclined")


@workflow.defn
class Charges:
    """Declares its return type."""

    @workflow.run
    async def run(self, status: Status) -> Receipt:
        """Return the status."""
        return Receipt(status)


@workflow.defn
class ChargesUntyped:
    """Declares no return type."""

    @workflow.run
    async def run(self, status: Status) -> Any:  # noqa: ANN401 the subject of the case
        """Return the status."""
        return Receipt(status)


@workflow.defn
class WaitsLocally:
    """Waits for a local activity and ends in the same workflow task."""

    @workflow.run
    async def run(self) -> None:
        """Wait for the local activity."""
        await workflow.execute_local_activity(pause, start_to_close_timeout=LONG)


@workflow.defn
class FailsByItsActivity:
    """Fails once, because of an activity whose failure type is non-retryable for the workflow's retry policy."""

    @workflow.run
    async def run(self) -> str:
        """Fail in the first attempt."""
        if workflow.info().attempt == 1:
            policy = RetryPolicy(maximum_attempts=1)
            await workflow.execute_activity(declined, start_to_close_timeout=LONG, retry_policy=policy)
        return "paid in cash"


WORKFLOWS = [Charges, ChargesUntyped, WaitsLocally, FailsByItsActivity]
ACTIVITIES = [pause, declined]
