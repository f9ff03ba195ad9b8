"""Records to the SDK's metrics: cached instruments, bounded label values; errors are counted and never raised."""

import contextlib
import functools
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Concatenate, Final, ParamSpec, Protocol, TypeVar, cast

from temporalio.common import MetricCounter, MetricHistogramTimedelta, MetricMeter

from temporal_slo import names
from temporal_slo.names import Family
from temporal_slo.names.bounded import BoundedValues, printable
from temporal_slo.names.values import NONE

P = ParamSpec("P")
S = TypeVar("S", bound="HasRecorder")

log = logging.getLogger("temporal_slo.interceptor")

BOUNDED_LABELS: Final = frozenset({names.WORKFLOW_TYPE, names.TASK_QUEUE, names.ACTIVITY_TYPE, names.FAILURE_TYPE})
"""Labels whose values come from user code."""

TYPE_LABELS: Final = frozenset({names.WORKFLOW_TYPE, names.ACTIVITY_TYPE})
"""Labels that known types are values of."""


class Recorder:
    """Records the metrics of one Temporal namespace.

    Args:
        meter: The runtime's meter. A workflow's meter would add labels of its own, and would count a workflow task
            again that is executed again.
        namespace: The Temporal namespace.
        labels: Validated labels to add to every metric.
        limit: Maximum number of distinct values per label and metric.
        suffix: Suffix to append to counter names.
        known_types: Workflow and activity types that are exempt from the limit.
    """

    def __init__(
        self,
        meter: MetricMeter,
        namespace: str,
        labels: Mapping[str, str],
        limit: int,
        *,
        suffix: str = "",
        known_types: Collection[str] = (),
    ) -> None:
        self._suffix = suffix
        self._meter = meter
        self._constant = {**labels, names.NAMESPACE: namespace}
        self._bounded = BoundedValues(limit, always=[NONE], empty=NONE, on_replaced=self._count_replacement)
        self._known_types = known_types
        self._counters: dict[tuple[str, ...], MetricCounter] = {}
        self._histograms: dict[tuple[str, ...], MetricHistogramTimedelta] = {}
        self._logged: set[str] = set()

    def count(self, family: Family, *values: str, by: int = 1) -> None:
        """Increase a counter.

        Args:
            family: The counter's family.
            values: Label values without the namespace, in the order of the family's labels.
            by: Increment; 0 creates the series.
        """
        key = (family.name, *values)
        counter = self._counters.get(key)
        if counter is None:
            bounded = self._bound(family, values)
            plain = self._meter.create_counter(family.name + self._suffix, family.help)
            counter = plain.with_additional_attributes(self._attributes(family, bounded))
            # Replaced values are not cached, so that each replacement is counted.
            if bounded == values:
                self._counters[key] = counter
        counter.add(by)

    def observe(self, family: Family, duration: timedelta, *values: str) -> None:
        """Add an observation to a histogram; a negative duration, after a clock was set back, counts as 0."""
        key = (family.name, *values)
        histogram = self._histograms.get(key)
        if histogram is None:
            bounded = self._bound(family, values)
            # The SDK appends the unit if the runtime is configured to.
            name = family.name.removesuffix("_seconds")
            plain = self._meter.create_histogram_timedelta(name, family.help, "duration")
            histogram = plain.with_additional_attributes(self._attributes(family, bounded))
            if bounded == values:
                self._histograms[key] = histogram
        histogram.record(max(duration, timedelta()))

    def info(self, family: Family, *values: str) -> None:
        """Set an info gauge to 1."""
        self._meter.create_gauge(family.name, family.help).set(1, self._attributes(family, values))

    def error(self, hook: str, error: Exception) -> None:
        """Count an error of this library and log it once per hook; never raises."""
        # If this fails too, nothing is left to report it to, and user code must not be affected.
        with contextlib.suppress(Exception):
            if hook not in self._logged:
                self._logged.add(hook)
                # The name of its type alone: the message may hold customer data.
                log.warning(
                    "%s in %s; workflows and activities are not affected; further errors of this hook are only counted",
                    type(error).__name__,
                    hook,
                )
            self.count(names.WORKER_ERRORS, hook)

    def _bound(self, family: Family, values: tuple[str, ...]) -> tuple[str, ...]:
        pairs = zip(family.labels[1:], values, strict=True)
        return tuple(self._bound_value(family, label, value) for label, value in pairs)

    def _bound_value(self, family: Family, label: str, value: str) -> str:
        if label not in BOUNDED_LABELS:
            return value
        if label in TYPE_LABELS and value in self._known_types:
            return printable(value) or NONE
        return self._bounded((family.name, label), value)

    def _attributes(self, family: Family, values: tuple[str, ...]) -> dict[str, str]:
        return {**self._constant, **dict(zip(family.labels[1:], values, strict=True))}

    def _count_replacement(self, key: tuple[str, str]) -> None:
        self.count(names.WORKER_VALUES_OVER_LIMIT, key[1])


class HasRecorder(Protocol):
    """An object whose methods may be decorated with `never_raises`."""

    @property
    def recorder(self) -> Recorder:
        """Recorder that counts the errors."""


def never_raises(hook: str) -> Callable[[Callable[Concatenate[S, P], None]], Callable[Concatenate[S, P], None]]:
    """Make a method count its errors under *hook* instead of raising them."""

    def decorate(method: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
        @functools.wraps(method)
        def call(self: S, *args: P.args, **kwargs: P.kwargs) -> None:
            try:
                method(self, *args, **kwargs)
            except Exception as error:  # noqa: BLE001 no error of this library may reach user code
                with contextlib.suppress(Exception):  # getting the recorder may be what failed
                    self.recorder.error(hook, error)

        return cast("Callable[Concatenate[S, P], None]", call)

    return decorate
