"""Faults that affect every user: which ones are active is read from a file while the worker runs."""

import logging
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from temporal_slo.errors import UsageError

_log = logging.getLogger(__name__)


class Fault(StrEnum):
    """A fault that can be injected, by its name in the file and in `--chaos`."""

    PAYMENTS_DOWN = "payments-down"


def parse(name: str) -> Fault:
    """Return the fault called *name*.

    Raises:
        UsageError: No fault has this name.
    """
    try:
        return Fault(name)
    except ValueError:
        raise UsageError("--chaos", f"unknown fault {name!r}", f"use {', '.join(Fault)}") from None


ActiveFaults = Callable[[], frozenset[Fault]]
"""Returns the faults that are active now."""


def no_faults() -> frozenset[Fault]:
    """Return no faults."""
    return frozenset()


class FaultFile:
    """Active faults, read from a file: names separated by whitespace; a missing or empty file means none.

    Args:
        path: The file; it may be missing, its directory must exist.

    Raises:
        UsageError: The directory does not exist.
    """

    def __init__(self, path: Path) -> None:
        if not path.parent.is_dir():
            raise UsageError("--chaos-file", f"{path.parent} is not a directory", "use a file in an existing directory")
        self._path = path
        self._error = ""

    def __call__(self) -> frozenset[Fault]:
        """Return the faults that the file names now; logs and ignores an unreadable file and unknown names."""
        try:
            words = set(self._path.read_text().split())
        except FileNotFoundError:
            words = set()
        except (OSError, ValueError) as error:
            self._log_change(f"cannot be read: {error}")
            return frozenset()
        unknown = sorted(words - set(Fault))
        self._log_change(f"unknown faults {', '.join(unknown)}; use {', '.join(Fault)}" if unknown else "")
        return frozenset(fault for fault in Fault if fault in words)

    def _log_change(self, error: str) -> None:
        # The file is read at every service call: only a new error is logged.
        if error and error != self._error:
            _log.warning("%s: %s", self._path, error)
        self._error = error
