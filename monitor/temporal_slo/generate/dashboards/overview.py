"""All SLOs at once, the most urgent first."""

from typing import Final

from temporal_slo import names
from temporal_slo.generate.dashboards.common import (
    A_SECOND,
    BAD,
    BUDGET_STEPS,
    DATASOURCE,
    HIGH,
    Setting,
    column,
    field,
    job_of,
    namespace_of,
    now,
    shown_windows,
    to_board,
)
from temporal_slo.generate.dashboards.state import KEYS, LEGEND, STEPS, WORDS, blind, chosen, firing, state
from temporal_slo.generate.kit import (
    Board,
    Column,
    Query,
    Row,
    Step,
    alert_list,
    bar_gauge,
    stat,
    state_timeline,
    table,
    timeseries,
)
from temporal_slo.generate.kit.parts import Panel
from temporal_slo.promql import Matcher
from temporal_slo.spec.figures import lasting

ABOUT: Final = f"{KEYS}, {names.SERVICE}, {names.OWNER}, {names.OBJECTIVE_LABEL}, {names.SLI_LABEL}"
PERIOD_SLI: Final = f"1 - {chosen(names.PERIOD_BURN)} * {chosen(names.ERROR_BUDGET)}"


def board(setting: Setting) -> Board:
    """Return the dashboard."""
    rows = (
        Row("Now", (*_counts(), _alerts())),
        Row("All SLOs", (_table(setting),)),
        Row("Budgets", (_budgets(), _burning(setting))),
        Row("History", (_states(), _events())),
    )
    return Board(
        names.DASHBOARD_OVERVIEW,
        "Temporal SLO / Overview",
        "Every SLO with its state, budget and burn rates, the most urgent first. Click one for its details.",
        rows,
        (DATASOURCE, job_of(names.EXPORTER_UP.sample), namespace_of(names.EXPORTER_UP)),
        (firing(),),
        since="now-24h",
    )


def _counted(condition: str) -> str:
    # A count of nothing is nothing: 0 is right only where there are SLOs.
    return f"count({condition}) or 0 * count({chosen(names.SLO_INFO)})"


def _counts() -> tuple[Panel, ...]:
    wanted = (
        ("SLOs", "SLOs that rules are recorded for.", f"count({chosen(names.SLO_INFO)})", (Step("blue"),)),
        ("Burning fast", "SLOs with an alert that pages.", _counted(f"{state()} >= 5"), (Step("green"), Step(BAD, 1))),
        (
            "Budget overspent",
            "SLOs whose error budget of the period is spent.",
            _counted(f"{chosen(names.BUDGET_REMAINING)} < 0"),
            (Step("green"), Step(HIGH, 1)),
        ),
        (
            "Without data",
            "SLOs that nothing is known of: the exporter is away, or cannot read Temporal.",
            _counted(blind()),
            (Step("green"), Step("purple", 1)),
        ),
    )
    return tuple(
        stat(title, text, now(expr), unit="none", decimals=0, steps=steps, filled=title != "SLOs", size=(4, 6))
        for title, text, expr, steps in wanted
    )


def _alerts() -> Panel:
    return alert_list(
        "Alerts",
        "Alerts of Temporal SLO that fire or are about to, as Grafana knows them.",
        about="TemporalSlo",
        size=(8, 6),
    )


def _table(setting: Setting) -> Panel:
    windows = shown_windows(setting)
    ratios = (f"{chosen(f'{names.ERROR_RATIO}{lasting(window)}')} / {chosen(names.ERROR_BUDGET)}" for window in windows)
    queries = [
        state(),
        chosen(names.OBJECTIVE),
        PERIOD_SLI,
        chosen(names.BUDGET_REMAINING),
        f"max by ({ABOUT}) ({_info()})",
    ]
    detail = to_board(
        "Details of ${__value.text}",
        names.DASHBOARD_DETAIL,
        **{names.NAMESPACE: field("Temporal namespace"), names.SLO: field("SLO")},
    )
    burn = [
        Column(letter, f"burn {lasting(window)}", "none", 2, setting.burn_steps(), width=78)
        for letter, window in zip("FGHIJKLMN", windows, strict=False)
    ]
    columns = (
        Column("A", "State", steps=STEPS, words=WORDS, width=130),
        Column(names.SLO, "SLO", links=(detail,)),
        Column("B", "Objective", "percentunit", 3, width=95),
        Column("C", "SLI of the period", "percentunit", 3, width=130),
        Column("D", "Budget left", "percentunit", 1, BUDGET_STEPS, width=100),
        *burn,
        Column(names.SLI_LABEL, "SLI", width=110),
        Column(names.SERVICE, "Service", width=110),
        Column(names.NAMESPACE, "Temporal namespace", width=150),
        Column(names.OWNER, "Owner", width=130),
    )
    text = (
        "One line for each SLO, the most urgent first. A burn rate of 1 spends the budget exactly by the end of the "
        "period. Cells are empty where nothing is known, or nothing happened."
    )
    every = (column(expr) for expr in (*queries, *ratios))
    return table("SLOs", text, *every, columns=columns, size=(24, 11), sorted_by=("A", True))


def _info() -> str:
    return f"{names.SLO_INFO}{{{Matcher(names.NAMESPACE, '=~', f'${names.NAMESPACE}')}}}"


def _budgets() -> Panel:
    return bar_gauge(
        "Budget left",
        "What is left of each error budget in its period. Below 0 the objective is missed.",
        now(f"sort({chosen(names.BUDGET_REMAINING)})", LEGEND),
        unit="percentunit",
        steps=BUDGET_STEPS,
        high=1,
        decimals=1,
    )


def _burning(setting: Setting) -> Panel:
    return timeseries(
        "Burn rates",
        "How many times faster than it may each budget burns over the last five minutes. Lines: what tiers alert on.",
        Query(chosen(names.CURRENT_BURN), LEGEND),
        unit="none",
        steps=setting.burn_steps(),
        decimals=2,
    )


def _states() -> Panel:
    return state_timeline(
        "States",
        "How the state of each SLO changed. Insufficient data: nothing happened that counts.",
        Query(f"floor({state()})", LEGEND),
        words=WORDS,
        size=(14, 8),
    )


def _events() -> Panel:
    expr = chosen(f"{names.EVENTS_RATE}5m")
    text = "Events that count for each SLO: few of them make burn rates jump."
    return timeseries("Events", text, Query(expr, LEGEND), unit=A_SECOND, size=(10, 8))
