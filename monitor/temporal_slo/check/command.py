"""The command `temporal-slo check`."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from temporalio.envconfig import ClientConnectConfig

from temporal_slo import names
from temporal_slo.check.diagnosis import Diagnoser
from temporal_slo.check.loaded_rules import RuleState, RuleStatus, rule_states
from temporal_slo.check.printable import printable
from temporal_slo.check.prometheus import RECENT, PrometheusAccess, PrometheusClient, PrometheusError, Target
from temporal_slo.check.report import Report, lines, rule_findings
from temporal_slo.check.scraping import (
    RECOMMENDED_INTERVAL,
    Finding,
    interval_findings,
    retention_findings,
    shortest_window,
)
from temporal_slo.check.selectors import Rule, UsedSelector, generated_rules, slo_title, used_selectors
from temporal_slo.check.temporal import NamespaceInfo, TemporalInspector, namespace_findings
from temporal_slo.durations import parse_duration
from temporal_slo.errors import TemporalSloError, UsageError
from temporal_slo.names import server
from temporal_slo.promql import event_rate
from temporal_slo.spec.bound import BoundSlo, LoadedSpecs
from temporal_slo.spec.formatting import duration_text
from temporal_slo.spec.load import load
from temporal_slo.temporal.connection import Connection

PROMETHEUS: Final = "prometheus"
TEMPORAL: Final = "temporal"
SYSTEMS: Final = (PROMETHEUS, TEMPORAL)
HOUR: Final = timedelta(hours=1)

Print = Callable[[str], None]


@dataclass(frozen=True, slots=True, repr=False)
class CheckSettings:
    """Settings of `temporal-slo check`; without a repr, because the connection may hold a secret.

    Attributes:
        paths: Files and directories of SLO specs.
        access: Address and credentials of Prometheus.
        connection: How to connect to Temporal.
        timeout: Timeout of each request.
        namespace: Temporal namespace whose specs are checked; None for all.
        ignored: Names of alerts and recorded series to skip.
        systems: Systems to query, of SYSTEMS.
    """

    paths: Sequence[Path]
    access: PrometheusAccess
    connection: ClientConnectConfig
    timeout: timedelta
    namespace: str | None = None
    ignored: Collection[str] = ()
    systems: Collection[str] = SYSTEMS


async def run(settings: CheckSettings, show: Print) -> bool:
    """Check, print the report, and return whether there are no errors.

    Raises:
        UsageError: A spec is invalid, there is none, or a rule to ignore does not exist.
        TemporalSloError: No system answers.
    """
    specs = _specs(settings)
    rules = generated_rules(specs)
    checked = _not_ignored(rules, settings.ignored)
    report = Report(ignored=len(rules) - len(checked))
    report.namespaces = await _check_temporal(settings, specs) if TEMPORAL in settings.systems else ()
    for info in report.namespaces:
        report.findings += namespace_findings(info)
    if PROMETHEUS in settings.systems:
        await _check_prometheus(settings, specs, checked, report)
    elif report.namespaces and all(info.unreachable for info in report.namespaces):
        raise TemporalSloError(_temporal_error(report.namespaces))
    for line in lines(report):
        show(line)
    return report.ok


def _specs(settings: CheckSettings) -> LoadedSpecs:
    specs = load(settings.paths)
    if settings.namespace is not None:
        specs = LoadedSpecs(spec for spec in specs if spec.temporal_namespace == settings.namespace)
        if not specs:
            what = f"no spec has the Temporal namespace {settings.namespace!r}"
            raise UsageError("--temporal-namespace", what, "correct it, or omit it to check all")
    if not specs:
        raise UsageError("PATH", "contains no spec", "give the files or directories of your specs")
    return specs


def _not_ignored(rules: Sequence[Rule], ignored: Collection[str]) -> tuple[Rule, ...]:
    known = {rule.name for rule in rules}
    for name in ignored:
        if name not in known:
            raise UsageError("--ignore", f"no rule of these specs is named {name!r}", "give the name of an alert")
    return tuple(rule for rule in rules if rule.name not in ignored)


async def _check_temporal(settings: CheckSettings, specs: LoadedSpecs) -> list[NamespaceInfo]:
    connection = await Connection.lazy(settings.connection)
    inspector = TemporalInspector(connection.client, settings.timeout)
    found: list[NamespaceInfo] = []
    for name in dict.fromkeys(spec.temporal_namespace for spec in specs):
        # All namespaces are on one server: after one timeout the others need no request.
        unreachable = next((other for other in found if other.unreachable), None)
        found.append(
            NamespaceInfo(name, error=unreachable.error, unreachable=True)
            if unreachable
            else await inspector.namespace(name, specs.of_namespace(name))
        )
    return found


def _temporal_error(namespaces: Sequence[NamespaceInfo]) -> str:
    return printable(f"Temporal: {next(info.error for info in namespaces if info.unreachable)}")


async def _check_prometheus(settings: CheckSettings, specs: LoadedSpecs, rules: Sequence[Rule], report: Report) -> None:
    prometheus = PrometheusClient(settings.access)
    try:
        await _query_prometheus(prometheus, specs, rules, report)
    except PrometheusError as error:
        if all(info.unreachable for info in report.namespaces):
            also = f"; {_temporal_error(report.namespaces)}" if report.namespaces else ""
            raise TemporalSloError(f"{error}{also}") from error
        remedy = "see --prometheus and --prometheus-token-file; series and rules could not be verified"
        report.findings.append(Finding(error=True, what=str(error), remedy=remedy))
    finally:
        await prometheus.close()


async def _query_prometheus(
    prometheus: PrometheusClient, specs: LoadedSpecs, rules: Sequence[Rule], report: Report
) -> None:
    loaded = await prometheus.rules()
    states = {} if loaded is None else rule_states(rules, loaded)
    targets = await prometheus.targets()
    used = used_selectors(rules, specs.slos)
    types = {(info.name, name): of_type for info in report.namespaces for name, of_type in info.types.items()}
    report.diagnoses = await Diagnoser(prometheus, specs.slos, used, states, targets, types).diagnose()
    report.events = {subject: await prometheus.value(query) for subject, query in _event_queries(specs.slos)}
    own_targets = await _own_targets(prometheus, used, targets)
    retention = await prometheus.retention()
    report.findings += rule_findings(states)
    report.findings += interval_findings(own_targets, shortest_window(specs.slos))
    report.findings += retention_findings(specs, retention)
    report.findings += _unverified(own_targets, rules_known=loaded is not None)
    report.summaries.append(_summary(states, own_targets, retention, prometheus.requests))


def _unverified(own_targets: Sequence[Target], *, rules_known: bool) -> Iterator[Finding]:
    """Yield a warning for everything that the store does not report."""
    if not any(target.interval for target in own_targets):
        what = "scrape interval of the temporal-slo targets is unknown"
        remedy = f"ensure that it is {duration_text(RECOMMENDED_INTERVAL)} or less; detection takes up to {RECENT}"
        yield Finding(error=False, what=what, remedy=remedy)
    if not rules_known:
        what = "this store does not report loaded rules"
        yield Finding(error=False, what=what, remedy="ensure that its ruler has loaded them")


def _event_queries(slos: Sequence[BoundSlo]) -> Iterator[tuple[str, str]]:
    """Yield the subject of each SLO's rules, and the query for its events in the last hour."""
    for slo in slos:
        subject = slo_title(slo.service, slo.name, slo.temporal_namespace)
        yield subject, f"{event_rate(slo, HOUR)} * {HOUR.total_seconds():g}"


