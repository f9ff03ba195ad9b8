"""Exposes the initial value of each counter before its first increment, so that Prometheus sees the increment."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

from temporal_slo.exporter.exposition.scrapers import Scraper, Scrapers
from temporal_slo.names.samples import Histogram, Observations, ValueWithExemplar

RELEASE_TIMEOUT: Final = 120.0
"""Seconds after which a series is released although no scrape has received its initial value."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Moment(NamedTuple):
    """A generation, and a time in seconds."""

    generation: int
    time: float


class _Initial(NamedTuple, Generic[V]):
    """When a series was first exposed, and its initial value; None for a new series, which starts at 0."""

    first: _Moment
    value: V | None


class StartAtZero(Generic[K, V]):
    """Exposes each new series at 0 until all scrapers have received the 0. Then the series is released to its value.

    `increase()` takes the first sample of a series as its start: a counter that appears at 1 has not increased, and
    the first failure of a workflow type would never be seen. After a restart the labels of the scrape target may have
    changed, and with them all series: so each series that was released before is first exposed at the value that the
    new process starts with.

    All series that first appear in one generation are released in one generation: a run's counter and its histogram,
    passed to the same `expose`, move together. A series that is already released does not wait for a newer one. Where
    that matters, group them under one key with a value for both, and pass `zero` for such values.

    Limits: a scraper is known from its first scrape on, see `Scrapers`. One that never scraped before may miss the 0.
    So may one that scrapes less often than `timeout`, and one whose connection broke after the response was sent.

    Not thread-safe.

    Args:
        clock: Monotonic seconds.
        timeout: Seconds after which a series is released in any case; a scraper counts for as long after its last
            scrape.
        released_before: Keys that an earlier process released; they start at their value.
        zero: Returns the zero of a value.

    Attributes:
        generation: Number of the last `expose`; 0 before the first.
        released: Keys that the last `expose` exposed at their value for the first time. Store them before publishing:
            after a restart they belong to `released_before`. A series that starts at 0 again is counted twice.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        timeout: float = RELEASE_TIMEOUT,
        *,
        released_before: Iterable[K] = (),
        zero: Callable[[V], V] | None = None,
    ) -> None:
        self._clock = clock
        self._timeout = timeout
        # By any process, and by this one.
        self._ever_released = set(released_before)
        self._released_here = set[K]()
        self._zero: Callable[[V], V] = zero or zero_of
        self._initial: dict[K, _Initial[V]] = {}
        self._scrapers = Scrapers(clock, timeout)
        self.generation = 0
        self.released: frozenset[K] = frozenset()

    def add_released_before(self, keys: Iterable[K]) -> None:
        """Add *keys* that an earlier process released; they start at their value."""
        self._ever_released.update(keys)

    def expose(self, values: Mapping[K, V]) -> Mapping[K, V]:
        """Start a generation; return *values* with initial values for all series that are not released.

        A series that is missing from *values* is not forgotten: once released, it never starts at 0 again.
        """
        now = self._clock()
        self.released = self._release(now)
        self.generation += 1
        for key in values.keys() - self._released_here - self._initial.keys():
            value = values[key] if key in self._ever_released else None
            self._initial[key] = _Initial(_Moment(self.generation, now), value)
        waiting = self._initial.keys() & values.keys()
        return {**values, **{key: self._initial_value(key, values[key]) for key in waiting}} if waiting else values

    def _initial_value(self, key: K, value: V) -> V:
        initial = self._initial[key].value
        if initial is None:
            return self._zero(value)
        # A histogram whose bucket bounds changed has no initial value.
        return initial if _same_shape(initial, value) else value

    def served(self, generation: int, scraper: Scraper) -> None:
        """Record that *scraper* received the complete exposition of *generation*.

        Args:
            generation: `generation` after the `expose` that the exposition was rendered from.
            scraper: Who it was.
        """
        self._scrapers.record(scraper, generation)

    def _release(self, now: float) -> frozenset[K]:
        # The slowest scraper decides; without any, only the timeout.
        received = self._scrapers.received() if self._initial else 0
        releasable = [
            key
            for key, (first, _) in self._initial.items()
            if first.generation <= received or now - first.time >= self._timeout
        ]
        for key in releasable:
            del self._initial[key]
        new = frozenset(releasable) - self._ever_released
        self._released_here.update(releasable)
        self._ever_released.update(new)
        return new


def _same_shape(one: object, other: object) -> bool:
    if isinstance(one, ValueWithExemplar):
        one = one.value
    if isinstance(other, ValueWithExemplar):
        other = other.value
    if isinstance(one, Histogram) and isinstance(other, Histogram):
        return one.bounds == other.bounds
    if isinstance(one, Observations) and isinstance(other, Observations):
        return len(one.counts) == len(other.counts)
    return isinstance(one, int | float) == isinstance(other, int | float)


def zero_of(value: V) -> V:
    """Return the zero of a number, or a histogram like *value* without observations; it has no exemplar.

    Raises:
        TypeError: The value is neither.
    """
    if isinstance(value, ValueWithExemplar):
        # An exemplar belongs to an increment, and there is none yet.
        return zero_of(value.value)  # type: ignore[return-value] # where V has exemplars it has plain numbers too
    if isinstance(value, Histogram):
        return value._replace(observed=zero_of(value.observed))
    if isinstance(value, Observations):
        return Observations((0,) * len(value.counts), 0.0)  # type: ignore[return-value] # V is Observations here
    if isinstance(value, int | float):
        return type(value)(0)
    raise TypeError(f"{value!r} is neither a number nor a histogram, so it has no known zero")
