"""Label names that are valid, and label values that are few."""

import re
from collections.abc import Mapping
from typing import Final

from temporal_slo import names
from temporal_slo.errors import UsageError

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TAKEN: Final = frozenset(label for family in names.INTERCEPTOR_FAMILIES for label in family.labels) | {
    "instance",
    "job",
    "le",
    "namespace",
    "service_name",
}


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
