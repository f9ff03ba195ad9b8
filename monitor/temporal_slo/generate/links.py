"""Where somebody who is woken looks next."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus, urlencode

from temporal_slo import names
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.events import BAD_STATUSES
from temporal_slo.spec.figures import seconds
from temporal_slo.spec.model import Latency, Overdue, Success

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
        grafana: Where the dashboards are.
        web: Temporal's Web UI.
        status: The status page, or None if there is none.
    """

    runbooks: str
    grafana: str
    web: str
    status: str | None = None

    def of(self, slo: BoundSlo, alert: str) -> dict[str, str]:
        """Return the annotations that lead on from an alert of *slo*."""
        query, namespace = visibility_query(slo), slo.temporal_namespace
        page = {"status_url": f"{self.status}/slos/{quote(namespace, safe='')}/{slo.name}"} if self.status else {}
        return {
            "runbook_url": self.runbook(alert),
            **page,
            "dashboard_url": self.board(names.DASHBOARD_DETAIL, {names.SLO: slo.name, names.NAMESPACE: namespace}),
            "executions_url": self.executions(namespace, quote_plus(query)),
            "executions_command": literal(
                f"temporal workflow list --namespace {shell(namespace)} --query {shell(query)}"
            ),
        }

    def runbook(self, alert: str) -> str:
        """Return where the runbook of *alert* is."""
        return f"{self.runbooks}#{alert.lower()}"

    def board(self, uid: str, variables: Mapping[str, str]) -> str:
        """Return where a dashboard is, with its variables filled in."""
        filled = urlencode({f"var-{name}": value for name, value in variables.items()})
        return f"{self.grafana}/d/{uid}" + (f"?{filled}" if filled else "")

    def executions(self, namespace: str, query: str) -> str:
        """Return where Temporal's Web UI lists what *query*, as it stands in URLs, finds."""
        return f"{self.web}/namespaces/{quote(namespace, safe='')}/workflows?query={query}"


def visibility_query(slo: BoundSlo) -> str:
    """Return the query of visibility for the runs that spent the budget of *slo*, as far as it can tell."""
    types = ", ".join(map(_quoted, slo.workflow_types))
    conditions = [f"WorkflowType IN ({types})"]
    if slo.task_queue:
        conditions.append(f"TaskQueue = {_quoted(slo.task_queue)}")
    return " AND ".join([*conditions, *_bad(slo)])


def _bad(slo: BoundSlo) -> list[str]:
    if isinstance(slo.sli, Success):
        return [f"ExecutionStatus IN ({', '.join(_quoted(TITLES[status]) for status in slo.sli.bad)})"]
    if isinstance(slo.sli, Latency):
        statuses = ", ".join(_quoted(TITLES[status]) for status in sorted(BAD_STATUSES))
        late = f"ExecutionDuration > {_quoted(f'{seconds(slo.sli.threshold)}s')}"
        # What ended badly is late, too; a bad outcome is in no query.
        return [f"({late} OR ExecutionStatus IN ({statuses}))"]
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
