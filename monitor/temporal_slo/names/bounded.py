"""A limit on the cardinality of a label."""

import threading
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Final, Generic, TypeVar

from temporal_slo.names.values import OTHER

K = TypeVar("K", bound=Hashable)

VALUE_LENGTH: Final = 100


class BoundedValues(Generic[K]):
    """Keeps the values of a label few, short and printable, whatever an application names its types and errors.

    The first values of each key are kept; once a key has reached the limit, every new value becomes `other`.
    May be called from several threads.

    Args:
        limit: Maximum number of distinct values per key.
        always: Values that are kept without counting towards the limit.
        known: Values that each key already has, for example in the ledger; they are kept even above the limit.
        empty: Replaces a value without printable characters; if it is empty, such a value becomes `other`.
        on_replaced: Called with the key each time a value becomes `other`, in the thread of the caller.

    Attributes:
        replaced: Number of times that a value became `other`.
    """

    def __init__(
        self,
        limit: int,
        *,
        always: Collection[str] = (),
        known: Mapping[K, Collection[str]] | None = None,
        empty: str = "",
        on_replaced: Callable[[K], None] | None = None,
    ) -> None:
        self._limit = limit
        self._always = {OTHER, *always}
        self._known = {key: set(values) - self._always for key, values in (known or {}).items()}
        self._empty = empty
        self._on_replaced = on_replaced
        self._lock = threading.Lock()
        self.replaced = 0

    def __call__(self, key: K, value: str) -> str:
        """Return the label value to use for *value* under *key*."""
        short = printable(value) or self._empty
        if short in self._always or (short and self._admits(key, short)):
            return short
        with self._lock:
            self.replaced += 1
        if self._on_replaced:
            self._on_replaced(key)
        return OTHER

    def _admits(self, key: K, value: str) -> bool:
        # Without the lock two threads could both take the last place.
        with self._lock:
            known = self._known.setdefault(key, set())
            if value not in known and len(known) < self._limit:
                known.add(value)
            return value in known


def printable(value: str) -> str:
    """Return *value* without unprintable characters, cut to `VALUE_LENGTH`."""
    # Cut first: the type of an error may be as long as a message.
    return "".join(filter(str.isprintable, value[: 2 * VALUE_LENGTH]))[:VALUE_LENGTH]