async def _own_targets(
    prometheus: PrometheusClient, used: Sequence[UsedSelector], targets: Sequence[Target] | None
) -> list[Target]:
    """Return the targets that the used series are scraped from, with their scrape intervals."""
    if targets is None:
        return await _targets_from_samples(prometheus)
    metrics = sorted({own.selector.metric for own in used if ":" not in own.selector.metric})
    pattern = "|".join(metrics)
    rows = await prometheus.query(f'count by (job, instance) ({{__name__=~"{pattern}"}})')
    scraped = {(row.labels.get("job", ""), row.labels.get("instance", "")) for row in rows}
    found = [target for target in targets if (target.job, target.instance) in scraped]
    # A store that receives remote writes lists no targets, or only its own.
    return found if any(target.interval for target in found) else await _targets_from_samples(prometheus) or found


async def _targets_from_samples(prometheus: PrometheusClient) -> list[Target]:
    """Return targets with scrape intervals computed from the number of recent samples."""
    found = []
    for metric in (names.EXPORTER_UP.sample, names.WORKER_INFO.sample, server.SERVICE_REQUESTS.name):
        # A series younger than the window has fewer samples, whatever its interval.
        full = f"count_over_time({metric}[{RECENT}]) and {metric} offset {RECENT}"
        for row in await prometheus.query(f"min by (job, instance) ({full})"):
            interval = parse_duration(RECENT) / row.value
            found.append(Target(row.labels.get("job", ""), row.labels.get("instance", ""), interval=interval))
    return found


def _summary(
    states: Mapping[Rule, RuleStatus], own_targets: Sequence[Target], retention: str | None, requests: int
) -> str:
    intervals = sorted({target.interval for target in own_targets if target.interval})
    scraped = f"scraped every {', '.join(map(duration_text, intervals))}" if intervals else "scrape interval unknown"
    loaded = sum(state is RuleState.LOADED for state, _ in states.values())
    return (
        f"Prometheus: {loaded} of {len(states)} rules loaded, {len(own_targets)} temporal-slo targets {scraped}, "
        f"retention {retention or 'unknown'}; {requests} requests"
    )
