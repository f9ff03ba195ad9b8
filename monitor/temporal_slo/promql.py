"""PromQL of SLIs. Rules, dashboards and the check all build their queries here, so that they cannot disagree."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from temporal_slo import names
from temporal_slo.durations import parse_duration
from temporal_slo.names.values import BAD, COMPLETED, FAILED, GOOD, NONE, RESET, RETRIED, TERMINATED, TIMED_OUT, UNKNOWN
from temporal_slo.runs.status_groups import STATUS_GROUPS
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.events import RunEvents, run_events
from temporal_slo.spec.formatting import duration_text, seconds_text
from temporal_slo.spec.model import ActivitySuccess, Latency, Overdue, ScheduleToStart, Success
from temporal_slo.spec.slis import RUN

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


class ClosedRuns(NamedTuple):
    """PromQL for the rates of the closed runs that an SLI counts, by status group, status and outcome.

    Attributes:
        classified: Runs that are classified in the window.
        closed: Runs that closed in the window. Volumes come from the runs seen closed, which nothing delays, and shares
            from those classified: so an error ratio has no bias, however long runs wait for their close event.
        defaults: Status and outcome by status group, for runs of a group of which none was classified: a failure is
            bad, a completed run is good.
    """

    classified: str
    closed: str
    defaults: Mapping[str, tuple[str, str]]


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
    if len(values) == 1:
        return Matcher(label, "!=", values[0])
    return Matcher(label, "!~", "|".join(map(_literal, values)))


def selector(metric: str, *matchers: Matcher) -> str:
    """Return the selector of *metric* with all of *matchers*."""
    return f"{metric}{{{', '.join(map(str, matchers))}}}"


def labels(slo: BoundSlo) -> dict[str, str]:
    """Return the labels of all recorded series and alerts of *slo*."""
    return {
        names.SLO: slo.name,
        names.SERVICE: slo.service,
        names.NAMESPACE: slo.temporal_namespace,
    }


def recorded(slo: BoundSlo, series: str, *matchers: Matcher) -> str:
    """Return the selector of the recorded series *series* of *slo*."""
    return selector(series, *(one_of(label, (value,)) for label, value in labels(slo).items()), *matchers)


@lru_cache
def over(series: str, window: timedelta) -> str:
    """Return the name of the recorded series *series* over *window*."""
    return f"{series}{duration_text(window)}"


def sli_rates(slo: BoundSlo, window: timedelta) -> SliRates:
    """Return PromQL for the rates of the SLI of *slo* over *window*; the results have no labels.

    That of an SLI with `closed_runs` reads their recorded rates.
    """
    build: Mapping[type, Callable[[BoundSlo, timedelta], SliRates]] = {
        Success: _success,
        Latency: _latency,
        Overdue: _overdue,
        ActivitySuccess: _activity_success,
        ScheduleToStart: _schedule_to_start,
    }
    return build[type(slo.sli)](slo, window)


def event_rate(slo: BoundSlo, window: timedelta) -> str:
    """Return PromQL for the rate of all events of *slo* that are classified, without recorded series."""
    if isinstance(slo.sli, Success):
        return _exporter_rate(_classified_events(slo, run_events(slo.sli)), duration_text(window))
    if isinstance(slo.sli, Latency):
        return _exporter_rate(_duration_events(slo, run_events(slo.sli)), duration_text(window))
    return sli_rates(slo, window).events


def closed_runs(slo: BoundSlo, window: timedelta, longer: timedelta | None) -> ClosedRuns | None:
    """Return PromQL for the closed runs that *slo* counts over *window*.

    Args:
        slo: The SLO.
        window: The window.
        longer: The next longer one, which has the shares if no run was classified in *window*; None for the longest.

    Returns:
        None if the SLI needs no volumes: all of its events wait alike, or none do.
    """
    if not isinstance(slo.sli, Success) and not (isinstance(slo.sli, Latency) and slo.sli.failures == BAD):
        return None
    events, runs = run_events(slo.sli), _run_matchers(slo)
    groups = {group: own for group, own in STATUS_GROUPS.items() if set(own) & set(events.statuses)}
    range_ = duration_text(window)
    statuses = one_of(names.STATUS, tuple(status for own in groups.values() for status in own))
    classified = _latest_rate(selector(names.WORKFLOWS_CLOSED.sample, *runs, statuses), range_)
    group = one_of(names.STATUS_GROUP, tuple(groups))
    seen = _latest_rate(selector(names.WORKFLOWS_SEEN_CLOSED.sample, *runs, group), range_)
    by_group = f"by ({names.STATUS_GROUP})"
    measured = recorded(slo, over(names.CLASSIFIED_RATE, window))
    # An exporter of an older version exposes no runs seen closed.
    volume = f"(sum {by_group} ({seen}) or sum {by_group} ({measured}))"
    known = Matcher(names.OUTCOME, "!=", UNKNOWN)
    shares = [_shares(recorded(slo, over(names.CLASSIFIED_RATE, window), known))]
    if longer:
        shares.append(_shares(recorded(slo, over(names.CLOSED_RATE, longer))))
    shares.append(recorded(slo, names.DEFAULT_SHARE))
    return ClosedRuns(
        f"sum by ({names.STATUS_GROUP}, {names.STATUS}, {names.OUTCOME}) ({_with_group(classified, groups)})",
        f"{volume} * on ({names.STATUS_GROUP}) group_right () ({f' or on ({names.STATUS_GROUP}) '.join(shares)})",
        {group: _default(group, own, events) for group, own in groups.items()},
    )


def _shares(rates: str) -> str:
    return f"{rates} / on ({names.STATUS_GROUP}) group_left () (sum by ({names.STATUS_GROUP}) ({rates}) > 0)"


def _with_group(rates: str, groups: Collection[str]) -> str:
    """Return *rates* with the label for the status group."""
    rates = f'label_replace({rates}, "{names.STATUS_GROUP}", "$1", "{names.STATUS}", "(.*)")'
    for group, others in ((FAILED, f"{TIMED_OUT}|{RETRIED}"), (TERMINATED, RESET)):
        if group in groups:
            rates = f'label_replace({rates}, "{names.STATUS_GROUP}", "{group}", "{names.STATUS}", "{others}")'
    return rates


def _default(group: str, statuses: tuple[str, ...], events: RunEvents) -> tuple[str, str]:
    """Return the status and the outcome of runs of *group* of which nothing else is known."""
    of_group = [status for status in events.statuses if status in statuses]
    bad = [status for status in of_group if status in events.bad_statuses]
    return [*bad, *of_group][0], GOOD if group == COMPLETED else NONE


def _success(slo: BoundSlo, window: timedelta) -> SliRates:
    assert isinstance(slo.sli, Success)  # noqa: S101 for the type checker: dispatched on this type
    events = run_events(slo.sli)
    closed = over(names.CLOSED_RATE, window)
    bad = [recorded(slo, closed, one_of(names.STATUS, events.bad_statuses))] if events.bad_statuses else []
    bad += [recorded(slo, closed, one_of(names.OUTCOME, events.bad_outcomes))] if events.bad_outcomes else []
    return SliRates(_closed_events(slo, events, closed), bad=f"sum({' or '.join(bad)})")


def _closed_events(slo: BoundSlo, events: RunEvents, closed: str) -> str:
    """Return PromQL for the rate of events among the closed runs."""
    matchers = one_of(names.STATUS, events.statuses), none_of(names.OUTCOME, events.no_events)
    return f"sum({recorded(slo, closed, *matchers)})"


def _classified_events(slo: BoundSlo, events: RunEvents) -> str:
    matchers = one_of(names.STATUS, events.statuses), none_of(names.OUTCOME, events.no_events)
    return selector(names.WORKFLOWS_CLOSED.sample, *_run_matchers(slo), *matchers)


def _duration_events(slo: BoundSlo, events: RunEvents) -> str:
    matchers = one_of(names.STATUS, events.statuses), none_of(names.OUTCOME, events.no_events)
    return selector(f"{_duration_metric(slo)}_count", *_run_matchers(slo), *matchers)


def _duration_metric(slo: BoundSlo) -> str:
    """Return the histogram of the durations that *slo* measures: of executions, or of runs."""
    by_run = isinstance(slo.sli, Latency) and slo.sli.measure == RUN
    return (names.RUN_DURATION if by_run else names.WORKFLOW_DURATION).name


def _latency(slo: BoundSlo, window: timedelta) -> SliRates:
    assert isinstance(slo.sli, Latency)  # noqa: S101 as above
    events, range_ = run_events(slo.sli), duration_text(window)
    successful = one_of(names.STATUS, (COMPLETED,)), one_of(names.OUTCOME, (GOOD, NONE))
    metric, bound = _duration_metric(slo), bucket_bound(slo.sli.threshold)
    fast = _exporter_rate(selector(f"{metric}_bucket", *_run_matchers(slo), *successful, bound), range_)
    since = selector(names.LATENCY_MEASURED_SINCE.sample, _of_namespace(slo), one_of(names.SLO, (slo.name,)))
    # Runs that closed before the threshold had a bucket cannot be classified.
    recent = f"time() - max({since}) < {seconds_text(parse_duration(range_))}"
    measured = _exporter_rate(selector(f"{metric}_bucket", *_run_matchers(slo), bound), range_)
    if slo.sli.failures != BAD:
        all_events = _exporter_rate(_duration_events(slo, events), range_)
        return SliRates(f"({all_events} unless on () ({recent}))", fast, measured=measured)
    closed = over(names.CLOSED_RATE, window)
    all_events = _closed_events(slo, events, closed)
    count = _exporter_rate(selector(f"{metric}_count", *_run_matchers(slo), *successful), range_)
    # A run that is not classified yet is not known to be slow.
    share = f"({fast} / ({count} > 0) or vector(1))"
    good = f"sum({recorded(slo, closed, *successful)}) * {share}"
    return SliRates(f"({all_events} unless on () ({recent}))", good, measured=measured)


def _overdue(slo: BoundSlo, window: timedelta) -> SliRates:
    matchers = _of_namespace(slo), one_of(names.SLO, (slo.name,))
    events = _exporter_rate(selector(names.OBSERVED_MINUTES.sample, *matchers), duration_text(window))
    return SliRates(
        events, bad=_exporter_rate(selector(names.OVERDUE_MINUTES.sample, *matchers), duration_text(window))
    )


def _activity_success(slo: BoundSlo, window: timedelta) -> SliRates:
    assert isinstance(slo.sli, ActivitySuccess)  # noqa: S101 as above
    matchers = (*_run_matchers(slo), *_activity_matchers(slo.sli.activities))
    metric = names.ACTIVITY_ENDS.sample
    events = _worker_rate(selector(metric, *matchers), duration_text(window))
    errors = _worker_rate(selector(metric, *matchers, one_of(names.OUTCOME, slo.sli.bad)), duration_text(window))
    return SliRates(events, bad=errors)


def _schedule_to_start(slo: BoundSlo, window: timedelta) -> SliRates:
    assert isinstance(slo.sli, ScheduleToStart)  # noqa: S101 as above
    matchers = (*_run_matchers(slo), *_activity_matchers(slo.sli.activities))
    metric = names.ACTIVITY_SCHEDULE_TO_START.name
    events = _worker_rate(selector(f"{metric}_count", *matchers), duration_text(window))
    good = _worker_rate(selector(f"{metric}_bucket", *matchers, bucket_bound(slo.sli.threshold)), duration_text(window))
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
    """Return the rate of all exporter series."""
    return f"sum({_latest_rate(series, window)})"


def _latest_rate(series: str, window: str) -> str:
    """Return the rate of each exporter series: replicas count the same events, so the highest rate is the latest."""
    return f"max without ({REPLICA_LABELS}) (rate({series}[{window}]))"


def _worker_rate(series: str, window: str) -> str:
    """Return the rate of a worker series: each worker counts events of its own."""
    return f"sum(rate({series}[{window}]))"


def _of_namespace(slo: BoundSlo) -> Matcher:
    return one_of(names.NAMESPACE, (slo.temporal_namespace,))


def _run_matchers(slo: BoundSlo) -> tuple[Matcher, ...]:
    # The duration histogram has no label for the task queue.
    queue = (
        (one_of(names.TASK_QUEUE, (slo.task_queue,)),) if slo.task_queue and not isinstance(slo.sli, Latency) else ()
    )
    return (_of_namespace(slo), one_of(names.WORKFLOW_TYPE, slo.workflow_types), *queue)


def _activity_matchers(activities: tuple[str, ...] | None) -> tuple[Matcher, ...]:
    return (one_of(names.ACTIVITY_TYPE, activities),) if activities else ()


def _literal(text: str) -> str:
    # RE2, which Prometheus uses, rejects an escape of a character that needs none.
    return "".join(f"\\{character}" if character in r"\.+*?()|[]{}^$" else character for character in text)
