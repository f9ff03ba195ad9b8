"""Where somebody who is woken looks next."""

from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote, urlencode

from temporal_slo import names
from temporal_slo.spec.model import Latency, Overdue, Slo, Spec, Success

TITLES = {
    "failed": "Failed",
    "timed_out": "TimedOut",
    "canceled": "Canceled",
    "terminated": "Terminated",
    "bad_outcome": "Completed",
}
"""How visibility queries spell what may be bad; a bad outcome is in no query, so completed runs are listed."""


@dataclass(frozen=True, slots=True)
class Links:
    """Base URLs, without a slash at the end.

    Attributes:
        runbooks: Page with a heading for each alert.
        dashboard: Dashboard that takes the variables `slo` and `temporal_namespace`.
        web: Temporal's Web UI.
    """

    runbooks: str
    dashboard: str
    web: str

    def of(self, spec: Spec, slo: Slo, alert: str) -> dict[str, str]:
        """Return the annotations that lead on from an alert of *slo*."""
        query = visibility_query(slo)
        namespace = spec.temporal_namespace
        listed = f"{quote(namespace, safe='')}/workflows?{urlencode({'query': query})}"
        variables = urlencode({f"var-{names.SLO}": slo.name, f"var-{names.NAMESPACE}": namespace})
        return {
            "runbook_url": f"{self.runbooks}#{alert.lower()}",
            "dashboard_url": f"{self.dashboard}?{variables}",
            "executions_url": f"{self.web}/namespaces/{listed}",
            "executions_command": literal(
                f"temporal workflow list --namespace {shell(namespace)} --query {shell(query)}"
            ),
        }


def visibility_query(slo: Slo) -> str:
    """Return the query of visibility for the runs that spent the budget of *slo*, as far as it can tell."""
    types = ", ".join(map(_quoted, slo.workflow))
    conditions = [f"WorkflowType IN ({types})"]
    if slo.task_queue:
        conditions.append(f"TaskQueue = {_quoted(slo.task_queue)}")
    return " AND ".join([*conditions, *_bad(slo)])


def _bad(slo: Slo) -> list[str]:
    if isinstance(slo.sli, Success):
        return [f"ExecutionStatus IN ({', '.join(_quoted(TITLES[status]) for status in slo.sli.bad)})"]
    if isinstance(slo.sli, Latency):
        return [f"ExecutionDuration > {_quoted(f'{slo.sli.threshold / timedelta(seconds=1):g}s')}"]
    if isinstance(slo.sli, Overdue):
        return ["ExecutionStatus = 'Running'"]
    return []


def literal(text: str) -> str:
    """Return *text* so that Prometheus, which takes annotations for templates, shows it as it is."""
    return text.replace("{{", '{{ "{{" }}')


def shell(text: str) -> str:
    """Return *text* as one word of a shell."""
    plain = text.replace("'", "'\"'\"'")
    return f"'{plain}'"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
