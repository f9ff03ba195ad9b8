"""Label values that are bounded in number and length."""

from collections.abc import Collection, Hashable, Mapping
from typing import Final

from temporal_slo.names.values import OTHER

VALUE_LENGTH: Final = 100


class Bounded:
    """Label values kept few, short and printable, whatever an application names its errors.

    Args:
        limit: Distinct values that each key may have.
        other: Stands for all further ones.
        always: Values that need no place.
        known: The values that each key has already, as a ledger remembers them; they stay, whatever the limit.

    Attributes:
        replaced: How often a value became *other*.
    """

    def __init__(
        self,
        limit: int,
        other: str = OTHER,
        *,
        always: Collection[str] = (),
        known: Mapping[Hashable, Collection[str]] | None = None,
    ) -> None:
        self._limit = limit
        self._other = other
        self._free = {other, *always}
        self._known = {key: set(values) - self._free for key, values in (known or {}).items()}
        self.replaced = 0

    def __call__(self, key: Hashable, value: str) -> str:
        """Return what stands for *value* among the values of *key*."""
        # Bounded first: a value may be as long as a message.
        short = "".join(filter(str.isprintable, value[: 2 * VALUE_LENGTH]))[:VALUE_LENGTH]
        known = self._known.setdefault(key, set())
        if short in known or short in self._free:
            return short
        if short and len(known) < self._limit:
            known.add(short)
            return short
        self.replaced += 1
        return self._other
