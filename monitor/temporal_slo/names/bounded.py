"""A limit on the cardinality of a label."""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
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
        always: Values that are kept as they are, without counting towards the limit.
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
        self._always = frozenset({OTHER, *always})
        self._known = {key: set(values) - self._always for key, values in (known or {}).items()}
        self._empty = empty
        self._on_replaced = on_replaced
        self._lock = threading.Lock()
        self.replaced = 0

    def __call__(self, key: K, value: str) -> str:
        """Return the label value to use for *value* under *key*."""
        label = self._admitted(key, value)
        if label is not None:
            return label
        with self._lock:
            self.replaced += 1
        if self._on_replaced:
            self._on_replaced(key)
        return OTHER

    def admit(self, key: K, values: Iterable[str]) -> None:
        """Admit those of *values* for which there is room under *key*, the most frequent ones first."""
        for value, _ in Counter(values).most_common():
            self._admitted(key, value)

    def current(self, key: K, value: str) -> str:
        """Return the label value of *value* under *key* without admitting it; nothing is counted."""
        known = self._known.get(key, ())
        for candidate in (value, printable(value) or self._empty):
            if candidate in self._always or candidate in known:
                return candidate
        return OTHER

    def keep(self, values: Collection[str]) -> None:
        """Always keep *values* from now on; those that were always kept so far keep their places as known ones."""
        with self._lock:
            former, self._always = self._always, frozenset({OTHER, *values})
            for known in self._known.values():
                known.update(former)
                known.difference_update(self._always)

    def _admitted(self, key: K, value: str) -> str | None:
        # Known values first, as they are: those of a ledger or a spec may be longer than those that are admitted.
        label = self.current(key, value)
        if label != OTHER or value == OTHER:
            return label
        short = printable(value) or self._empty
        return short if short and self._admits(key, short) else None

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
