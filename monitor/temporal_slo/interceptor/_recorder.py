"""Adds to the SDK's metrics: instruments made once, values bounded, errors counted and never raised."""

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

BOUNDED: Final = frozenset({names.WORKFLOW_TYPE, names.TASK_QUEUE, names.ACTIVITY_TYPE, names.FAILURE_TYPE})
"""Labels whose values come from user code."""

NAMED: Final = frozenset({names.WORKFLOW_TYPE, names.ACTIVITY_TYPE})
"""Labels whose values may be known beforehand, from the worker's own registrations, arguments and specs."""


class Recorder:
    """What is recorded in one Temporal namespace.

    Args:
        meter: Of the runtime, not of a workflow: that one would add labels of its own, and count a task again that
            is executed again.
        namespace: The Temporal namespace.
        labels: Added to every metric; valid.
        limit: Distinct values of a label that each metric may have.
        suffix: What the names of counters lack.
        named: Types of workflows and activities that are kept whatever the limit.
    """

    def __init__(
        self,
        meter: MetricMeter,
        namespace: str,
        labels: Mapping[str, str],
        limit: int,
        *,
        suffix: str = "",
        named: Collection[str] = (),
    ) -> None:
        self._suffix = suffix
        self._meter = meter
        self._constant = {**labels, names.NAMESPACE: namespace}
        self._bounded = BoundedValues(limit, always=[NONE], empty=NONE, on_replaced=self._replaced)
        self._named = named
        self._counters: dict[tuple[str, ...], MetricCounter] = {}
        self._histograms: dict[tuple[str, ...], MetricHistogramTimedelta] = {}
        self._logged: set[str] = set()

    def count(self, family: Family, *values: str, by: int = 1) -> None:
        """Add to a counter.

        Args:
            family: Whose counter.
            values: Of its labels after the namespace, in their order.
            by: How much; 0 makes the series exist.
        """
        key = (family.name, *values)
        counter = self._counters.get(key)
        if counter is None:
            final = self._final(family, values)
            plain = self._meter.create_counter(family.name + self._suffix, family.help)
            counter = plain.with_additional_attributes(self._attributes(family, final))
            # A value that was replaced is bounded again next time, to be counted again.
            if final == values:
                self._counters[key] = counter
        counter.add(by)

    def observe(self, family: Family, duration: timedelta, *values: str) -> None:
        """Add a duration to a histogram; a clock that went back makes it 0."""
        key = (family.name, *values)
        histogram = self._histograms.get(key)
        if histogram is None:
            final = self._final(family, values)
            # The SDK appends the unit itself, if it is told to.
            name = family.name.removesuffix("_seconds")
            plain = self._meter.create_histogram_timedelta(name, family.help, "duration")
            histogram = plain.with_additional_attributes(self._attributes(family, final))
            if final == values:
                self._histograms[key] = histogram
        histogram.record(max(duration, timedelta()))

    def info(self, family: Family, *values: str) -> None:
        """Set a gauge of facts to 1."""
        self._meter.create_gauge(family.name, family.help).set(1, self._attributes(family, values))

    def error(self, hook: str, error: Exception) -> None:
        """Count an error of ours, and say it once for each hook; never raises."""
        # If this fails too, nothing is left to tell it to, and user code must not feel it.
        with contextlib.suppress(Exception):
            if hook not in self._logged:
                self._logged.add(hook)
                # Its name alone: the message may hold what a customer wrote.
                log.warning("%s in %s; no workflow or activity is affected; said once", type(error).__name__, hook)
            self.count(names.WORKER_ERRORS, hook)

    def _final(self, family: Family, values: tuple[str, ...]) -> tuple[str, ...]:
        pairs = zip(family.labels[1:], values, strict=True)
        return tuple(self._value(family, label, value) for label, value in pairs)

    def _value(self, family: Family, label: str, value: str) -> str:
        if label not in BOUNDED:
            return value
        if label in NAMED and value in self._named:
            return printable(value) or NONE
        return self._bounded((family.name, label), value)

    def _attributes(self, family: Family, values: tuple[str, ...]) -> dict[str, str]:
        return {**self._constant, **dict(zip(family.labels[1:], values, strict=True))}

    def _replaced(self, key: tuple[str, str]) -> None:
        self.count(names.WORKER_VALUES_OVER_LIMIT, key[1])


class HasRecorder(Protocol):
    """Whose errors are counted."""

    @property
    def recorder(self) -> Recorder:
        """Where."""


def harmless(hook: str) -> Callable[[Callable[Concatenate[S, P], None]], Callable[Concatenate[S, P], None]]:
    """Make a method count its errors under *hook* instead of raising them."""

    def decorate(method: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
        @functools.wraps(method)
        def call(self: S, *args: P.args, **kwargs: P.kwargs) -> None:
            try:
                method(self, *args, **kwargs)
            except Exception as error:  # noqa: BLE001 whatever it is, it must not reach user code
                with contextlib.suppress(Exception):  # where it is counted may be what failed
                    self.recorder.error(hook, error)

        return cast("Callable[Concatenate[S, P], None]", call)

    return decorate
