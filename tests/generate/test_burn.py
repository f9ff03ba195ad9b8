"""Error budget alerts, as Prometheus evaluates them: when they fire, stay silent, and resolve."""

from pathlib import Path

import pytest

from temporal_slo import names

from .promtool import Expected, evaluate

SPEC = """\
version: temporal-slo/v1
service: shop
temporal_namespace: shop-prod
owner: shop-team
period: 30d
slos:
- name: rides
  workflow: [Ride, Walk]
  objective: 99.9
  outcome: {from: status, good: [OK], bad: [NO]}
  sli: {success: {bad: [failed, timed_out, bad_outcome], excluded: [canceled]}}
  alerting: {low_traffic: {mode: confidence}}
"""
LATENCY = """\
- {name: quick, workflow: Ride, objective: 99, sli: {latency: {threshold: 90s}}}
"""
OVERDUE = """\
- {name: stuck, workflow: Ride, objective: 99.9, sli: {overdue: {max_age: 15m}}}
"""
HEAD = SPEC[: SPEC.index("- name")]
BURNS, EXHAUSTED = names.ALERT_BURN, names.ALERT_EXHAUSTED


def closed(status: str, outcome: str = "none", instance: str = "a", kind: str = "Ride") -> str:
    """A series of closed runs."""
    return (
        f'{names.WORKFLOWS_CLOSED.sample}{{temporal_namespace="shop-prod", workflow_type="{kind}", task_queue="q", '
        f'status="{status}", outcome="{outcome}", instance="{instance}", job="temporal-slo"}}'
    )


GOOD, BAD, FAILED = closed("completed", "good"), closed("completed", "bad"), closed("failed")
QUIET = [Expected(minute, BURNS, 0) for minute in (61, 97, 131, 239)]

