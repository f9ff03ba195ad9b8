"""The state of each SLO as a number: the more urgent, the higher."""

from typing import Final

from temporal_slo import names
from temporal_slo.generate.dashboards.common import BLUE, GREEN, MATCH_NAMESPACE, ORANGE, PURPLE, RED, YELLOW, select
from temporal_slo.generate.kit import Annotation, Threshold, ValueMapping
from temporal_slo.promql import Matcher, selector
from temporal_slo.spec.burn import BASE_WINDOW
from temporal_slo.spec.formatting import duration_text
from temporal_slo.spec.model import ActivitySuccess, ScheduleToStart

SLO_LABELS: Final = f"{names.SLO}, {names.NAMESPACE}"
SLO_LEGEND: Final = f"{{{{{names.SLO}}}}} · {{{{{names.NAMESPACE}}}}}"

FIRING: Final = Matcher("alertstate", "=", "firing")
BURN_RATE_ALERT: Final = Matcher("alertname", "=", names.ALERT_BURN)
ANY_SLO: Final = Matcher(names.SLO, "=~", ".+")

WORKER_SLIS: Final = f"{ActivitySuccess.kind}|{ScheduleToStart.kind}"
"""Regular expression of the SLIs that are measured by workers instead of the exporter."""

STATE_MAPPINGS: Final = (
    ValueMapping(0, 0.99, "ok", GREEN),
    ValueMapping(1, 1.99, "insufficient data", BLUE),
    ValueMapping(2, 2.99, "no data", PURPLE),
    ValueMapping(3, 3.99, "slow burn", YELLOW),
    ValueMapping(4, 4.99, "budget exhausted", ORANGE),
    ValueMapping(5, 5.99, "fast burn", RED),
)
STATE_THRESHOLDS: Final = (
    Threshold(STATE_MAPPINGS[0].color),
    *(Threshold(mapping.color, mapping.low) for mapping in STATE_MAPPINGS[1:]),
)


def recorded(series: str, *matchers: Matcher) -> str:
    """Return a recorded series of the selected Temporal namespaces, one for each SLO."""
    return f"max by ({SLO_LABELS}) ({selector(series, MATCH_NAMESPACE, *matchers)})"


def firing_alerts(*matchers: Matcher) -> str:
    """Return the selector of firing alerts of SLOs."""
    return selector("ALERTS", FIRING, MATCH_NAMESPACE, ANY_SLO, *matchers)


def alert_annotation(*matchers: Matcher) -> Annotation:
    """Return the annotation of firing alerts of SLOs."""
    return Annotation(
        "Firing alerts",
        firing_alerts(*matchers),
        f"{{{{alertname}}}} {SLO_LEGEND}",
        RED,
        f"{{{{{names.SEVERITY}}}}} {{{{{names.TIER}}}}}",
    )


def slo_state(*matchers: Matcher) -> str:
    """Return the state of each SLO.

    The integer part is a state of `STATE_MAPPINGS`. The fraction is half the consumed share of the error budget and
    orders SLOs of the same state. "No data" is defined by `without_data`; "insufficient data" means that no events
    were counted.

    Args:
        matchers: Select the SLOs.
    """
    info = recorded(names.SLO_INFO, *matchers)
    page, ticket = (
        f"max by ({SLO_LABELS}) ({firing_alerts(BURN_RATE_ALERT, Matcher(names.SEVERITY, '=', severity), *matchers)})"
        for severity in ("page", "ticket")
    )
    states = (
        f"({page} * 0 + 5)",
        f"(({recorded(names.BUDGET_REMAINING, *matchers)} < 0) * 0 + 4)",
        f"({ticket} * 0 + 3)",
        f"({without_data(*matchers)} * 0 + 2)",
        f"(({info} unless {recorded(names.BUDGET_REMAINING, *matchers)}) * 0 + 1)",
        f"({info} * 0)",
    )
    consumed = f"(0.5 * clamp({recorded(names.PERIOD_BURN, *matchers)}, 0, 1) or {info} * 0)"
    return f"({' or '.join(states)}) + {consumed}"


def without_data(*matchers: Matcher) -> str:
    """Return the SLOs without data.

    SLOs measured by the exporter have no data if the exporter is down or cannot read Temporal: its counters do not
    change then, which looks like no traffic. A workflow type that never ran has no series either, but is not without
    data while the exporter is up. SLOs measured by workers have no data if their event rate is missing.

    Args:
        matchers: Select the SLOs.
    """
    up = f"max by ({names.NAMESPACE}) ({select(names.EXPORTER_UP)}) == 1"
    events = recorded(f"{names.EVENTS_RATE}{duration_text(BASE_WINDOW)}", *matchers)
    by_exporter, by_workers = (
        recorded(names.SLO_INFO, *matchers, Matcher(names.SLI_LABEL, operator, WORKER_SLIS))
        for operator in ("!~", "=~")
    )
    return f"(({by_exporter} unless on ({names.NAMESPACE}) ({up})) or ({by_workers} unless {events}))"
