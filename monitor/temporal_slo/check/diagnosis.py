"""Why a selector matches nothing, from what Prometheus and Temporal have told; pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, NamedTuple

from temporal_slo import names
from temporal_slo.check.expected_series import teller
from temporal_slo.check.prometheus import Target
from temporal_slo.check.selectors import Selector
from temporal_slo.promql import Matcher

SHOWN: Final = 5
"""Values that a cause names at most."""

LE: Final = "le"
_ENDINGS: Final = r"(?:_(?:total|bucket|count|sum|created|seconds|milliseconds|ms))+$"


class Cause(NamedTuple):
    """Why a selector is dead.

    Attributes:
        kind: A word for each kind of cause.
        what: What is there instead.
        remedy: What to do about it.
    """

    kind: str
    what: str
    remedy: str


class Idle(NamedTuple):
    """A selector that is not dead: its series appear with the next run of its workflow type."""

    what: str


@dataclass(frozen=True, slots=True)
class Suspect:
    """A condition that nothing fulfils among the series which fulfil all others.

    Attributes:
        matcher: The condition.
        values: What its label is there; the empty text where a series has no such label.
        held_by: Labels of those series that have what is wanted, and are what a scrape makes of such a label.
    """

    matcher: Matcher
    values: tuple[str, ...] = ()
    held_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What Prometheus tells of a selector that matches nothing.

    Attributes:
        selector: What is selected.
        present: Whether the metric has series at all.
        relatives: Metrics that are named alike, if it has none.
        seen: In which window up to now it still matched; empty if in none.
        targets: What was scraped for it then; `error` is set where it is gone.
        suspects: Conditions that are not fulfilled.
        misnamed: What the workers that are to tell of it expose under names that no rule asks for.
    """

    selector: Selector
    present: bool = True
    relatives: tuple[str, ...] = ()
    seen: str = ""
    targets: tuple[Target, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    misnamed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TypeFacts:
    """What Temporal tells of a workflow type.

    Attributes:
        last_day: Runs that started in the last day.
        found: Whether there is any run at all.
        running: Whether its newest run is open.
        task_queue: Of its newest run; empty if there is none.
    """

    last_day: int
    found: bool = False
    running: bool = False
    task_queue: str = ""


Types = Mapping[tuple[str, str], TypeFacts]
"""By Temporal namespace and workflow type; what is not there was not asked, or not answered."""


def core(metric: str) -> str:
    """Return *metric* without what tells its kind and its unit: SDKs and converters differ there."""
    return re.sub(_ENDINGS, "", metric)


def sanitised(value: str) -> str:
    """Return *value* as the Temporal server and some collectors write it: with `_` for all but letters and digits."""
    return re.sub(r"[^A-Za-z0-9_]", "_", value)


def fulfils(matcher: Matcher, value: str) -> bool:
    """Return whether a label's *value* is as *matcher* has it."""
    equal = value == matcher.value
    if matcher.operator.endswith("~"):
        equal = re.fullmatch(matcher.value, value) is not None
    return equal != matcher.operator.startswith("!")


def cause(facts: Facts, types: Types) -> Cause | Idle:
    """Return the likely cause, the surest first."""
    if not facts.present and facts.relatives:
        return _other_name(facts.selector.metric, facts.relatives)
    if facts.misnamed:
        # Though it need not be there yet: once it is, it has another name as these have.
        return _other_name(str(facts.selector), facts.misnamed)
    for suspect in facts.suspects:
        # Surer than that it was there once: a scrape that was changed today is told of as what it is.
        if elsewhere := _held_elsewhere(suspect) or _sanitised(suspect):
            return elsewhere
    if facts.seen:
        return _stale(facts)
    if not facts.present:
        return _no_metric(facts.selector.metric)
    return _suspected(facts.suspects[0], facts.selector, types) if facts.suspects else _combination()


def _other_name(wanted: str, there: Sequence[str]) -> Cause:
    remedies = {
        "the exporter": "remove the metric relabelling that renames it",
        "a worker": "have workers use prometheus_runtime, or set its counters_total_suffix, unit_suffix and "
        "durations_as_seconds",
        "the Temporal server": "have the server expose it under this name: its metrics framework and version matter",
    }
    return Cause("other name", f"{wanted} is not there, but {_listed(there)}", remedies[teller(wanted)])


def _stale(facts: Facts) -> Cause:
    gone = [target for target in facts.targets if target.error or not target.well]
    if gone:
        told = "; ".join(f"{_target(target)} is down ({target.error or 'no reason given'})" for target in gone[:SHOWN])
        return Cause(
            "stale", f"it was there within the last {facts.seen}: {told}", "start it again, or mend its scrape"
        )
    told = ", ".join(map(_target, facts.targets[:SHOWN])) or "a target that is no more"
    return Cause(
        "stale",
        f"it was there within the last {facts.seen}, from {told}",
        "see whether that is scraped still, and tells of it still",
    )


def _target(target: Target) -> str:
    return f"job {target.job!r}, instance {target.instance!r}"


def _no_metric(metric: str) -> Cause:
    if metric == names.EXPORTER_RELOAD_SUCCESSFUL.sample:
        return Cause("no metric", f"{metric} is not there", "start the exporter, with --spec, and have it scraped")
    remedies = {
        "the exporter": "start the exporter with these specs, and have it scraped",
        "a worker": "have workers use SLOPlugin and serve their metrics, and have them scraped",
        "the Temporal server": "have all services of the Temporal server scraped, or leave its alerts out by --ignore",
    }
    who = teller(metric)
    return Cause("no metric", f"{metric} is not there: {who} is not scraped, or does not tell of it", remedies[who])


def _combination() -> Cause:
    return Cause(
        "combination",
        "each of its conditions is fulfilled by some series, all of them by none",
        "compare them with a series of that metric",
    )


def _suspected(suspect: Suspect, selector: Selector, types: Types) -> Cause | Idle:
    return _edge(suspect) or _type(suspect, selector, types) or _unlabelled(suspect) or _value(suspect)


def _held_elsewhere(suspect: Suspect) -> Cause | None:
    if not suspect.held_by:
        return None
    label = suspect.held_by[0]
    what = f"{label} holds what {suspect.matcher} asks for"
    if label == f"exported_{suspect.matcher.label}":
        return Cause(
            "exported label",
            f"{what}: the target has a label {suspect.matcher.label} of its own, which wins",
            "set honor_labels: true for this scrape, or take that label from the target",
        )
    return Cause("other label", what, f"relabel {label} to {suspect.matcher.label}, or do not relabel it away")


def _sanitised(suspect: Suspect) -> Cause | None:
    wanted, matcher = sanitised(suspect.matcher.value), suspect.matcher
    if matcher.operator != "=" or wanted == matcher.value or wanted not in suspect.values:
        return None
    return Cause(
        "sanitised value",
        f"{matcher.label} is {wanted!r} there, not {matcher.value!r}: something on the way replaces characters",
        "have it leave label values as they are",
    )


def _edge(suspect: Suspect) -> Cause | None:
    if suspect.matcher.label != LE or (wanted := _number(suspect.matcher.value)) is None:
        return None
    edges = sorted(edge for value in suspect.values if (edge := _number(value)) is not None)
    below = [f"{edge:g}" for edge in edges if edge < wanted][-1:]
    above = [f"{edge:g}" for edge in edges if edge > wanted][:1]
    near = " and ".join(below + above) or "none"
    return Cause(
        "bucket edge",
        f"there is no bucket edge at {wanted:g} s; the nearest are {near}",
        "give the exporter or the worker the same specs as this check, and let it read them again",
    )


def _number(text: str) -> float | None:
    try:
        return float(text.partition("|")[0].replace(r"(\.0)?", "").replace("\\", ""))
    except ValueError:
        return None


def _type(suspect: Suspect, selector: Selector, types: Types) -> Cause | Idle | None:
    matcher = suspect.matcher
    if matcher.label != names.WORKFLOW_TYPE or matcher.operator != "=":
        return None
    near = _near(matcher.value, suspect.values)
    told = types.get((selector.value(names.NAMESPACE) or "", matcher.value))
    if told and told.found and not told.running:
        return Idle(f"the next run of {matcher.value!r}: Temporal has runs, but none since the exporter began to count")
    if told and told.found:
        what = f"Temporal has an open run of {matcher.value!r}, but no series tells of it"
        return Cause("not watched", what, "see whether the exporter watches this Temporal namespace, and is up to date")
    unknown = "; Temporal has no run of it either" if told else ""
    if near:
        what = f"no series has {matcher}, but {_listed(near)} is there{unknown}"
        return Cause("misspelt", what, "correct the workflow type in the spec")
    what = f"no series has {matcher}{unknown}; there are {_listed(suspect.values)}"
    return Cause("no such type", what, "correct the workflow type in the spec, or wait for its first run")


def _unlabelled(suspect: Suspect) -> Cause | None:
    if suspect.values and any(suspect.values):
        return None
    label = suspect.matcher.label
    return Cause("no such label", f"no series of it has a label {label}", f"do not drop {label} by relabelling")


def _value(suspect: Suspect) -> Cause:
    matcher = suspect.matcher
    near = _near(matcher.value, suspect.values) if matcher.operator == "=" else ()
    there = f"there is {_listed(near or suspect.values)}"
    if matcher.label == names.NAMESPACE:
        return Cause("no such value", f"no series has {matcher}; {there}", "have an exporter watch that namespace")
    return Cause(
        "misspelt" if near else "no such value",
        f"no series has {matcher}; {there}",
        "correct the spec, or see who tells of it",
    )


def _near(wanted: str, values: Sequence[str]) -> tuple[str, ...]:
    folded = {value.lower(): value for value in values if value}
    return tuple(folded[near] for near in get_close_matches(wanted.lower(), list(folded), SHOWN, 0.75))


def _listed(values: Sequence[str]) -> str:
    shown = ", ".join(repr(value) for value in list(values)[:SHOWN])
    return f"{shown}, and {len(values) - SHOWN} more" if len(values) > SHOWN else shown or "none"


def doubtful(matchers: Sequence[Matcher]) -> Iterator[Matcher]:
    """Yield the conditions in the order in which they are suspected when several could be to blame."""
    first = (names.NAMESPACE, names.WORKFLOW_TYPE, names.TASK_QUEUE, names.ACTIVITY_TYPE, LE)
    yield from sorted(matchers, key=lambda own: first.index(own.label) if own.label in first else len(first))
