"""The SDK's protocol between core and Python, as far as exact counting reads it; it is not a public API."""

from collections.abc import Mapping
from typing import Final

from google.protobuf.message import Message
from temporalio.bridge.proto.workflow_activation import (
    InitializeWorkflow,
    RemoveFromCache,
    WorkflowActivation,
    WorkflowActivationJob,
)
from temporalio.bridge.proto.workflow_commands import WorkflowCommand
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import WorkflowInstance

from temporal_slo.names.values import CANCELED, COMPLETED, CONTINUED_AS_NEW, FAILED

ENDS: Final = {
    "complete_workflow_execution": COMPLETED,
    "fail_workflow_execution": FAILED,
    "cancel_workflow_execution": CANCELED,
    "continue_as_new_workflow_execution": CONTINUED_AS_NEW,
}
"""The commands that end a run, and the status that it then has."""

SCHEDULES: Final = ("schedule_activity", "schedule_local_activity")

NEEDED: Final[Mapping[type[Message], tuple[str, ...]]] = {
    WorkflowActivation: ("jobs", "is_replaying", "history_length", "timestamp"),
    WorkflowActivationJob: ("initialize_workflow", "query_workflow", "remove_from_cache", "resolve_activity"),
    InitializeWorkflow: ("cron_schedule_to_schedule_interval",),
    WorkflowCommand: (*ENDS, *SCHEDULES),
    WorkflowActivationCompletion: ("successful", "failed"),
    RemoveFromCache: ("reason",),
}
"""The fields that are read, by message."""

ENDING: Final = 10
"""Why a run is evicted: its end was sent, and the server has accepted it."""
NONDETERMINISM: Final = 3
LANG_FAIL: Final = 4
FATAL: Final = 8
REJECTED: Final = frozenset({2, NONDETERMINISM, LANG_FAIL, 6, 7, FATAL, 9})
"""Why a run is evicted whose last task the server has not accepted, or may not have."""


def is_known() -> bool:
    """Return whether this SDK speaks the protocol that is read here."""
    reasons = RemoveFromCache.EvictionReason.items()
    return (
        ("WORKFLOW_EXECUTION_ENDING", ENDING) in reasons
        and hasattr(WorkflowInstance, "activate")
        and all(field in message.DESCRIPTOR.fields_by_name for message, fields in NEEDED.items() for field in fields)
    )
