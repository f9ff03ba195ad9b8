"""Start time of a continue-as-new chain, passed from run to run in a header and in the memo.

Neither changes the commands of a workflow, so histories with and without them replay alike.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.worker import ContinueAsNewInput

CHAIN_START: Final = "temporal_slo_chain_start"
"""Name of the header and of the memo field that hold the start time of the chain's first run."""


def chain_start(info: workflow.Info, delay: timedelta = timedelta()) -> datetime:
    """Return the start time of the workflow that a run belongs to, across continue-as-new.

    Args:
        info: The run's info.
        delay: Start delay of the run.
    """
    # A cron run or a retry waits on purpose before its first task, whose time is the only one that shows for how long.
    own = info.start_time if info.cron_schedule or info.attempt > 1 else info.workflow_start_time
    if delay and own != info.start_time:
        # A signal ends the delay early: the start is never later than the first task.
        own = min(own + delay, info.start_time)
    inherited = info.headers.get(CHAIN_START)
    # The runs of a cron schedule copy each other's headers, but each is measured separately.
    if inherited is None or info.cron_schedule:
        return own
    return min(own, datetime.fromisoformat(json.loads(inherited.data)).astimezone(UTC))


def pass_on_start(start: datetime, info: workflow.Info, input: ContinueAsNewInput) -> None:  # noqa: A002 the SDK's name
    """Pass the start time of the workflow to the next run.

    Args:
        start: Start time of the chain's first run.
        info: Info of the run that continues as new.
        input: Input of the next run; its headers and memo are changed.
    """
    # Encoded by hand: a user's converter may refuse plain text.
    payload = Payload(metadata={"encoding": b"json/plain"}, data=json.dumps(start.isoformat()).encode())
    input.headers = {**input.headers, CHAIN_START: payload}
    # A memo in the input replaces the current memo, which would otherwise be carried over.
    memo = input.memo or {key: RawValue(value) for key, value in info.raw_memo.items()}
    memo = {**memo, CHAIN_START: RawValue(payload)}
    # Tried here, where an error is counted. Later, a converter that cannot encode the memo would fail this workflow
    # task, and one that cannot decode it would fail the next run when that reads its memo.
    converter = workflow.payload_converter()
    converter.to_payloads(list(memo.values()))
    converter.from_payload(payload)
    input.memo = memo
