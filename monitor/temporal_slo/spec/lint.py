"""What is written well and will not work all the same: alerts that never fire, waits that nobody measures."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from temporal_slo.names import TASK_QUEUE, WORKFLOW_DURATION
from temporal_slo.spec import traffic
from temporal_slo.spec.burn import DEFAULT_TIERS, enabled, factor, length
from temporal_slo.spec.figures import figure, lasting
from temporal_slo.spec.model import (
    Calendar,
    Causes,
    Latency,
    Period,
    PeriodKey,
    Prometheus,
    Slo,
    Tier,
    WindowsKey,
    WorkerSli,
)
from temporal_slo.spec.slis import WAIT_EDGES, ScheduleToStart
from temporal_slo.spec.tree import Place
from temporal_slo.spec.values import one_of

T = TypeVar("T")

_PERIOD: Final[TypeAdapter[Period]] = TypeAdapter(PeriodKey)
_WINDOWS: Final[TypeAdapter[tuple[Tier, ...]]] = TypeAdapter(WindowsKey)
_PROMETHEUS: Final = TypeAdapter(Prometheus)
_SLO: Final = TypeAdapter(Slo)
_CAUSES: Final = TypeAdapter(Causes)

SCRAPE: Final = timedelta(seconds=30)
"""How often targets are scraped, as the documentation wants it; no spec tells, and some scrape more often."""
SOUND: Final = 4 * SCRAPE
"""So long a span holds several scrapes, though one may fail."""
LEAST: Final = timedelta(seconds=10)
"""Shorter than that no Prometheus has two scrapes in a span, whatever its interval."""


@dataclass(frozen=True, slots=True)
class Lint:
    """Something that will not work.

    Attributes:
        place: Where it is written, or would be.
        text: What is wrong, and the remedy.
        warning: Whether it may be meant so all the same.
    """

    place: Place
    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class _Header:
    """What the SLOs of a file have in common; None where another mistake hides it."""

    period: Period | None
    tiers: tuple[Tier, ...]
    own: bool
    prometheus: Prometheus | None


def lint(data: dict[str, Any]) -> Iterator[Lint]:
    """Yield what will not work of a spec, part by part as written, so that another mistake hides none of it."""
    header = _header(data)
    slos = data.get("slos")
    found = [(index, _valid(_SLO, slo)) for index, slo in enumerate(slos if isinstance(slos, list) else [])]
    slo_at = [(index, slo) for index, slo in found if slo]
    for index, slo in slo_at:
        yield from _slo(("slos", index), slo, header)
    yield from _too_fresh(_valid(_CAUSES, data.get("causes", {})))
    for number, tier in enumerate(header.tiers if header.own else ()):
        yield from _too_short(("windows", number), tier)
    if header.period is not None:
        used = {tier.name for _, slo in slo_at for tier in enabled(header.tiers, slo)}
        for number, tier in enumerate(header.tiers):
            if tier.name in used:
                yield from _too_easy(("windows", number) if header.own else ("period",), tier, header.period)
        yield from _forgotten(header.period, header.tiers, header.prometheus)


def _header(data: dict[str, Any]) -> _Header:
    tiers: tuple[Tier, ...] | None = DEFAULT_TIERS
    if "windows" in data:
        tiers = _valid(_WINDOWS, data["windows"])
    return _Header(
        _valid(_PERIOD, data.get("period")), tiers or (), "windows" in data, _valid(_PROMETHEUS, data.get("prometheus"))
    )


def _valid(adapter: TypeAdapter[T], value: object) -> T | None:
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return None


def _slo(place: Place, slo: Slo, header: _Header) -> Iterator[Lint]:
    yield from _tiers_are_known(place, slo, header.tiers)
    yield from _is_measured(place, slo)
    if header.period is None:
        return
    yield from _ledger_knows(place, slo, header.period)
    yield from _ends_in_time(place, slo, header.period)
    tiers = enabled(header.tiers, slo)
    yield from _can_fire(place, slo, tiers, header.period)
    for key, text, warning in traffic.lint(slo, tiers, header.period):
        yield Lint((*place, *key), text, warning)


def _tiers_are_known(place: Place, slo: Slo, tiers: tuple[Tier, ...]) -> Iterator[Lint]:
    known = [tier.name for tier in tiers]
    for name in slo.alerting.tiers:
        if known and name not in known:
            near = get_close_matches(name, known, n=1) or known
            yield Lint((*place, "alerting", "tiers", name), f"is no tier of this spec; write {one_of(near)}")


def _is_measured(place: Place, slo: Slo) -> Iterator[Lint]:
    if isinstance(slo.sli, ScheduleToStart) and slo.sli.threshold not in WAIT_EDGES:
        edges = one_of([lasting(edge) for edge in WAIT_EDGES])
        text = f"{lasting(slo.sli.threshold)} is between the buckets that workers count in; write {edges}"
        yield Lint((*place, "sli", slo.sli.kind, "threshold"), text)
    if isinstance(slo.sli, Latency) and slo.task_queue and TASK_QUEUE not in WORKFLOW_DURATION.labels:
        text = (
            "durations are not known by task queue, so alerts count the runs of every task queue; "
            "write a workflow type of their own for these runs, and remove task_queue"
        )
        yield Lint((*place, "task_queue"), text, warning=True)


def _ledger_knows(place: Place, slo: Slo, period: Period) -> Iterator[Lint]:
    if isinstance(period, Calendar) and isinstance(slo.sli, WorkerSli):
        text = (
            f"{slo.sli.kind} comes from worker metrics, which have no ledger, and calendar periods are kept by it; "
            "move the SLO into a file with a rolling period, for example 30d"
        )
        yield Lint((*place, "sli", slo.sli.kind), text)


def _ends_in_time(place: Place, slo: Slo, period: Period) -> Iterator[Lint]:
    if isinstance(slo.sli, Latency) and slo.sli.threshold >= length(period):
        text = (
            f"is not shorter than the period of {_shown(period)}, so that every late run began before it; "
            "write a shorter threshold, or overdue, which needs no run to end"
        )
        yield Lint((*place, "sli", slo.sli.kind, "threshold"), text, warning=True)


def _can_fire(place: Place, slo: Slo, tiers: tuple[Tier, ...], period: Period) -> Iterator[Lint]:
    never = [tier for tier in tiers if factor(tier, period) * slo.error_budget >= 1]
    for tier in never:
        text = (
            f"the tier {tier.name} can never fire, for {figure(Fraction(factor(tier, period)))} times a budget of "
            f"{figure(Fraction(slo.error_budget * 100))} % is not less than all events; write alerting: "
            f"{{tiers: {{{tier.name}: {{enabled: false}}}}}}, or a higher objective"
        )
        # It is a mistake if nothing at all wakes somebody who expects to be woken.
        others = any(other.severity == tier.severity for other in tiers if other not in never)
        yield Lint((*place, "objective"), text, warning=others)


def _too_easy(place: Place, tier: Tier, period: Period) -> Iterator[Lint]:
    if tier.long > length(period):
        looks = f"the tier {tier.name} looks back {lasting(tier.long)}"
        text = f"{looks}, longer than the period of {_shown(period)}; write windows that are shorter"
        # The default tiers are nobody's mistake.
        yield Lint(place, text, warning=place == ("period",))
    elif (times := factor(tier, period)) < 1:
        text = (
            f"the tier {tier.name} fires at {figure(Fraction(times))} times the rate that spends the budget in "
            f"{_shown(period)}, when all is well; write windows with more budget in that tier, or a shorter long window"
        )
        yield Lint(place, text, warning=True)


def _too_short(place: Place, tier: Tier) -> Iterator[Lint]:
    if tier.short < SOUND:
        fires = "can never fire" if tier.short < 2 * SCRAPE else "may not fire while a scrape fails"
        text = (
            f"the tier {tier.name} {fires} where targets are scraped every {lasting(SCRAPE)}, for rates need two "
            f"scrapes in its short window of {lasting(tier.short)}; write a short window of {lasting(SOUND)} or longer"
        )
        # Who scrapes every second may mean it.
        yield Lint(place, text, warning=tier.short >= LEAST)


def _too_fresh(causes: Causes | None) -> Iterator[Lint]:
    for key in ("exporter_stale", "source_stale") if causes else ():
        span: timedelta = getattr(causes, key)
        if span < SOUND:
            text = (
                f"of {lasting(span)} leaves no time for a scrape every {lasting(SCRAPE)} that is late or fails, so "
                f"alerts come while all is well; write {lasting(SOUND)} or longer"
            )
            yield Lint(("causes", key), text, warning=span >= LEAST)


def _forgotten(period: Period, tiers: tuple[Tier, ...], prometheus: Prometheus | None) -> Iterator[Lint]:
    retention = prometheus and prometheus.retention
    # Calendar months are counted by the ledger.
    spans = {f"the tier {tier.name} looks back": tier.long for tier in tiers}
    if not isinstance(period, Calendar):
        spans = {"the period is": length(period)}
    what, longest = max(spans.items(), key=lambda item: item[1], default=("", timedelta()))
    if retention and retention < longest:
        text = (
            f"is {lasting(retention)}, and {what} {lasting(longest)}; "
            f"give Prometheus --storage.tsdb.retention.time={lasting(longest)} or more, or look back less"
        )
        yield Lint(("prometheus", "retention"), text)


def _shown(period: Period) -> str:
    return "a month" if isinstance(period, Calendar) else lasting(period)
