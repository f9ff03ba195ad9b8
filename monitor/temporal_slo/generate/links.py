"""Links in alert annotations: runbook, status page, dashboard, affected runs in the Web UI."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus, urlencode

from temporal_slo import names
from temporal_slo.names.values import CANCELED, FAILED, TERMINATED, TIMED_OUT
from temporal_slo.spec.bound import BoundSlo
from temporal_slo.spec.events import run_events
from temporal_slo.spec.formatting import seconds_text
from temporal_slo.spec.model import Latency, Overdue, Success

EXECUTION_STATUS = {
    FAILED: "Failed",
    TIMED_OUT: "TimedOut",
    CANCELED: "Canceled",
    TERMINATED: "Terminated",
    "bad_outcome": "Completed",
}
"""`ExecutionStatus` in visibility queries by bad event; outcomes cannot be queried: all completed runs are listed."""


@dataclass(frozen=True, slots=True)
class Links:
    """Base URLs, without a trailing slash.

    Attributes:
        runbooks: Page with a heading for each alert.
        grafana: Grafana with the generated dashboards.
        web: Temporal's Web UI.
        status: Status page, or None without one.
    """

    runbooks: str
    grafana: str
    web: str
    status: str | None = None

    def of(self, slo: BoundSlo, alert: str) -> dict[str, str]:
        """Return the link annotations of the alert *alert* of *slo*."""
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
        """Return the URL of the runbook of *alert*."""
        return f"{self.runbooks}#{alert.lower()}"

    def board(self, uid: str, variables: Mapping[str, str]) -> str:
        """Return the URL of the dashboard *uid* with preset variables."""
        query = urlencode({f"var-{name}": value for name, value in variables.items()})
        return f"{self.grafana}/d/{uid}" + (f"?{query}" if query else "")

    def executions(self, namespace: str, query: str) -> str:
        """Return the URL of the Web UI's workflow list for *query*, which is URL-encoded already."""
        return f"{self.web}/namespaces/{quote(namespace, safe='')}/workflows?query={query}"


def visibility_query(slo: BoundSlo) -> str:
    """Return the visibility query for the bad events of *slo*; it matches good runs, too, if an outcome decides."""
    types = ", ".join(map(_quoted, slo.workflow_types))
    conditions = [f"WorkflowType IN ({types})"]
    if slo.task_queue:
        conditions.append(f"TaskQueue = {_quoted(slo.task_queue)}")
    return " AND ".join([*conditions, *_bad_events(slo)])


def _bad_events(slo: BoundSlo) -> list[str]:
    if isinstance(slo.sli, Success):
        return [f"ExecutionStatus IN ({', '.join(_quoted(EXECUTION_STATUS[status]) for status in slo.sli.bad)})"]
    if isinstance(slo.sli, Latency):
        slow = f"ExecutionStatus = 'Completed' AND ExecutionDuration > {_quoted(f'{seconds_text(slo.sli.threshold)}s')}"
        statuses = ", ".join(_quoted(EXECUTION_STATUS[status]) for status in run_events(slo.sli).bad_statuses)
        # Outcomes cannot be queried.
        return [f"({slow} OR ExecutionStatus IN ({statuses}))" if statuses else slow]
    if isinstance(slo.sli, Overdue):
        return ["ExecutionStatus = 'Running'"]
    return []


def literal(text: str) -> str:
    """Return *text* escaped for annotations and labels of alerts, which Prometheus expands as templates."""
    return text.replace("{{", '{{ "{{" }}')


def shell(text: str) -> str:
    """Return *text* quoted as one word of a shell command."""
    escaped = text.replace("'", "'\"'\"'")
    return f"'{escaped}'"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
