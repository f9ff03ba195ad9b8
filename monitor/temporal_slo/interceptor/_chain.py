"""When a workflow began, over all runs that it continued as: handed on by header and memo, which no history notices."""

import json
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.worker import ContinueAsNewInput

CHAIN_START: Final = "temporal_slo_chain_start"
"""The header, and the memo, that tells a run when the first run of its chain began."""


def began(info: workflow.Info, delay: timedelta = timedelta()) -> datetime:
    """Return when the workflow began that the run of *info* belongs to.

    Args:
        info: Of the run.
        delay: After which it was to begin.
    """
    # A run by schedule, or after a failed attempt, waited on purpose; only its first task tells until when.
    own = info.start_time if info.cron_schedule or info.attempt > 1 else info.workflow_start_time
    if delay and own != info.start_time:
        # The API says that a signal ends the delay: never later than the first task.
        own = min(own + delay, info.start_time)
    handed_on = info.headers.get(CHAIN_START)
    # The runs of a cron schedule copy each other's headers, but each is on its own.
    if handed_on is None or info.cron_schedule:
        return own
    return min(own, datetime.fromisoformat(json.loads(handed_on.data)).astimezone(UTC))


def hand_on(began: datetime, info: workflow.Info, input: ContinueAsNewInput) -> None:  # noqa: A002 the SDK's name
    """Tell the next run when the workflow began.

    Args:
        began: When.
        info: Of the run that continues as new.
        input: What it continues with; changed.
    """
    # Made by hand, for a converter of the user may refuse a text.
    payload = Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(began.isoformat()).encode())
    input.headers = {**input.headers, CHAIN_START: payload}
    # A memo that is given replaces the one there is, which would else be carried over.
    memo = input.memo or {key: RawValue(value) for key, value in info.raw_memo.items()}
    memo = {**memo, CHAIN_START: RawValue(payload)}
    # Asked now: a converter that cannot write it would fail the workflow task later, and one that cannot read it the
    # next run, as soon as that looks at its memo.
    converter = workflow.payload_converter()
    converter.to_payloads(list(memo.values()))
    converter.from_payload(payload)
    input.memo = memo
