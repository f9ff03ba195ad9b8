"""Counters are exposed where they begin before they count, so that Prometheus sees the first increment."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from temporal_slo.names.samples import Histogram, Observations, ValueWithExemplar

HOLD: Final = 120.0
"""Seconds after which a series is let go though no scrape has served its zero."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Mark(NamedTuple):
    """A publish and a time."""

    generation: int
    time: float


class _Start(NamedTuple, Generic[V]):
    """Where a series begins: when it was first exposed, and its value then; None for a new one, which begins at 0."""

    first: _Mark
    value: V | None


class StartAtZero(Generic[K, V]):
    """Holds each new series at 0 until the scrapers have read that zero, and each older one where it stood.

    `increase()` takes the first sample of a series as its start: a counter that appears at 1 has not increased, and
    the first failure of a workflow type would never be seen. After a restart a series may have other labels of its
    target, and so be new to Prometheus: what was counted since must come after a sample of what was known before.

    All series that first appear in one publish are let go in one publish: a run's counter and its histogram, given
    to the same `expose`, move together. One that was let go before is not held back for a newer one beside it; where
    that matters, group them under one key with a value of both, and say what the zero of such a value is.

    What it can't do: a scraper is known by the name given to `served`, and only from its first scrape on. Two behind
    one name are one, and the slower of them may miss the zero; so may one that scrapes less often than every `hold`
    seconds, one that never scraped before, and one whose scrape broke off after it was served.

    Not for use by several threads at once.

    Args:
        clock: Seconds, never going back.
        hold: Seconds after which a series is let go in any case; also how long a scraper counts as one after its
            last scrape.
        known: Keys that were let go before, by an earlier process; they begin where they are.
        zero: Returns the zero of a value.

    Attributes:
        generation: Number of the last publish; 0 before the first.
        released: Keys that the last `expose` was the first to show at their value. Store them before publishing:
            after a restart they belong to `known`, and a series that starts at 0 anew would be counted twice.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        hold: float = HOLD,
        *,
        known: Iterable[K] = (),
        zero: Callable[[V], V] | None = None,
    ) -> None:
        self._clock = clock
        self._hold = hold
        self._known = set(known)
        self._going = set[K]()
        self._zero: Callable[[V], V] = zero or zero_of
        # When each was first exposed, and when each last scraped what.
        self._held: dict[K, _Start[V]] = {}
        self._scrapers: dict[str, _Mark] = {}
        self.generation = 0
        self.released: frozenset[K] = frozenset()

    def know(self, keys: Iterable[K]) -> None:
        """Take note of *keys* that were let go before, by an earlier process; they begin where they are."""
        self._known.update(keys)

    def expose(self, values: Mapping[K, V]) -> Mapping[K, V]:
        """Return what to publish of *values*: the same, but the starts of those that are held. Begins a generation.

        A series that is missing from *values* is not forgotten: once let go, it never starts at 0 again.
        """
        now = self._clock()
        self.released = self._release(now)
        self.generation += 1
        for key in values.keys() - self._going - self._held.keys():
            self._held[key] = _Start(_Mark(self.generation, now), values[key] if key in self._known else None)
        held = self._held.keys() & values.keys()
        return {**values, **{key: self._start(key, values[key]) for key in held}} if held else values

    def _start(self, key: K, value: V) -> V:
        start = self._held[key].value
        if start is None:
            return self._zero(value)
        # Where its buckets are others by now there is no such start.
        return start if _alike(start, value) else value

    def served(self, generation: int, scraper: str = "") -> None:
        """Take note that *scraper* was sent the exposition of the publish *generation*, to its end.

        Args:
            generation: As it was after the `expose` that the exposition was made from.
            scraper: Whatever tells scrapers apart, such as the address.
        """
        before = self._scrapers.get(scraper)
        newest = max(generation, before.generation) if before else generation
        self._scrapers[scraper] = _Mark(newest, self._clock())

    def _release(self, now: float) -> frozenset[K]:
        self._scrapers = {name: last for name, last in self._scrapers.items() if now - last.time < self._hold}
        # The slowest scraper decides; without any, only time does.
        seen = min((last.generation for last in self._scrapers.values()), default=0)
        done = [
            key for key, (first, _) in self._held.items() if first.generation <= seen or now - first.time >= self._hold
        ]
        for key in done:
            del self._held[key]
        new = frozenset(done) - self._known
        self._going.update(done)
        self._known.update(new)
        return new


def _alike(start: object, value: object) -> bool:
    if isinstance(start, ValueWithExemplar):
        start = start.value
    if isinstance(value, ValueWithExemplar):
        value = value.value
    if isinstance(start, Histogram) and isinstance(value, Histogram):
        return start.bounds == value.bounds
    if isinstance(start, Observations) and isinstance(value, Observations):
        return len(start.counts) == len(value.counts)
    return isinstance(start, int | float) == isinstance(value, int | float)


def zero_of(value: V) -> V:
    """Return the zero of a number, or a histogram like *value* without observations; it has no exemplar.

    Raises:
        TypeError: It is neither.
    """
    if isinstance(value, ValueWithExemplar):
        # An exemplar that is there before its increment would be of nothing.
        return zero_of(value.value)  # type: ignore[return-value] # where V has exemplars it has plain numbers too
    if isinstance(value, Histogram):
        return value._replace(observed=zero_of(value.observed))
    if isinstance(value, Observations):
        return Observations((0,) * len(value.counts), 0.0)  # type: ignore[return-value] # V is Observations here
    if isinstance(value, int | float):
        return type(value)(0)
    raise TypeError(f"{value!r} is neither a number nor a histogram, so it has no known zero")
