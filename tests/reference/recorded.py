"""Recorded histories: one for each branch of each workflow, as JSON, to replay them with later code.

Record them anew with `python -m tests.reference.record`.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle, WorkflowHistory
from temporalio.worker import Replayer

from temporal_slo.reference.workflows.booking import BookRideWorkflow
from temporal_slo.reference.workflows.fleet import BusServiceWorkflow
from temporal_slo.reference.workflows.schedules import OpenManifestsWorkflow
from temporal_slo.reference.workflows.wallet import WalletTopUpWorkflow

HISTORIES = Path(__file__).parent / "histories"
WORKFLOWS = [BookRideWorkflow, WalletTopUpWorkflow, BusServiceWorkflow, OpenManifestsWorkflow]

OF_THIS_MACHINE = frozenset({"identity", "stackTrace", "workerInstanceKey"})
"""Keys whose values name processes, hosts or files; no replay needs them."""
PROCESS = re.compile(r"\d+@[\w.-]+")
"""Process and host in the names of sticky task queues."""


class Recorder:
    """Checks that a branch has a recorded history; when recording, writes it.

    Args:
        recording: Whether to write the histories.
    """

    def __init__(self, *, recording: bool) -> None:
        self._recording = recording

    async def __call__(self, branch: str, handle: WorkflowHandle[Any, Any]) -> None:
        """Record the history of a run that has taken a branch.

        Args:
            branch: Workflow and branch, for example `booking/declined`.
            handle: The run, which must have closed.
        """
        path = HISTORIES / f"{branch}.json"
        if self._recording:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_text(await handle.fetch_history()))
        assert path.exists(), f"{branch} has no recorded history: run python -m tests.reference.record"


def recorded() -> Iterator[str]:
    """Yield every branch that has a recorded history."""
    for path in sorted(HISTORIES.rglob("*.json")):
        yield path.relative_to(HISTORIES).with_suffix("").as_posix()


async def replay(branch: str, *workflows: type) -> None:
    """Replay the recorded history of a branch.

    Args:
        branch: Workflow and branch.
        workflows: Workflow classes to replay it with; by default those of the application.
    """
    history = WorkflowHistory.from_json(branch, (HISTORIES / f"{branch}.json").read_text())
    await Replayer(workflows=workflows or WORKFLOWS).replay_workflow(history)


def _text(history: WorkflowHistory) -> str:
    """Return a history as JSON, one line for each event."""
    events = _anonymous(history.to_json_dict()["events"])
    return '{"events": [\n' + ",\n".join(map(json.dumps, events)) + "\n]}\n"


def _anonymous(value: Any) -> Any:  # noqa: ANN401 JSON
    if isinstance(value, dict):
        return {key: _anonymous(inner) for key, inner in value.items() if key not in OF_THIS_MACHINE}
    if isinstance(value, list):
        return [_anonymous(inner) for inner in value]
    return PROCESS.sub("worker", value) if isinstance(value, str) else value
