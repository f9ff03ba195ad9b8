"""Lints: specs that are valid and still do not work, such as alerts that never fire or thresholds nobody measures."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from temporal_slo.names import TASK_QUEUE, WORKFLOW_DURATION
from temporal_slo.spec import traffic_lint
from temporal_slo.spec.burn import DEFAULT_TIERS, burn_rate_threshold, enabled_tiers, period_length
from temporal_slo.spec.formatting import duration_text, number_text, percent_text
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
from temporal_slo.spec.slis import SCHEDULE_TO_START_BUCKETS, ScheduleToStart
from temporal_slo.spec.tree import KeyPath
from temporal_slo.spec.validators import join_words

T = TypeVar("T")

_PERIOD: Final[TypeAdapter[Period]] = TypeAdapter(PeriodKey)
_WINDOWS: Final[TypeAdapter[tuple[Tier, ...]]] = TypeAdapter(WindowsKey)
_PROMETHEUS: Final = TypeAdapter(Prometheus)
_SLO: Final = TypeAdapter(Slo)
_CAUSES: Final = TypeAdapter(Causes)

SCRAPE_INTERVAL: Final = timedelta(seconds=30)
"""Scrape interval that the documentation recommends; the spec does not contain the real one, which may be shorter."""
SAFE_WINDOW: Final = 4 * SCRAPE_INTERVAL
"""A window of this length has enough scrapes even if one of them fails."""
WINDOW_MIN: Final = timedelta(seconds=10)
"""No Prometheus scrapes twice in a shorter window, whatever its scrape interval."""


@dataclass(frozen=True, slots=True)
class Lint:
    """Something in a spec that will not work.

    Attributes:
        place: Key path of the value, written or missing.
        text: Reason and remedy.
        warning: Whether the spec is accepted all the same.
    """

    place: KeyPath
    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class _Header:
    """What the SLOs of a file have in common; None where the value is invalid.

    Attributes:
        period: Compliance period.
        tiers: Burn-rate tiers.
        own_tiers: Whether the spec defines the tiers itself.
        prometheus: Properties of the Prometheus that evaluates the rules.
    """

    period: Period | None
    tiers: tuple[Tier, ...]
    own_tiers: bool
    prometheus: Prometheus | None


def lint(data: dict[str, Any]) -> Iterator[Lint]:
    """Yield everything in a spec that will not work.

    Takes the data as written and validates it part by part, so that invalid values elsewhere hide no lint.
    """
    header = _header(data)
    written = data.get("slos")
    validated = [(index, _valid(_SLO, slo)) for index, slo in enumerate(written if isinstance(written, list) else [])]
    slos = [(index, slo) for index, slo in validated if slo]
    for index, slo in slos:
        yield from _slo(("slos", index), slo, header)
    yield from _stale_thresholds(_valid(_CAUSES, data.get("causes", {})))
    for number, tier in enumerate(header.tiers if header.own_tiers else ()):
        yield from _short_window(("windows", number), tier)
    if header.period is not None:
        used = {tier.name for _, slo in slos for tier in enabled_tiers(header.tiers, slo)}
        for number, tier in enumerate(header.tiers):
            if tier.name in used:
                place: KeyPath = ("windows", number) if header.own_tiers else ("period",)
                yield from _low_burn_rate(place, tier, header.period)
        yield from _retention(header.period, header.tiers, header.prometheus)


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


def _slo(place: KeyPath, slo: Slo, header: _Header) -> Iterator[Lint]:
    yield from _unknown_tiers(place, slo, header.tiers)
    yield from _unmeasured(place, slo)
    if header.period is None:
        return
    yield from _calendar_of_workers(place, slo, header.period)
    yield from _threshold_beyond_period(place, slo, header.period)
    tiers = enabled_tiers(header.tiers, slo)
    yield from _unreachable_tiers(place, slo, tiers, header.period)
    for key, text, warning in traffic_lint.lint(slo, tiers, header.period):
        yield Lint((*place, *key), text, warning)


def _unknown_tiers(place: KeyPath, slo: Slo, tiers: tuple[Tier, ...]) -> Iterator[Lint]:
    known = [tier.name for tier in tiers]
    for name in slo.alerting.tiers:
        if known and name not in known:
            near = get_close_matches(name, known, n=1) or known
            yield Lint((*place, "alerting", "tiers", name), f"is not a tier of this spec; write {join_words(near)}")


def _unmeasured(place: KeyPath, slo: Slo) -> Iterator[Lint]:
    if isinstance(slo.sli, ScheduleToStart) and slo.sli.threshold not in SCHEDULE_TO_START_BUCKETS:
        bounds = join_words([duration_text(bound) for bound in SCHEDULE_TO_START_BUCKETS])
        text = f"{duration_text(slo.sli.threshold)} is not a bucket bound of the workers' histogram; write {bounds}"
        yield Lint((*place, "sli", slo.sli.kind, "threshold"), text)
    if isinstance(slo.sli, Latency) and slo.task_queue and TASK_QUEUE not in WORKFLOW_DURATION.labels:
        text = (
            "durations have no label for the task queue, so the alerts count runs of every task queue; "
            "write a separate workflow type for these runs, and remove task_queue"
        )
        yield Lint((*place, "task_queue"), text, warning=True)


def _calendar_of_workers(place: KeyPath, slo: Slo, period: Period) -> Iterator[Lint]:
    if isinstance(period, Calendar) and isinstance(slo.sli, WorkerSli):
        text = (
            f"{slo.sli.kind} is measured by workers, and calendar periods are computed from the exporter's ledger, "
            "which has no worker metrics; move the SLO into a file with a rolling period, for example 30d"
        )
        yield Lint((*place, "sli", slo.sli.kind), text)


def _threshold_beyond_period(place: KeyPath, slo: Slo, period: Period) -> Iterator[Lint]:
    if isinstance(slo.sli, Latency) and slo.sli.threshold >= period_length(period):
        text = (
            f"is not shorter than the period of {_period_text(period)}, so every slow run started before the period; "
            "write a shorter threshold, or an overdue SLI, which also counts open runs"
        )
        yield Lint((*place, "sli", slo.sli.kind, "threshold"), text, warning=True)


def _unreachable_tiers(place: KeyPath, slo: Slo, tiers: tuple[Tier, ...], period: Period) -> Iterator[Lint]:
    never = [tier for tier in tiers if burn_rate_threshold(tier, period) * slo.error_budget >= 1]
    for tier in never:
        burn_rate, budget = Fraction(burn_rate_threshold(tier, period)), Fraction(slo.error_budget)
        text = (
            f"tier {tier.name} can never fire, because burn rate {number_text(burn_rate)}x of an error budget of "
            f"{percent_text(budget)} requires more than {percent_text(burn_rate * budget)} bad events; "
            f"write alerting: {{tiers: {{{tier.name}: {{enabled: false}}}}}}, or a higher objective"
        )
        # An error if no tier of this severity is left: somebody who expects alerts would get none.
        others = any(other.severity == tier.severity for other in tiers if other not in never)
        yield Lint((*place, "objective"), text, warning=others)


def _low_burn_rate(place: KeyPath, tier: Tier, period: Period) -> Iterator[Lint]:
    if tier.long > period_length(period):
        text = (
            f"tier {tier.name} has a long window of {duration_text(tier.long)}, longer than the period of "
            f"{_period_text(period)}; write shorter windows"
        )
        # The author of the spec did not choose the default tiers.
        yield Lint(place, text, warning=place == ("period",))
    elif (times := burn_rate_threshold(tier, period)) < 1:
        text = (
            f"tier {tier.name} fires at burn rate {number_text(Fraction(times))}x, although burn rates up to 1x meet "
            f"the SLO over {_period_text(period)}; "
            "write windows with more budget in that tier, or a shorter long window"
        )
        yield Lint(place, text, warning=True)


def _short_window(place: KeyPath, tier: Tier) -> Iterator[Lint]:
    if tier.short < SAFE_WINDOW:
        effect = "can never fire" if tier.short < 2 * SCRAPE_INTERVAL else "may not fire while a scrape fails"
        text = (
            f"tier {tier.name} {effect} with a scrape interval of {duration_text(SCRAPE_INTERVAL)}, because a rate "
            f"needs two scrapes within its short window of {duration_text(tier.short)}; "
            f"write a short window of {duration_text(SAFE_WINDOW)} or longer"
        )
        # It works for those who scrape every second.
        yield Lint(place, text, warning=tier.short >= WINDOW_MIN)


def _stale_thresholds(causes: Causes | None) -> Iterator[Lint]:
    for key in ("exporter_stale", "source_stale") if causes else ():
        threshold: timedelta = getattr(causes, key)
        if threshold < SAFE_WINDOW:
            text = (
                f"{duration_text(threshold)} is too short for a scrape interval of {duration_text(SCRAPE_INTERVAL)}: "
                f"one late or failed scrape fires the alert; write {duration_text(SAFE_WINDOW)} or longer"
            )
            yield Lint(("causes", key), text, warning=threshold >= WINDOW_MIN)


def _retention(period: Period, tiers: tuple[Tier, ...], prometheus: Prometheus | None) -> Iterator[Lint]:
    retention = prometheus and prometheus.retention
    # The ledger counts calendar months, without Prometheus.
    ranges = {f"the long window of tier {tier.name}": tier.long for tier in tiers}
    if not isinstance(period, Calendar):
        ranges = {"the period": period_length(period)}
    what, longest = max(ranges.items(), key=lambda item: item[1], default=("", timedelta()))
    if retention and retention < longest:
        text = (
            f"{duration_text(retention)} is shorter than {what} ({duration_text(longest)}); "
            f"give Prometheus --storage.tsdb.retention.time={duration_text(longest)} or more, or shorten {what}"
        )
        yield Lint(("prometheus", "retention"), text)


def _period_text(period: Period) -> str:
    return "a month" if isinstance(period, Calendar) else duration_text(period)
