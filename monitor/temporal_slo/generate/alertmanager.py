"""Alertmanager's configuration: who is told of what, and what is silent beside what."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

from temporal_slo import names
from temporal_slo.generate.receivers import Email, Opsgenie, PagerDuty, Receiver, Receivers, Slack, Webhook
from temporal_slo.generate.yaml_text import written
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.figures import lasting
from temporal_slo.spec.model import ActivitySuccess, ScheduleToStart

BLIND: Final = ("TemporalSloExporterDown", "TemporalSloNamespaceUnreachable", "TemporalSloExporterStale")
"""Alerts beside which all others of the namespace tell nothing."""

SEVERITIES: Final = ("page", "ticket")

WORKERS: Final = f"{ActivitySuccess.kind}|{ScheduleToStart.kind}"
"""SLIs that workers tell of themselves, and that are seen without an exporter."""

BURNS: Final = f'alertname="{names.ALERT_BURN}"'
SAME: Final = [names.SERVICE, names.SLO, names.NAMESPACE]


def render(receivers: Receivers, slos: Sequence[BoundSlo]) -> str:
    """Return the configuration; a function of its arguments."""
    grouped = [names.SERVICE, names.SLO, names.NAMESPACE, "alertname"]
    config = {
        "route": {
            "receiver": "ticket",
            "group_by": grouped,
            "group_wait": "10s",
            "group_interval": "1m",
            "repeat_interval": "12h",
            "routes": [{"matchers": ['severity="page"'], "receiver": "page", "repeat_interval": "1h"}],
        },
        "inhibit_rules": [*_inhibitions(slos)],
        "receivers": [{"name": name, **_configs(getattr(receivers, name))} for name in SEVERITIES],
    }
    return written(config)


def _inhibitions(slos: Sequence[BoundSlo]) -> Iterator[dict[str, list[str]]]:
    """Yield what is silent beside what: tickets beside pages, slower tiers beside faster, all beside blindness."""
    yield {
        "source_matchers": [BURNS, 'severity="page"'],
        "target_matchers": [f'alertname=~"{names.ALERT_BURN}|{names.ALERT_EXHAUSTED}"', 'severity="ticket"'],
        "equal": SAME,
    }
    for severity in SEVERITIES:
        yield from _slower(severity, slos)
    blind = "|".join(BLIND)
    yield {
        "source_matchers": [f'alertname=~"{blind}"'],
        "target_matchers": ['alertname=~"TemporalSlo.*"', f'alertname!~"{blind}"', f'{names.SLI_LABEL}!~"{WORKERS}"'],
        "equal": [names.NAMESPACE],
    }


def _slower(severity: str, slos: Sequence[BoundSlo]) -> Iterator[dict[str, list[str]]]:
    """Yield what silences, beside the tiers of one window, those of longer ones.

    By windows and not by names, which mean something else in each spec: so no two can silence one another.
    """
    tiers = (tier for slo in slos for tier in slo.tiers)
    windows: set[timedelta] = {tier.long for tier in tiers if tier.severity == severity}
    ordered = [lasting(window) for window in sorted(windows)]
    own = f'{names.SEVERITY}="{severity}"'
    for index, window in enumerate(ordered[:-1]):
        longer = "|".join(ordered[index + 1 :])
        yield {
            "source_matchers": [BURNS, own, f'{names.LONG}="{window}"'],
            "target_matchers": [BURNS, own, f'{names.LONG}=~"{longer}"'],
            "equal": SAME,
        }


def _configs(receivers: tuple[Receiver, ...]) -> dict[str, list[dict[str, Any]]]:
    configs: dict[str, list[dict[str, Any]]] = {}
    for receiver in receivers:
        for kind in receiver.model_fields_set:
            configs.setdefault(f"{kind}_configs", []).append(_config(getattr(receiver, kind)))
    return configs


def _config(way: PagerDuty | Opsgenie | Slack | Email | Webhook) -> dict[str, Any]:
    given = way.model_dump(by_alias=True, exclude_none=True)
    if isinstance(way, Webhook) and (file := given.pop("credentials_file", None)):
        # Alertmanager 0.25 reads no webhook URL from a file, but its credentials.
        given["http_config"] = {"authorization": {"type": "Bearer", "credentials_file": file}}
    return {**given, "send_resolved": True}
