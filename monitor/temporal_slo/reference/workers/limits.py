"""Limits that the workers share."""

from datetime import timedelta
from typing import Final

MAX_CONCURRENT_ACTIVITIES: Final = 10
MAX_CONCURRENT_WORKFLOW_TASKS: Final = 10
DRAIN: Final = timedelta(seconds=30)
"""Time that running activities have to finish when a worker stops; then they are cancelled, and retried elsewhere."""
