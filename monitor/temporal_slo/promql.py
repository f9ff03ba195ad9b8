"""The queries of SLIs: rules, panels and status all ask here, so that they cannot disagree."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NamedTuple

from temporal_slo import names
from temporal_slo.durations import parse_duration
from temporal_slo.names.values import BAD, GOOD, NONE
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.events import BAD_STATUSES, COMPLETED, NON_EVENT_OUTCOMES, NON_EVENT_STATUSES
from temporal_slo.spec.formatting import duration_text, seconds_text
from temporal_slo.spec.model import ActivitySuccess, Latency, Overdue, ScheduleToStart, Success

REPLICA_LABELS: Final = "instance, pod"
"""What differs between exporters that watch the same namespace: they count the same runs."""


LARGE: Final = 7
"""Numbers of so many digits before the point are exposed with an exponent."""


class SliRates(NamedTuple):
    """Rates of an SLI over a window: of all events, and of good or of bad ones.

    Attributes:
        events: Of all events.
        good: Of good ones, or None if bad ones are told.
        bad: Of bad ones, or None if good ones are told.
        measured: What is there if good ones would be; None if events are.
    """

    events: str
    good: str | None = None
    bad: str | None = None
    measured: str | None = None

    def errors(self, events: str | None = None) -> str:
        """Return the rate of bad events: 0 where there are events and none was bad, nothing where nothing is known.

        Args:
            events: What stands for the rate of all events, if it is recorded already.
        """
        known = events or self.events
        if self.bad:
            return f"{self.bad} or 0 * {known}"
        # Where nothing good has a series yet everything is bad, unless nobody measures what is good.
        return f"{known} - ({self.good} or 0 * {self.measured or known})"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition of a selector."""

    label: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.label}{self.operator}{quoted(self.value)}"


def quoted(text: str) -> str:
    """Return *text* as a PromQL string."""
    escaped = text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'


def one_of(label: str, values: tuple[str, ...]) -> Matcher:
    """Return what matches any of *values*, literally."""
    if len(values) == 1:
        return Matcher(label, "=", values[0])
    return Matcher(label, "=~", "|".join(map(_literal, values)))


def none_of(label: str, values: tuple[str, ...]) -> Matcher:
    """Return what matches all but *values*."""
    return Matcher(label, "!~", "|".join(map(_literal, values)))


def selector(metric: str, *matchers: Matcher) -> str:
    """Return the selector of *metric* under all conditions."""
    return f"{metric}{{{', '.join(map(str, matchers))}}}"


def sli_rates(slo: BoundSlo, window: timedelta) -> SliRates:
    """Return the rates of the SLI of *slo* over *window*.

    They have no labels.
    """
    build: Mapping[type, Callable[[BoundSlo, str], SliRates]] = {
        Success: _success,
        Latency: _latency,
        Overdue: _overdue,
        ActivitySuccess: _activity_success,
        ScheduleToStart: _schedule_to_start,
    }
    return build[type(slo.sli)](slo, duration_text(window))


def _success(slo: BoundSlo, window: str) -> SliRates:
    assert isinstance(slo.sli, Success)  # noqa: S101 for the type checker: chosen by this type
    about = _runs(slo)
    event = none_of(names.STATUS, (*NON_EVENT_STATUSES, *slo.sli.excluded)), none_of(names.OUTCOME, NON_EVENT_OUTCOMES)
    statuses = tuple(status for status in slo.sli.bad if status != "bad_outcome")
    good = [none_of(names.STATUS, (*NON_EVENT_STATUSES, *slo.sli.excluded, *statuses))]
    outcomes = (*NON_EVENT_OUTCOMES, BAD) if "bad_outcome" in slo.sli.bad else NON_EVENT_OUTCOMES
    good.append(none_of(names.OUTCOME, outcomes))
    metric = names.WORKFLOWS_CLOSED.sample
    return SliRates(
        _mirrored(selector(metric, *about, *event), window), _mirrored(selector(metric, *about, *good), window)
    )


