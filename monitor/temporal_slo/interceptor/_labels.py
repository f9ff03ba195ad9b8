"""Validation of constant labels."""

import re
from collections.abc import Mapping
from typing import Final

from temporal_slo import names
from temporal_slo.errors import UsageError

_LABEL_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_RESERVED: Final = frozenset(label for family in names.INTERCEPTOR_FAMILIES for label in family.labels) | {
    "instance",
    "job",
    "le",
    "namespace",
    "service_name",
}


def is_text(value: object) -> bool:
    """Return whether *value* is a non-empty string, whatever its annotation says."""
    return isinstance(value, str) and bool(value)


def constant_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return *labels* if they can be added to the library's own labels.

    Raises:
        UsageError: A name is invalid in Prometheus or reserved, or a value is not a non-empty string.
    """
    for name, value in labels.items():
        where = f"labels {name!r}"
        # The SDK would drop the metric and only log a line.
        if not is_text(name) or not _LABEL_NAME.fullmatch(name) or name.startswith("__"):
            raise UsageError(where, "is not a valid label name", "use letters, digits and _, for example team")
        if name in _RESERVED:
            raise UsageError(where, "is a reserved label name", "use another name, for example team")
        if not is_text(value):
            raise UsageError(where, "has no string value", 'write for example {"team": "bookings"}')
    return dict(labels)
