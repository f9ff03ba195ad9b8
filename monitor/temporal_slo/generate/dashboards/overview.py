"""The dashboard of all SLOs, most urgent first."""

from typing import Final

from temporal_slo import names
from temporal_slo.generate.dashboards.common import (
    BLUE,
    BUDGET_THRESHOLDS,
    DATASOURCE,
    GREEN,
    MATCH_NAMESPACE,
    ORANGE,
    PER_SECOND,
    PURPLE,
    RED,
    DashboardConfig,
    cell_value,
    dashboard_link,
    instant,
    job_variable,
    namespace_variable,
    table_query,
    table_windows,
)
from temporal_slo.generate.dashboards.slo_state import (
    SLO_LABELS,
    SLO_LEGEND,
    STATE_MAPPINGS,
    STATE_THRESHOLDS,
    alert_annotation,
    recorded,
    slo_state,
    without_data,
)
from temporal_slo.generate.kit import (
    Column,
    Dashboard,
    Panel,
    Query,
    Row,
    Threshold,
    alert_list,
    bar_gauge,
    stat,
    state_timeline,
    table,
    timeseries,
)
from temporal_slo.promql import selector
from temporal_slo.spec.formatting import duration_text

INFO_LABELS: Final = f"{SLO_LABELS}, {names.SERVICE}, {names.OWNER}, {names.OBJECTIVE_LABEL}, {names.SLI_LABEL}"
PERIOD_SLI: Final = f"1 - {recorded(names.PERIOD_BURN)} * {recorded(names.ERROR_BUDGET)}"


def dashboard(config: DashboardConfig) -> Dashboard:
    """Return the dashboard."""
    rows = (
        Row("Now", (*_counts(), _alerts())),
        Row("All SLOs", (_table(config),)),
        Row("Error budgets", (_budgets(), _burn_rates(config))),
        Row("History", (_states(), _events())),
    )
    return Dashboard(
        names.DASHBOARD_OVERVIEW,
        "Temporal SLO / Overview",
        "Every SLO with its state, error budget and burn rates, most urgent first. Click an SLO for its details.",
        rows,
        (DATASOURCE, job_variable(names.EXPORTER_UP.sample), namespace_variable(names.EXPORTER_UP)),
        (alert_annotation(),),
        time_from="now-24h",
    )


def _count(condition: str) -> str:
    # count() of no series is no series; it is 0 only if there are SLOs.
    return f"count({condition}) or 0 * count({recorded(names.SLO_INFO)})"


def _counts() -> tuple[Panel, ...]:
    counts = (
        ("SLOs", "Number of SLOs.", f"count({recorded(names.SLO_INFO)})", BLUE),
        ("Fast burn", "SLOs with a firing page.", _count(f"{slo_state()} >= 5"), RED),
        (
            "Budget exhausted",
            "SLOs whose error budget of the period is exhausted.",
            _count(f"{recorded(names.BUDGET_REMAINING)} < 0"),
            ORANGE,
        ),
        (
            "No data",
            "SLOs without data: the exporter is down or cannot read Temporal, or no worker reports.",
            _count(without_data()),
            PURPLE,
        ),
    )
    return tuple(
        stat(
            title,
            description,
            instant(expr),
            unit="none",
            decimals=0,
            thresholds=(Threshold(color),) if color == BLUE else (Threshold(GREEN), Threshold(color, 1)),
            background=color != BLUE,
            size=(4, 6),
        )
        for title, description, expr, color in counts
    )


def _alerts() -> Panel:
    return alert_list(
        "Alerts",
        "Pending and firing alerts of Temporal SLO, as listed by Grafana.",
        alert_name="TemporalSlo",
        size=(8, 6),
    )


def _table(config: DashboardConfig) -> Panel:
    windows = table_windows(config)
    burn_rates = (
        f"{recorded(f'{names.ERROR_RATIO}{duration_text(window)}')} / {recorded(names.ERROR_BUDGET)}"
        for window in windows
    )
    exprs = (
        slo_state(),
        recorded(names.OBJECTIVE),
        PERIOD_SLI,
        recorded(names.BUDGET_REMAINING),
        f"max by ({INFO_LABELS}) ({selector(names.SLO_INFO, MATCH_NAMESPACE)})",
        *burn_rates,
    )
    detail = dashboard_link(
        "Details of ${__value.text}",
        names.DASHBOARD_DETAIL,
        **{names.NAMESPACE: cell_value("Temporal namespace"), names.SLO: cell_value("SLO")},
    )
    burn_rate_columns = [
        Column(letter, f"Burn {duration_text(window)}", "none", 2, config.burn_rate_thresholds(), width=78)
        for letter, window in zip("FGHIJKLMN", windows, strict=False)
    ]
    columns = (
        Column("A", "State", thresholds=STATE_THRESHOLDS, mappings=STATE_MAPPINGS, width=130),
        Column(names.SLO, "SLO", data_links=(detail,)),
        Column("B", "Objective", "percentunit", 3, width=95),
        Column("C", "Period SLI", "percentunit", 3, width=100),
        Column("D", "Budget remaining", "percentunit", 1, BUDGET_THRESHOLDS, width=150),
        *burn_rate_columns,
        Column(names.SLI_LABEL, "SLI type", width=110),
        Column(names.SERVICE, "Service", width=110),
        Column(names.NAMESPACE, "Temporal namespace", width=150),
        Column(names.OWNER, "Owner", width=130),
    )
    return table(
        "SLOs",
        "One row per SLO, most urgent first. A burn rate of 1 consumes the error budget exactly over the period. "
        "Empty cells: no data or no events.",
        *map(table_query, exprs),
        columns=columns,
        size=(24, 11),
        sort_by=("A", True),
    )


def _budgets() -> Panel:
    return bar_gauge(
        "Error budget remaining",
        "Remaining share of each error budget in its period. Below 0 the objective is missed.",
        instant(f"sort({recorded(names.BUDGET_REMAINING)})", SLO_LEGEND),
        unit="percentunit",
        thresholds=BUDGET_THRESHOLDS,
        maximum=1,
        decimals=1,
    )


def _burn_rates(config: DashboardConfig) -> Panel:
    return timeseries(
        "Burn rate",
        "Burn rate of each error budget over 5 minutes. Lines: alerting thresholds of the tiers.",
        Query(recorded(names.CURRENT_BURN), SLO_LEGEND),
        unit="none",
        thresholds=config.burn_rate_thresholds(),
        decimals=2,
    )


def _states() -> Panel:
    return state_timeline(
        "State history",
        "State of each SLO over time. Insufficient data: no events.",
        Query(f"floor({slo_state()})", SLO_LEGEND),
        mappings=STATE_MAPPINGS,
        size=(14, 8),
    )


def _events() -> Panel:
    return timeseries(
        "Event rate",
        "Events per second of each SLO. With few events burn rates fluctuate.",
        Query(recorded(f"{names.EVENTS_RATE}5m"), SLO_LEGEND),
        unit=PER_SECOND,
        size=(10, 8),
    )
