"""Finds the most likely cause of a selector without data, from evidence of Prometheus and Temporal; pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, NamedTuple

from temporal_slo import names
from temporal_slo.check.expected_series import EXPORTER, SERVER, WORKER, exposed_by
from temporal_slo.check.prometheus import Target
from temporal_slo.check.selectors import Selector
from temporal_slo.promql import Matcher

LISTED_MAX: Final = 5
"""Maximum number of values in one message."""

LE: Final = "le"
DEPENDS_ON: Final = "depends on"
_SUFFIXES: Final = r"(?:_(?:total|bucket|count|sum|created|seconds|milliseconds|ms))+$"


class Cause(NamedTuple):
    """Why a selector has no data.

    Attributes:
        kind: Short name of the kind of cause.
        what: What was found instead.
        remedy: How to fix it.
    """

    kind: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.kind}{' ' if self.kind == DEPENDS_ON else ': '}{self.what}; {self.remedy}"


class AwaitsRun(NamedTuple):
    """A selector whose series is expected only with the next run of its workflow type.

    Attributes:
        appears_with: What the series appears with.
    """

    appears_with: str


@dataclass(frozen=True, slots=True)
class UnmetMatcher:
    """A matcher that excludes all series which the other matchers select.

    Attributes:
        matcher: The matcher.
        values: Values of its label in those series; empty text for a series without the label.
        held_by: Labels of those series that satisfy it, and that a scrape may have renamed.
    """

    matcher: Matcher
    values: tuple[str, ...] = ()
    held_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """What Prometheus has in place of a selector without data.

    Attributes:
        selector: The selector.
        metric_exists: Whether the metric has any series.
        similar_metrics: Metrics that differ only in their suffixes, if the metric has no series.
        last_seen: Shortest window in which the selector matched; empty if it never did.
        targets: Scrape targets of the series in that window.
        unmet: Matchers that exclude all series.
        misnamed: Metrics of its workers whose suffixes or units are not those that the rules use.
    """

    selector: Selector
    metric_exists: bool = True
    similar_metrics: tuple[str, ...] = ()
    last_seen: str = ""
    targets: tuple[Target, ...] = ()
    unmet: tuple[UnmetMatcher, ...] = ()
    misnamed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkflowTypeInfo:
    """Runs of a workflow type in Temporal.

    Attributes:
        last_day: Number of runs started in the last day.
        has_runs: Whether there is any run.
        running: Whether its newest run is open.
        task_queue: Task queue of its newest run; empty without runs.
    """

    last_day: int
    has_runs: bool = False
    running: bool = False
    task_queue: str = ""


WorkflowTypes = Mapping[tuple[str, str], WorkflowTypeInfo]
"""By Temporal namespace and workflow type; types that were not queried are missing."""


def base_name(metric: str) -> str:
    """Return *metric* without suffixes of type and unit, in which SDKs and converters differ."""
    return re.sub(_SUFFIXES, "", metric)


def sanitised(value: str) -> str:
    """Return *value* with `_` for all but letters and digits, as the Temporal server and some collectors write it."""
    return re.sub(r"[^A-Za-z0-9_]", "_", value)


def matches(matcher: Matcher, value: str) -> bool:
    """Return whether a label's *value* satisfies *matcher*."""
    equal = value == matcher.value
    if matcher.operator.endswith("~"):
        equal = re.fullmatch(matcher.value, value) is not None
    return equal != matcher.operator.startswith("!")


def likely_cause(evidence: Evidence, types: WorkflowTypes) -> Cause | AwaitsRun:
    """Return the most likely cause."""
    if not evidence.metric_exists and evidence.similar_metrics:
        return _renamed_metric(evidence.selector.metric, evidence.similar_metrics)
    if evidence.misnamed:
        # Even if this series is not expected yet: it will get a wrong name as well.
        return _renamed_metric(str(evidence.selector), evidence.misnamed)
    for unmet in evidence.unmet:
        # Before staleness: a scrape configuration that changed today also makes its series stale.
        if changed := _label_renamed(unmet) or _value_sanitised(unmet):
            return changed
    if evidence.last_seen:
        return _stale(evidence)
    if not evidence.metric_exists:
        return _metric_missing(evidence.selector.metric)
    return _unmet(evidence.unmet[0], evidence.selector, types) if evidence.unmet else _no_combination()


def _renamed_metric(wanted: str, found: Sequence[str]) -> Cause:
    remedies = {
        EXPORTER: "remove the metric relabelling that renames it",
        WORKER: "use prometheus_runtime in workers, or set counters_total_suffix, unit_suffix and durations_as_seconds",
        SERVER: "check the server's metrics framework and version, which determine the name",
    }
    return Cause("renamed metric", f"{wanted} does not exist, found {_listed(found)}", remedies[exposed_by(wanted)])


def _stale(evidence: Evidence) -> Cause:
    seen = f"series seen within the last {evidence.last_seen}"
    down = [target for target in evidence.targets if target.error or not target.up]
    if down:
        errors = (f"{_target(target)} is down ({target.error or 'no error given'})" for target in down[:LISTED_MAX])
        remedy = "start the target, or fix its scrape configuration"
        return Cause("stale", f"{seen}: {'; '.join(errors)}", remedy)
    targets = ", ".join(map(_target, evidence.targets[:LISTED_MAX])) or "a target that no longer exists"
    return Cause("stale", f"{seen}, from {targets}", "verify that this target is scraped and still exposes the series")


def _target(target: Target) -> str:
    return f"job {target.job!r}, instance {target.instance!r}"


