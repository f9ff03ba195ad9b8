"""Label names that are valid, and label values that are few."""

import re
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Final

from temporal_slo import names
from temporal_slo.errors import UsageError

OTHER: Final = "other"
"""Stands for every value past the limit."""
NONE: Final = "none"
VALUE_LENGTH: Final = 100
NAMED: Final = frozenset({names.WORKFLOW_TYPE, names.ACTIVITY_TYPE})
"""Labels whose values user code and specs name, and so bound."""

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TAKEN: Final = frozenset(label for family in names.INTERCEPTOR_FAMILIES for label in family.labels) | {
    "instance",
    "job",
    "le",
    "namespace",
    "service_name",
}


class Bounded:
    """Values from user code, kept few, short and printable.

    Args:
        limit: Distinct values that each key may have; all further ones become `other`.
        replaced: Called with the key each time that happens.
        named: Types of workflows and activities that are kept outside of the limit; they may become more.
    """

    def __init__(self, limit: int, replaced: Callable[[tuple[str, str]], None], named: Collection[str] = ()) -> None:
        self._limit = limit
        self._replaced = replaced
        self._named = named
        self._known: dict[tuple[str, str], set[str]] = {}
        self._lock = threading.Lock()

    def __call__(self, key: tuple[str, str], value: str) -> str:
        """Return what stands for *value* among the values of *key*."""
        short = "".join(filter(str.isprintable, value[: 2 * VALUE_LENGTH]))[:VALUE_LENGTH] or NONE
        named = key[1] in NAMED and value in self._named
        if named or short in (NONE, OTHER) or self._admits(key, short):
            return short
        self._replaced(key)
        return OTHER

    def _admits(self, key: tuple[str, str], value: str) -> bool:
        # Activations run in many threads: two of them must not both take the last place.
        with self._lock:
            known = self._known.setdefault(key, set())
            if value not in known and len(known) < self._limit:
                known.add(value)
            return value in known


def is_text(value: object) -> bool:
    """Return whether *value* is a text that is not empty, whatever its type was said to be."""
    return isinstance(value, str) and bool(value)


def constant_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return *labels* if they may stand beside the library's own.

    Raises:
        UsageError: A name is not valid in Prometheus or is taken, or a value is no text.
    """
    for name, value in labels.items():
        where = f"labels {name!r}"
        # The SDK would drop the whole metric, with no more than a line in its log.
        if not is_text(name) or not _NAME.fullmatch(name) or name.startswith("__"):
            raise UsageError(where, "is not a label name", "use letters, digits and _, for example team")
        if name in _TAKEN:
            raise UsageError(where, "is taken", "use another name, for example team")
        if not is_text(value):
            raise UsageError(where, "has no text as its value", 'write for example {"team": "bookings"}')
    return dict(labels)