def _latency(slo: BoundSlo, window: str) -> SliRates:
    assert isinstance(slo.sli, Latency)  # noqa: S101 as above
    # Durations are not told by task queue.
    metric = names.WORKFLOW_DURATION.name
    about = _of_namespace(slo), one_of(names.WORKFLOW_TYPE, slo.workflow_types)
    ended = one_of(names.STATUS, (COMPLETED, *sorted(BAD_STATUSES)))
    events = selector(f"{metric}_count", *about, ended, none_of(names.OUTCOME, NON_EVENT_OUTCOMES))
    good = selector(
        f"{metric}_bucket",
        *about,
        one_of(names.STATUS, (COMPLETED,)),
        one_of(names.OUTCOME, (GOOD, NONE)),
        bucket_bound(slo.sli.threshold),
    )
    since = selector(names.LATENCY_MEASURED_SINCE.sample, _of_namespace(slo), one_of(names.SLO, (slo.name,)))
    # Of runs that closed while the threshold was another nobody knows whether they met it.
    new = f"time() - max({since}) < {seconds_text(parse_duration(window))}"
    measured = selector(f"{metric}_bucket", *about, bucket_bound(slo.sli.threshold))
    return SliRates(
        f"({_mirrored(events, window)} unless on () ({new}))",
        _mirrored(good, window),
        measured=_mirrored(measured, window),
    )


def _overdue(slo: BoundSlo, window: str) -> SliRates:
    about = _of_namespace(slo), one_of(names.SLO, (slo.name,))
    events = _mirrored(selector(names.OBSERVED_MINUTES.sample, *about), window)
    return SliRates(events, bad=_mirrored(selector(names.OVERDUE_MINUTES.sample, *about), window))


def _activity_success(slo: BoundSlo, window: str) -> SliRates:
    assert isinstance(slo.sli, ActivitySuccess)  # noqa: S101 as above
    about = (*_runs(slo), *_activities(slo.sli.activities))
    metric = names.ACTIVITY_ENDS.sample
    events = _worked(selector(metric, *about), window)
    errors = _worked(selector(metric, *about, one_of(names.OUTCOME, slo.sli.bad)), window)
    return SliRates(events, bad=errors)


def _schedule_to_start(slo: BoundSlo, window: str) -> SliRates:
    assert isinstance(slo.sli, ScheduleToStart)  # noqa: S101 as above
    about = (*_runs(slo), *_activities(slo.sli.activities))
    metric = names.ACTIVITY_SCHEDULE_TO_START.name
    events = _worked(selector(f"{metric}_count", *about), window)
    good = _worked(selector(f"{metric}_bucket", *about, bucket_bound(slo.sli.threshold)), window)
    return SliRates(events, good, measured=good)


def bucket_bound(threshold: timedelta) -> Matcher:
    """Return what matches the bucket edge at *threshold*, however its number is written."""
    text = seconds_text(threshold)
    whole = text.partition(".")[0]
    # Prometheus 3 writes whole numbers with a point, Prometheus 2 as they were exposed.
    written = _literal(text) if "." in text else rf"{text}(\.0)?"
    return Matcher("le", "=~", written if len(whole) < LARGE else f"{written}|{_literal(_scientific(text))}")


def _scientific(text: str) -> str:
    """Return a large number as Prometheus and its clients write it."""
    whole, _, rest = text.partition(".")
    digits = (whole + rest).rstrip("0")
    mantissa = f"{digits[0]}.{digits[1:]}".rstrip(".")
    return f"{mantissa}e+{len(whole) - 1:02}"


def _mirrored(selected: str, window: str) -> str:
    """Return the rate of a series of exporters: replicas tell the same, and the one that is ahead is right."""
    return f"sum(max without ({REPLICA_LABELS}) (rate({selected}[{window}])))"


def _worked(selected: str, window: str) -> str:
    """Return the rate of a series of workers: each tells its own share."""
    return f"sum(rate({selected}[{window}]))"


def _of_namespace(slo: BoundSlo) -> Matcher:
    return one_of(names.NAMESPACE, (slo.temporal_namespace,))


def _runs(slo: BoundSlo) -> tuple[Matcher, ...]:
    queue = (one_of(names.TASK_QUEUE, (slo.task_queue,)),) if slo.task_queue else ()
    return (_of_namespace(slo), one_of(names.WORKFLOW_TYPE, slo.workflow_types), *queue)


def _activities(activities: tuple[str, ...] | None) -> tuple[Matcher, ...]:
    return (one_of(names.ACTIVITY_TYPE, activities),) if activities else ()


def _literal(text: str) -> str:
    # Prometheus' expressions are RE2, which knows no escape of a letter that needs none.
    return "".join(f"\\{character}" if character in r"\.+*?()|[]{}^$" else character for character in text)
