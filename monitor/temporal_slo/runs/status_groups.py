"""Status groups: what is known of a closed run before it is classified, and stays true afterwards."""

from collections.abc import Mapping
from typing import Final

from temporal_slo.names.values import (
    CANCELED,
    COMPLETED,
    CONTINUED_AS_NEW,
    FAILED,
    RESET,
    RETRIED,
    TERMINATED,
    TIMED_OUT,
)

STATUS_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    COMPLETED: (COMPLETED,),
    FAILED: (FAILED, TIMED_OUT, RETRIED),
    TERMINATED: (TERMINATED, RESET),
    CANCELED: (CANCELED,),
    CONTINUED_AS_NEW: (CONTINUED_AS_NEW,),
}
"""The statuses of each group. A close event may change the status of a run, but never its group."""

_GROUP_OF: Final = {status: group for group, statuses in STATUS_GROUPS.items() for status in statuses}


def status_group(status: str) -> str:
    """Return the group of a status, in visibility or classified."""
    return _GROUP_OF[status]
