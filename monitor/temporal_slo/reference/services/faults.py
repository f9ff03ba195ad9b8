"""What goes wrong for everybody while it is asked for: a file that a running worker looks into says what."""

import logging
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from temporal_slo.errors import UsageError

_log = logging.getLogger(__name__)


class Chaos(StrEnum):
    """The kinds of chaos, as the file names them."""

    PAYMENTS_DOWN = "payments-down"


def parse(kind: str) -> Chaos:
    """Read the name of a kind of chaos.

    Raises:
        UsageError: There is none of that name.
    """
    try:
        return Chaos(kind)
    except ValueError:
        raise UsageError("--chaos", f"there is no chaos {kind!r}", f"use {', '.join(Chaos)}") from None


Reigning = Callable[[], frozenset[Chaos]]
"""Returns the chaos that is in force now."""


def peace() -> frozenset[Chaos]:
    """Return no chaos."""
    return frozenset()


class ChaosFile:
    """Chaos that a file asks for: the kinds, divided by spaces or lines; no file, or an empty one, for none.

    Args:
        path: The file; it need not be there, its folder must.

    Raises:
        UsageError: Its folder is not there.
    """

    def __init__(self, path: Path) -> None:
        if not path.parent.is_dir():
            raise UsageError("--chaos-file", f"{path.parent} is not a folder", "give a file in a folder that is there")
        self._path = path
        self._trouble = ""

    def __call__(self) -> frozenset[Chaos]:
        """Return what the file asks for now. What cannot be read or is unknown asks for nothing, and is logged."""
        try:
            words = set(self._path.read_text().split())
        except FileNotFoundError:
            words = set()
        except (OSError, ValueError) as error:
            self._tell(f"cannot be read: {error}")
            return frozenset()
        unknown = sorted(words - set(Chaos))
        self._tell(f"asks for {', '.join(unknown)}; there is {', '.join(Chaos)}" if unknown else "")
        return frozenset(kind for kind in Chaos if kind in words)

    def _tell(self, trouble: str) -> None:
        # It is read at every call of a service: what is told is what changes.
        if trouble and trouble != self._trouble:
            _log.warning("%s %s", self._path, trouble)
        self._trouble = trouble
