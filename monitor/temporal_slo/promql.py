"""PromQL of SLIs. Rules, dashboards and the check all build their queries here, so that they cannot disagree."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple

from temporal_slo import names
from temporal_slo.durations import parse_duration
from temporal_slo.names.values import BAD, COMPLETED, GOOD, NONE
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.events import BAD_STATUSES, NON_EVENT_OUTCOMES, NON_EVENT_STATUSES
from temporal_slo.spec.formatting import duration_text, seconds_text
from temporal_slo.spec.model import ActivitySuccess, Latency, Overdue, ScheduleToStart, Success
from temporal_slo.spec.slis import BAD_OUTCOME

REPLICA_LABELS: Final = "instance, pod"
"""Labels that differ between exporter replicas of the same Temporal namespace, which count the same runs."""


EXPONENT_DIGITS: Final = 7
"""Bucket bounds with this many digits before the point are exposed with an exponent."""


class SliRates(NamedTuple):
    """PromQL for the rates of an SLI over a window, in events per second.

    Attributes:
        events: Rate of all events.
        good: Rate of good events; None if the SLI measures bad events.
        bad: Rate of bad events; None if the SLI measures good events.
        measured: Has samples wherever good events would be counted; None if the same holds for `events`.
    """

    events: str
    good: str | None = None
    bad: str | None = None
    measured: str | None = None

    def errors(self, events: str | None = None) -> str:
        """Return PromQL for the rate of bad events: 0 if no event is bad, no data if nothing was measured.

        Args:
            events: PromQL for the rate of all events if it is already recorded.
        """
        total = events or self.events
        if self.bad:
            return f"{self.bad} or 0 * {total}"
        # Without a series of good events every event is bad, unless good events are not measured at all.
        return f"{total} - ({self.good} or 0 * {self.measured or total})"


@dataclass(frozen=True, slots=True)
class Matcher:
    """A label matcher."""

    label: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.label}{self.operator}{quoted(self.value)}"


def quoted(text: str) -> str:
    """Return *text* as a PromQL string literal."""
    escaped = text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'


def one_of(label: str, values: tuple[str, ...]) -> Matcher:
    """Return a matcher for any of *values*, taken literally."""
    if len(values) == 1:
        return Matcher(label, "=", values[0])
    return Matcher(label, "=~", "|".join(map(_literal, values)))


def none_of(label: str, values: tuple[str, ...]) -> Matcher:
    """Return a matcher for every value other than *values*."""
    return Matcher(label, "!~", "|".join(map(_literal, values)))


def selector(metric: str, *matchers: Matcher) -> str:
    """Return the selector of *metric* with all of *matchers*."""
    return f"{metric}{{{', '.join(map(str, matchers))}}}"


def sli_rates(slo: BoundSlo, window: timedelta) -> SliRates:
    """Return PromQL for the rates of the SLI of *slo* over *window*; the results have no labels."""
    build: Mapping[type, Callable[[BoundSlo, str], SliRates]] = {
        Success: _success,
        Latency: _latency,
        Overdue: _overdue,
        ActivitySuccess: _activity_success,
        ScheduleToStart: _schedule_to_start,
    }
    return build[type(slo.sli)](slo, duration_text(window))


def _success(slo: BoundSlo, window: str) -> SliRates:
    assert isinstance(slo.sli, Success)  # noqa: S101 for the type checker: dispatched on this type
    matchers = _run_matchers(slo)
    events = none_of(names.STATUS, (*NON_EVENT_STATUSES, *slo.sli.excluded)), none_of(names.OUTCOME, NON_EVENT_OUTCOMES)
    statuses = tuple(status for status in slo.sli.bad if status != BAD_OUTCOME)
    good = [none_of(names.STATUS, (*NON_EVENT_STATUSES, *slo.sli.excluded, *statuses))]
    outcomes = (*NON_EVENT_OUTCOMES, BAD) if BAD_OUTCOME in slo.sli.bad else NON_EVENT_OUTCOMES
    good.append(none_of(names.OUTCOME, outcomes))
    metric = names.WORKFLOWS_CLOSED.sample
    return SliRates(
        _exporter_rate(selector(metric, *matchers, *events), window),
        _exporter_rate(selector(metric, *matchers, *good), window),
    )


def _latency(slo: BoundSlo, window: str) -> SliRates:
    assert isinstance(slo.sli, Latency)  # noqa: S101 as above
    # The duration histogram has no label for the task queue.
    metric = names.WORKFLOW_DURATION.name
    matchers = _of_namespace(slo), one_of(names.WORKFLOW_TYPE, slo.workflow_types)
    closed = one_of(names.STATUS, (COMPLETED, *sorted(BAD_STATUSES)))
    events = selector(f"{metric}_count", *matchers, closed, none_of(names.OUTCOME, NON_EVENT_OUTCOMES))
    good = selector(
        f"{metric}_bucket",
        *matchers,
        one_of(names.STATUS, (COMPLETED,)),
        one_of(names.OUTCOME, (GOOD, NONE)),
        bucket_bound(slo.sli.threshold),
    )
    since = selector(names.LATENCY_MEASURED_SINCE.sample, _of_namespace(slo), one_of(names.SLO, (slo.name,)))
    # Runs that closed before the threshold had a bucket cannot be classified.
    recent = f"time() - max({since}) < {seconds_text(parse_duration(window))}"
    measured = selector(f"{metric}_bucket", *matchers, bucket_bound(slo.sli.threshold))
    return SliRates(
        f"({_exporter_rate(events, window)} unless on () ({recent}))",
        _exporter_rate(good, window),
        measured=_exporter_rate(measured, window),
    )


def _overdue(slo: BoundSlo, window: str) -> SliRates:
    matchers = _of_namespace(slo), one_of(names.SLO, (slo.name,))
    events = _exporter_rate(selector(names.OBSERVED_MINUTES.sample, *matchers), window)
    return SliRates(events, bad=_exporter_rate(selector(names.OVERDUE_MINUTES.sample, *matchers), window))


def _activity_success(slo: BoundSlo, window: str) -> SliRates:
    assert isinstance(slo.sli, ActivitySuccess)  # noqa: S101 as above
    matchers = (*_run_matchers(slo), *_activity_matchers(slo.sli.activities))
    metric = names.ACTIVITY_ENDS.sample
    events = _worker_rate(selector(metric, *matchers), window)
    errors = _worker_rate(selector(metric, *matchers, one_of(names.OUTCOME, slo.sli.bad)), window)
    return SliRates(events, bad=errors)


def _schedule_to_start(slo: BoundSlo, window: str) -> SliRates:
    assert isinstance(slo.sli, ScheduleToStart)  # noqa: S101 as above
    matchers = (*_run_matchers(slo), *_activity_matchers(slo.sli.activities))
    metric = names.ACTIVITY_SCHEDULE_TO_START.name
    events = _worker_rate(selector(f"{metric}_count", *matchers), window)
    good = _worker_rate(selector(f"{metric}_bucket", *matchers, bucket_bound(slo.sli.threshold)), window)
    return SliRates(events, good, measured=good)


def bucket_bound(threshold: timedelta) -> Matcher:
    """Return a matcher for the bucket bound at *threshold* in every format in which it may be exposed."""
    text = seconds_text(threshold)
    integer = text.partition(".")[0]
    # Prometheus 3 normalises integers to `2.0`, Prometheus 2 keeps them as exposed.
    pattern = _literal(text) if "." in text else rf"{text}(\.0)?"
    return Matcher(
        "le", "=~", pattern if len(integer) < EXPONENT_DIGITS else f"{pattern}|{_literal(_scientific(text))}"
    )


def _scientific(text: str) -> str:
    """Return a large number in the exponent format of Prometheus and its client libraries."""
    integer, _, decimals = text.partition(".")
    digits = (integer + decimals).rstrip("0")
    mantissa = f"{digits[0]}.{digits[1:]}".rstrip(".")
    return f"{mantissa}e+{len(integer) - 1:02}"


def _exporter_rate(series: str, window: str) -> str:
    """Return the rate of an exporter series: replicas count the same events, so the highest rate is the latest."""
    return f"sum(max without ({REPLICA_LABELS}) (rate({series}[{window}])))"


def _worker_rate(series: str, window: str) -> str:
    """Return the rate of a worker series: each worker counts events of its own."""
    return f"sum(rate({series}[{window}]))"


def _of_namespace(slo: BoundSlo) -> Matcher:
    return one_of(names.NAMESPACE, (slo.temporal_namespace,))


def _run_matchers(slo: BoundSlo) -> tuple[Matcher, ...]:
    queue = (one_of(names.TASK_QUEUE, (slo.task_queue,)),) if slo.task_queue else ()
    return (_of_namespace(slo), one_of(names.WORKFLOW_TYPE, slo.workflow_types), *queue)


def _activity_matchers(activities: tuple[str, ...] | None) -> tuple[Matcher, ...]:
    return (one_of(names.ACTIVITY_TYPE, activities),) if activities else ()


def _literal(text: str) -> str:
    # RE2, which Prometheus uses, rejects an escape of a character that needs none.
    return "".join(f"\\{character}" if character in r"\.+*?()|[]{}^$" else character for character in text)
