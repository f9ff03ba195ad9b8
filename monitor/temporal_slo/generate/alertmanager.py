"""Alertmanager's configuration: routes, receivers and inhibition rules."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

from temporal_slo import names
from temporal_slo.generate.receivers import Email, Opsgenie, PagerDuty, Receiver, Receivers, Slack, Webhook
from temporal_slo.generate.yaml_text import dump
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.formatting import duration_text
from temporal_slo.spec.model import ActivitySuccess, ScheduleToStart

EXPORTER_FAILURES: Final = ("TemporalSloExporterDown", "TemporalSloNamespaceUnreachable", "TemporalSloExporterStale")
"""Alerts that inhibit all others of the Temporal namespace, whose data is missing or stale."""

SEVERITIES: Final = ("page", "ticket")

WORKER_SLIS: Final = f"{ActivitySuccess.kind}|{ScheduleToStart.kind}"
"""SLIs that workers expose themselves: they do not depend on the exporter."""

BURN_ALERTS: Final = f'alertname="{names.ALERT_BURN}"'
SLO_LABELS: Final = [names.SERVICE, names.SLO, names.NAMESPACE]


def render(receivers: Receivers, slos: Sequence[BoundSlo]) -> str:
    """Return the configuration as YAML; a pure function."""
    config = {
        "route": {
            "receiver": "ticket",
            "group_by": [*SLO_LABELS, "alertname"],
            "group_wait": "10s",
            "group_interval": "1m",
            "repeat_interval": "12h",
            "routes": [{"matchers": ['severity="page"'], "receiver": "page", "repeat_interval": "1h"}],
        },
        "inhibit_rules": [*_inhibit_rules(slos)],
        "receivers": [{"name": name, **_receiver_configs(getattr(receivers, name))} for name in SEVERITIES],
    }
    return dump(config)


def _inhibit_rules(slos: Sequence[BoundSlo]) -> Iterator[dict[str, list[str]]]:
    """Yield the rules: pages inhibit tickets, faster tiers slower ones, exporter failures what depends on it."""
    yield {
        "source_matchers": [BURN_ALERTS, 'severity="page"'],
        "target_matchers": [f'alertname=~"{names.ALERT_BURN}|{names.ALERT_EXHAUSTED}"', 'severity="ticket"'],
        "equal": SLO_LABELS,
    }
    for severity in SEVERITIES:
        yield from _slower_tiers(severity, slos)
    failures = "|".join(EXPORTER_FAILURES)
    yield {
        "source_matchers": [f'alertname=~"{failures}"'],
        "target_matchers": [
            'alertname=~"TemporalSlo.*"',
            f'alertname!~"{failures}"',
            f'{names.SLI_LABEL}!~"{WORKER_SLIS}"',
        ],
        "equal": [names.NAMESPACE],
    }


def _slower_tiers(severity: str, slos: Sequence[BoundSlo]) -> Iterator[dict[str, list[str]]]:
    """Yield, for each long window but the longest, the rule by which its alerts inhibit those of longer windows.

    Matched by window and not by tier name, which each spec may define differently: two alerts never inhibit each other.
    """
    tiers = (tier for slo in slos for tier in slo.tiers)
    windows: set[timedelta] = {tier.long for tier in tiers if tier.severity == severity}
    ascending = [duration_text(window) for window in sorted(windows)]
    same_severity = f'{names.SEVERITY}="{severity}"'
    for index, window in enumerate(ascending[:-1]):
        longer = "|".join(ascending[index + 1 :])
        yield {
            "source_matchers": [BURN_ALERTS, same_severity, f'{names.LONG}="{window}"'],
            "target_matchers": [BURN_ALERTS, same_severity, f'{names.LONG}=~"{longer}"'],
            "equal": SLO_LABELS,
        }


def _receiver_configs(receivers: tuple[Receiver, ...]) -> dict[str, list[dict[str, Any]]]:
    configs: dict[str, list[dict[str, Any]]] = {}
    for receiver in receivers:
        for kind in receiver.model_fields_set:
            configs.setdefault(f"{kind}_configs", []).append(_config(getattr(receiver, kind)))
    return configs


def _config(integration: PagerDuty | Opsgenie | Slack | Email | Webhook) -> dict[str, Any]:
    config = integration.model_dump(by_alias=True, exclude_none=True)
    if isinstance(integration, Webhook) and (file := config.pop("credentials_file", None)):
        # Alertmanager 0.25 cannot read a webhook URL from a file, but its credentials.
        config["http_config"] = {"authorization": {"type": "Bearer", "credentials_file": file}}
    return {**config, "send_resolved": True}