# 100 runs a minute for two hours, then as named.
CASES: dict[str, tuple[str, dict[str, str], list[Expected]]] = {
    "outage": (
        SPEC,
        {GOOD: "0+100x120 12000x120", FAILED: "0x120 0+100x120"},
        [Expected(120, BURNS, 0), Expected(124, BURNS, 2, "page"), Expected(130, BURNS, 4)],
    ),
    "outage that is over": (
        SPEC,
        {GOOD: "0+100x120 12000x30 12000+100x600", FAILED: "0x120 0+100x30 3000x600"},
        [Expected(149, BURNS, 2, "page"), Expected(157, BURNS, 1, "page"), Expected(190, BURNS, 0, "page")],
    ),
    "bad outcomes, which look completed": (
        SPEC,
        {GOOD: "0+100x120 12000x120", BAD: "0x120 0+100x120"},
        [Expected(124, BURNS, 2, "page")],
    ),
    "cancelled and retried runs are not events": (
        SPEC,
        {GOOD: "0+100x240", closed("canceled"): "0+900x240", closed("retried"): "0+700x240"},
        QUIET,
    ),
    "exactly the budget": (
        SPEC,
        {GOOD: "0+999x240", FAILED: "0+1x240"},
        [*QUIET, Expected(61, EXHAUSTED, 0), Expected(239, EXHAUSTED, 0)],
    ),
    "idle": (SPEC, {GOOD: "17x240", FAILED: "3x240"}, QUIET),
    "first failure ever": (SPEC, {GOOD: "0+1x240", FAILED: "_x90 0x2 1x150"}, QUIET),
    "one failure in ten an hour": (
        SPEC,
        {GOOD: "0x5 1x6 2x6 3x6 4x6 5x6 6x6 7x6 8x6 9x6 9x180", FAILED: "0x57 1x180"},
        QUIET,
    ),
    "a few failures in few events do alert": (
        SPEC,
        {GOOD: "0x120 0+1x120", FAILED: "0x120 0+1x120"},
        [Expected(119, BURNS, 0), Expected(129, BURNS, 2, "page")],
    ),
    "counter resets": (SPEC, {GOOD: "0+100x120 0+100x120", FAILED: "40x120 0x120"}, QUIET),
    "exporter down for a while": (SPEC, {GOOD: "0+100x90 _x10 10000+100x140", FAILED: "3x90 _x10 3x140"}, QUIET),
    "three replicas, one lags": (
        SPEC,
        {
            closed("completed", "good", "a"): "0+100x240",
            closed("completed", "good", "b"): "0+100x240",
            closed("completed", "good", "c"): "0+100x100 10000x140",
            closed("failed", "none", "a"): "7x240",
            closed("failed", "none", "b"): "7x240",
            closed("failed", "none", "c"): "5x240",
        },
        QUIET,
    ),
    "an outage that replicas see alike": (
        SPEC,
        {
            closed("completed", "good", "a"): "0+100x120 12000x120",
            closed("completed", "good", "b"): "0+100x120 12000x120",
            closed("failed", "none", "a"): "0x120 0+100x120",
            closed("failed", "none", "b"): "0x120 0+100x120",
        },
        [Expected(120, BURNS, 0), Expected(124, BURNS, 2, "page")],
    ),
    "no data": (SPEC, {}, QUIET),
    "late runs": (
        HEAD + LATENCY,
        {
            f'{names.WORKFLOW_DURATION.name}_{part}, status="completed", outcome="none"}}': values
            for part, values in {
                'bucket{temporal_namespace="shop-prod", workflow_type="Ride", le="90.0"': "0+100x120 12000x120",
                'bucket{temporal_namespace="shop-prod", workflow_type="Ride", le="+Inf"': "0+100x240",
                'count{temporal_namespace="shop-prod", workflow_type="Ride"': "0+100x240",
            }.items()
        },
        [Expected(120, BURNS, 0), Expected(134, BURNS, 2, "page")],
    ),
    "overdue minutes": (
        HEAD + OVERDUE,
        {
            f'{names.OBSERVED_MINUTES.sample}{{temporal_namespace="shop-prod", slo="stuck"}}': "0+1x240",
            f'{names.OVERDUE_MINUTES.sample}{{temporal_namespace="shop-prod", slo="stuck"}}': "0x120 0+1x120",
        },
        [Expected(119, BURNS, 0), Expected(124, BURNS, 2, "page")],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_burn(case: str, programs: dict[str, Path], tmp_path: Path) -> None:
    """The expected alerts fire at the expected minutes."""
    spec, series, expected = CASES[case]
    assert evaluate(programs["promtool"], tmp_path, spec, series, expected) == ""


def test_tiers_change(programs: dict[str, Path], tmp_path: Path) -> None:
    """A tier can be disabled or delayed; all tickets can be disabled."""
    alerting = "{ticket: false, tiers: {page-quick: {enabled: false}, page-slow: {for: 11m}}}"
    spec = SPEC.replace("{low_traffic: {mode: confidence}}", alerting)
    series = {GOOD: "0+100x120 12000x120", FAILED: "0x120 0+100x120"}
    expected = [Expected(130, BURNS, 0), Expected(140, BURNS, 1), Expected(140, BURNS, 1, "page")]
    assert evaluate(programs["promtool"], tmp_path, spec, series, expected) == ""


def test_without_a_guard(programs: dict[str, Path], tmp_path: Path) -> None:
    """Without the low-traffic guard one failure of ten an hour pages: the guard prevents it."""
    spec = SPEC.replace("confidence", "none")
    _, series, _ = CASES["one failure in ten an hour"]
    assert evaluate(programs["promtool"], tmp_path, spec, series, [Expected(61, BURNS, 2, "page")]) == ""


def test_exhausted(programs: dict[str, Path], tmp_path: Path) -> None:
    """The alert fires while the error budget is exhausted, not before, and resolves when some of it is back."""
    spec = SPEC.replace(
        "period: 30d", "period: 3d\nwindows: [{name: w, severity: page, long: 1h, short: 5m, budget: 5}]"
    )
    series = {GOOD: "0+1000x300 310000+10000x300", FAILED: "0+1x150 150+3x150 600x300"}
    expected = [Expected(120, EXHAUSTED, 0), Expected(299, EXHAUSTED, 1, "ticket"), Expected(480, EXHAUSTED, 0)]
    assert evaluate(programs["promtool"], tmp_path, spec, series, expected) == ""


MONTH = SPEC.replace("period: 30d", "period: {calendar: month, timezone: Africa/Accra}")


def so_far(good: str, bad: str, instance: str = "a") -> dict[str, str]:
    """The exporter's counts of the month so far."""
    values = {names.PERIOD_GOOD_EVENTS: good, names.PERIOD_BAD_EVENTS: bad}
    labels = f'temporal_namespace="shop-prod", slo="rides", instance="{instance}"'
    return {f"{family.sample}{{{labels}}}": value for family, value in values.items()}


MONTHS: dict[str, tuple[dict[str, str], list[Expected]]] = {
    "nothing yet": (so_far("0x240", "0x240"), [Expected(61, EXHAUSTED, 0), Expected(239, EXHAUSTED, 0)]),
    "no data": ({}, [Expected(61, EXHAUSTED, 0), Expected(239, EXHAUSTED, 0)]),
    "one replica lags": (
        so_far("3001x240", "2x240") | so_far("1000x240", "2x240", "b"),
        [Expected(61, EXHAUSTED, 0), Expected(239, EXHAUSTED, 0)],
    ),
}


@pytest.mark.parametrize("case", MONTHS)
def test_month(case: str, programs: dict[str, Path], tmp_path: Path) -> None:
    """The error budget of a calendar month follows from the ledger's counts of the month."""
    series, expected = MONTHS[case]
    assert evaluate(programs["promtool"], tmp_path, MONTH, series, expected) == ""


HOUR = 60
# A bad event in the first hours, of few so far; later three of two thousand, where two may be bad in the whole month.
# It is spent on the 21st, at the pace so far; the next month begins with a bad event, too.
JANUARY = so_far("149x24 1997x719 149x60", "1x24 3x719 1x60")
SPENT = [(1, 0), (23, 0), (480, 0), (520, 1), (740, 1)]


@pytest.mark.parametrize(("zone", "after"), [("Africa/Accra", (744, 760)), ("Africa/Maputo", (742, 745))])
def test_month_turns(zone: str, after: tuple[int, ...], programs: dict[str, Path], tmp_path: Path) -> None:
    """The first bad event of a month does not exhaust its error budget, in any time zone."""
    spec = MONTH.replace("Africa/Accra", zone)
    expected = [Expected(hour * HOUR, EXHAUSTED, count) for hour, count in (*SPENT, *((hour, 0) for hour in after))]
    assert evaluate(programs["promtool"], tmp_path, spec, JANUARY, expected, every="1h") == ""


def test_month_burns(programs: dict[str, Path], tmp_path: Path) -> None:
    """A calendar month has the tiers of 30 days."""
    _, series, expected = CASES["outage"]
    assert evaluate(programs["promtool"], tmp_path, MONTH, series, expected) == ""
