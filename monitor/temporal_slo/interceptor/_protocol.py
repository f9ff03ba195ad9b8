"""The part of the SDK's internal protocol between core and Python that exact counting reads. It is not a public API."""

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

CLOSE_COMMANDS: Final = {
    "complete_workflow_execution": COMPLETED,
    "fail_workflow_execution": FAILED,
    "cancel_workflow_execution": CANCELED,
    "continue_as_new_workflow_execution": CONTINUED_AS_NEW,
}
"""Commands that close a run, with the status that the run then has."""

SCHEDULE_COMMANDS: Final = ("schedule_activity", "schedule_local_activity")

REQUIRED_FIELDS: Final[Mapping[type[Message], tuple[str, ...]]] = {
    WorkflowActivation: ("jobs", "is_replaying", "history_length", "timestamp"),
    WorkflowActivationJob: ("initialize_workflow", "query_workflow", "remove_from_cache", "resolve_activity"),
    InitializeWorkflow: ("cron_schedule_to_schedule_interval",),
    WorkflowCommand: (*CLOSE_COMMANDS, *SCHEDULE_COMMANDS),
    WorkflowActivationCompletion: ("successful", "failed"),
    RemoveFromCache: ("reason",),
}
"""Fields that exact counting reads, by message."""

EXECUTION_ENDING: Final = 10
"""Eviction reason: the server has accepted the command that closes the run."""
NONDETERMINISM: Final = 3
LANG_FAIL: Final = 4
FATAL: Final = 8
REJECTED: Final = frozenset({2, NONDETERMINISM, LANG_FAIL, 6, 7, FATAL, 9})
"""Eviction reasons of a run whose last task the server has not accepted, or may not have accepted."""


def is_supported() -> bool:
    """Return whether the installed SDK has the protocol that exact counting reads."""
    reasons = RemoveFromCache.EvictionReason.items()
    return (
        ("WORKFLOW_EXECUTION_ENDING", EXECUTION_ENDING) in reasons
        and hasattr(WorkflowInstance, "activate")
        and all(set(fields) <= set(message.DESCRIPTOR.fields_by_name) for message, fields in REQUIRED_FIELDS.items())
    )
