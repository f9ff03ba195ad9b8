"""The state of SLOs as one number each, the most urgent the highest."""

from typing import Final

from temporal_slo import names
from temporal_slo.generate.dashboards.common import BAD, GOOD, HIGH, OF_NAMESPACE, WARN
from temporal_slo.generate.kit import Annotation, Step, Words
from temporal_slo.names import Family
from temporal_slo.promql import Matcher, selector
from temporal_slo.spec.burn import BASE
from temporal_slo.spec.figures import lasting
from temporal_slo.spec.model import ActivitySuccess, ScheduleToStart

KEYS: Final = f"{names.SLO}, {names.NAMESPACE}"

LEGEND: Final = f"{{{{{names.SLO}}}}} · {{{{{names.NAMESPACE}}}}}"

FIRING: Final = Matcher("alertstate", "=", "firing")
BURNS: Final = Matcher("alertname", "=", names.ALERT_BURN)
OF_AN_SLO: Final = Matcher(names.SLO, "=~", ".+")

OF_WORKERS: Final = f"{ActivitySuccess.kind}|{ScheduleToStart.kind}"

WORDS: Final = (
    Words(0, 0.99, "ok", GOOD),
    Words(1, 1.99, "insufficient data", "blue"),
    Words(2, 2.99, "no data", "purple"),
    Words(3, 3.99, "burning", WARN),
    Words(4, 4.99, "overspent", HIGH),
    Words(5, 5.99, "burning fast", BAD),
)
STEPS: Final = (Step(WORDS[0].color), *(Step(one.color, one.low) for one in WORDS[1:]))


def chosen(series: str, *matchers: Matcher) -> str:
    """Return a recorded series of the Temporal namespaces that the reader has chosen, one for each SLO."""
    return f"max by ({KEYS}) ({selector(series, OF_NAMESPACE, *matchers)})"


def alerting(*matchers: Matcher) -> str:
    """Return the selector of SLOs' alerts that fire."""
    return selector("ALERTS", FIRING, OF_NAMESPACE, OF_AN_SLO, *matchers)


def firing(*matchers: Matcher) -> Annotation:
    """Return marks where an alert of an SLO fires."""
    return Annotation(
        "Alerts that fire",
        alerting(*matchers),
        f"{{{{alertname}}}} {LEGEND}",
        BAD,
        f"{{{{{names.SEVERITY}}}}} {{{{{names.TIER}}}}}",
    )


def state(*matchers: Matcher) -> str:
    """Return the state of each SLO: a whole number that `WORDS` names, and a part of one: what is spent.

    No data is what is `blind`. Insufficient is where something is known, and nothing happened that would count.

    Args:
        matchers: Which SLOs.
    """
    info = chosen(names.SLO_INFO, *matchers)
    page, ticket = (
        f"max by ({KEYS}) ({alerting(BURNS, Matcher(names.SEVERITY, '=', severity), *matchers)})"
        for severity in ("page", "ticket")
    )
    states = (
        f"({page} * 0 + 5)",
        f"(({chosen(names.BUDGET_REMAINING, *matchers)} < 0) * 0 + 4)",
        f"({ticket} * 0 + 3)",
        f"({blind(*matchers)} * 0 + 2)",
        f"(({info} unless {chosen(names.BUDGET_REMAINING, *matchers)}) * 0 + 1)",
        f"({info} * 0)",
    )
    spent = f"(0.5 * clamp({chosen(names.PERIOD_BURN, *matchers)}, 0, 1) or {info} * 0)"
    return f"({' or '.join(states)}) + {spent}"


def blind(*matchers: Matcher) -> str:
    """Return the SLOs that nothing is known of.

    The exporter tells nothing, or cannot read Temporal: its last counts stand still then, and look like a shop without
    customers. A workflow type that never ran has no series either, but where the exporter is well that is known. Of
    what workers tell there is nothing without them.

    Args:
        matchers: Which SLOs.
    """
    well = f"max by ({names.NAMESPACE}) ({_of(names.EXPORTER_UP)}) == 1"
    told = chosen(f"{names.EVENTS_RATE}{lasting(BASE)}", *matchers)
    mirrored, worked = (
        chosen(names.SLO_INFO, *matchers, Matcher(names.SLI_LABEL, operator, OF_WORKERS)) for operator in ("!~", "=~")
    )
    return f"(({mirrored} unless on ({names.NAMESPACE}) ({well})) or ({worked} unless {told}))"


def _of(family: Family) -> str:
    return selector(family.sample, Matcher("job", "=~", "$job"), OF_NAMESPACE)