def _metric_missing(metric: str) -> Cause:
    if metric == names.EXPORTER_RELOAD_SUCCESSFUL.sample:
        return Cause("metric missing", f"{metric} does not exist", "start the exporter with --spec, and scrape it")
    remedies = {
        EXPORTER: "start the exporter with these specs, and scrape it",
        WORKER: "use SLOPlugin in workers, export their metrics, and scrape them",
        SERVER: "scrape all services of the Temporal server, or skip its alerts with --ignore",
    }
    source = exposed_by(metric)
    what = f"{metric} does not exist: {source} is not scraped, or does not expose it"
    return Cause("metric missing", what, remedies[source])


def _no_combination() -> Cause:
    what = "each label matcher matches some series, but no series matches all of them"
    return Cause("no such combination", what, "compare the matchers with the series of this metric")


def _unmet(unmet: UnmetMatcher, selector: Selector, types: WorkflowTypes) -> Cause | AwaitsRun:
    return _bucket_missing(unmet) or _type_missing(unmet, selector, types) or _label_missing(unmet) or _no_value(unmet)


def _label_renamed(unmet: UnmetMatcher) -> Cause | None:
    if not unmet.held_by:
        return None
    label = unmet.held_by[0]
    what = f"label {label} has the value of {unmet.matcher}"
    if label == f"exported_{unmet.matcher.label}":
        return Cause(
            "exported label",
            f"{what}: the scrape configuration sets a label {unmet.matcher.label}, which takes precedence",
            "set honor_labels: true for this scrape, or remove the label from the target",
        )
    return Cause("renamed label", what, f"relabel {label} to {unmet.matcher.label}, or remove the relabelling")


def _value_sanitised(unmet: UnmetMatcher) -> Cause | None:
    written, matcher = sanitised(unmet.matcher.value), unmet.matcher
    if matcher.operator != "=" or written == matcher.value or written not in unmet.values:
        return None
    return Cause(
        "sanitised value",
        f"{matcher.label} is {written!r} instead of {matcher.value!r}: a collector replaces characters",
        "configure it to leave label values unchanged",
    )


def _bucket_missing(unmet: UnmetMatcher) -> Cause | None:
    if unmet.matcher.label != LE or (wanted := _number(unmet.matcher.value)) is None:
        return None
    bounds = sorted(bound for value in unmet.values if (bound := _number(value)) is not None)
    below = [f"{bound:g}" for bound in bounds if bound < wanted][-1:]
    above = [f"{bound:g}" for bound in bounds if bound > wanted][:1]
    nearest = " and ".join(below + above) or "none"
    return Cause(
        "bucket bound missing",
        f"no bucket bound at {wanted:g} s, nearest: {nearest}",
        "give the exporter or the worker the same specs as this check, and reload or restart it",
    )


def _number(text: str) -> float | None:
    try:
        return float(text.partition("|")[0].replace(r"(\.0)?", "").replace("\\", ""))
    except ValueError:
        return None


def _type_missing(unmet: UnmetMatcher, selector: Selector, types: WorkflowTypes) -> Cause | AwaitsRun | None:
    matcher = unmet.matcher
    if matcher.label != names.WORKFLOW_TYPE or matcher.operator != "=":
        return None
    info = types.get((selector.value(names.NAMESPACE) or "", matcher.value))
    if info and info.has_runs and not info.running:
        return AwaitsRun(f"the next run of {matcher.value!r}: no run in Temporal is newer than the exporter's start")
    if info and info.has_runs:
        what = f"Temporal has an open run of {matcher.value!r}, but no series has this workflow type"
        remedy = "verify that the exporter monitors this Temporal namespace and is up to date"
        return Cause("not monitored", what, remedy)
    no_runs = "; Temporal has no run of it either" if info else ""
    if similar := _similar(matcher.value, unmet.values):
        what = f"no series has {matcher}, similar: {_listed(similar)}{no_runs}"
        return Cause("misspelt", what, "correct the workflow type in the spec")
    what = f"no series has {matcher}{no_runs}; existing values: {_listed(unmet.values)}"
    return Cause("no such type", what, "correct the workflow type in the spec, or wait for its first run")


def _label_missing(unmet: UnmetMatcher) -> Cause | None:
    if unmet.values and any(unmet.values):
        return None
    label = unmet.matcher.label
    return Cause(
        "label missing", f"no series of this metric has a label {label}", f"do not drop {label} by relabelling"
    )


def _no_value(unmet: UnmetMatcher) -> Cause:
    matcher = unmet.matcher
    similar = _similar(matcher.value, unmet.values) if matcher.operator == "=" else ()
    what = f"no series has {matcher}; existing values: {_listed(similar or unmet.values)}"
    if matcher.label == names.NAMESPACE:
        return Cause("no such value", what, "have an exporter monitor this namespace")
    remedy = "correct the spec, or check what exposes this metric"
    return Cause("misspelt" if similar else "no such value", what, remedy)


def _similar(wanted: str, values: Sequence[str]) -> tuple[str, ...]:
    folded = {value.lower(): value for value in values if value}
    return tuple(folded[close] for close in get_close_matches(wanted.lower(), list(folded), LISTED_MAX, 0.75))


def _listed(values: Sequence[str]) -> str:
    listed = ", ".join(repr(value) for value in list(values)[:LISTED_MAX])
    return f"{listed}, and {len(values) - LISTED_MAX} more" if len(values) > LISTED_MAX else listed or "none"


def by_likelihood(matchers: Sequence[Matcher]) -> Iterator[Matcher]:
    """Yield *matchers* in the order in which they are likely to be wrong."""
    first = (names.NAMESPACE, names.WORKFLOW_TYPE, names.TASK_QUEUE, names.ACTIVITY_TYPE, LE)
    yield from sorted(matchers, key=lambda own: first.index(own.label) if own.label in first else len(first))
