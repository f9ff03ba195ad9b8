"""Names of recorded series, alerts, their labels, and dashboards."""

from typing import Final

from temporal_slo.names.labels import PREFIX

EVENTS_RATE: Final = "slo:events:rate"
ERRORS_RATE: Final = "slo:errors:rate"
ERROR_RATIO: Final = "slo:sli_error:ratio_rate"
"""Prefixes of recorded series; the window follows, as in `slo:errors:rate5m`."""

CLASSIFIED_RATE: Final = "slo:classified_runs:rate"
"""Prefix: rate of classified runs by status group, status and outcome."""

CLOSED_RATE: Final = "slo:closed_runs:rate"
"""Prefix: the same of all closed runs: those not classified yet, and those of unknown outcome, as the others on
average."""

DEFAULT_SHARE: Final = "slo:unclassified_runs:share"
"""How the runs of a status group count before any of them was classified."""

MONTH_ERROR_RATIO: Final = "slo:sli_error:ratio_month"
"""Error ratio of the calendar month to date."""

OBJECTIVE: Final = "slo:objective:ratio"
ERROR_BUDGET: Final = "slo:error_budget:ratio"
PERIOD_DAYS: Final = "slo:time_period:days"
CURRENT_BURN: Final = "slo:current_burn_rate:ratio"
PERIOD_BURN: Final = "slo:period_burn_rate:ratio"
BUDGET_REMAINING: Final = "slo:period_error_budget_remaining:ratio"
SLO_INFO: Final = f"{PREFIX}_slo_info"

SERVICE: Final = "service"
OWNER: Final = "owner"
OBJECTIVE_LABEL: Final = "objective"
SLI_LABEL: Final = "sli"
SEVERITY: Final = "severity"
TIER: Final = "tier"
LONG: Final = "long"
SHORT: Final = "short"

ALERT_BURN: Final = "TemporalSloErrorBudgetBurn"
ALERT_EXHAUSTED: Final = "TemporalSloBudgetExhausted"

DASHBOARD_OVERVIEW: Final = "temporal-slo-overview"
DASHBOARD_DETAIL: Final = "temporal-slo-detail"
DASHBOARD_WORKFLOWS: Final = "temporal-slo-workflows"
DASHBOARD_WORKERS: Final = "temporal-slo-workers"
DASHBOARD_EXPORTER: Final = "temporal-slo-exporter"
DASHBOARD_SERVER: Final = "temporal-slo-server"
"""UIDs of the dashboards, which alert annotations link to."""
