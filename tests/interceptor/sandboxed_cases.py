"""Workflows whose results and times are easily taken wrongly; the sandbox imports this module again."""

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
"""Seconds. How long the local activity takes."""


class Status(StrEnum):
    """Whose members there are once for each import."""

    OK = "ok"
    FAILED = "failed"


@dataclass
class Receipt:
    """What a workflow returns."""

    status: Status


@activity.defn
async def pause() -> None:
    """Take a while."""
    await asyncio.sleep(LOCAL)


@activity.defn
async def declined() -> None:
    """Fail."""
    raise ApplicationError("no", type="CardDeclined")


@workflow.defn
class Charges:
    """Says what it returns."""

    @workflow.run
    async def run(self, status: Status) -> Receipt:
        """Return the status."""
        return Receipt(status)


@workflow.defn
class ChargesSomehow:
    """Does not say what it returns."""

    @workflow.run
    async def run(self, status: Status) -> Any:  # noqa: ANN401 that is the case
        """Return the status."""
        return Receipt(status)


@workflow.defn
class WaitsLocally:
    """Ends in the task in which it has waited for a local activity."""

    @workflow.run
    async def run(self) -> None:
        """Wait."""
        await workflow.execute_local_activity(pause, start_to_close_timeout=LONG)


@workflow.defn
class FailsByItsCard:
    """Fails the first time by an activity whose failure type no policy forgives, but of its own."""

    @workflow.run
    async def run(self) -> str:
        """Fail once."""
        if workflow.info().attempt == 1:
            policy = RetryPolicy(maximum_attempts=1)
            await workflow.execute_activity(declined, start_to_close_timeout=LONG, retry_policy=policy)
        return "paid in cash"


WORKFLOWS = [Charges, ChargesSomehow, WaitsLocally, FailsByItsCard]
ACTIVITIES = [pause, declined]
