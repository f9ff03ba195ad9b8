"""The command `temporal-slo check`."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from temporalio.envconfig import ClientConnectConfig

from temporal_slo import names
from temporal_slo.check.judge import Judge
from temporal_slo.check.loaded_rules import State, states
from temporal_slo.check.prometheus import LATELY, Access, Prometheus, PrometheusError, Target
from temporal_slo.check.report import Report, lines, rule_findings
from temporal_slo.check.scraping import USUAL, Finding, retention, scrapes, shortest
from temporal_slo.check.selectors import Rule, Uses, rules_of, slo_title, uses_of
from temporal_slo.check.temporal import Namespace, Temporal, findings
from temporal_slo.check.text import plain
from temporal_slo.durations import parse_duration
from temporal_slo.errors import TemporalSloError, UsageError
from temporal_slo.names import server
from temporal_slo.promql import sli_rates
from temporal_slo.spec.bound import BoundSlo, LoadedSpecs
from temporal_slo.spec.formatting import duration_text
from temporal_slo.spec.load import load
from temporal_slo.temporal.connection import Connection

PROMETHEUS: Final = "prometheus"
TEMPORAL: Final = "temporal"
BOTH: Final = (PROMETHEUS, TEMPORAL)
HOUR: Final = timedelta(hours=1)

Print = Callable[[str], None]


@dataclass(frozen=True, slots=True, repr=False)
class CheckSettings:
    """What `temporal-slo check` runs with; has no repr, because the connection may hold a secret.

    Attributes:
        paths: Files and folders of SLO specs.
        access: How to reach Prometheus.
        connection: How to reach Temporal.
        timeout: For each request.
        namespace: The only Temporal namespace whose specs are checked; None for all.
        ignored: Names of alerts and recorded series that are left out.
        asked: Who is asked, of BOTH.
    """

    paths: Sequence[Path]
    access: Access
    connection: ClientConnectConfig
    timeout: timedelta
    namespace: str | None = None
    ignored: Collection[str] = ()
    asked: Collection[str] = BOTH


async def run(settings: CheckSettings, show: Print) -> bool:
    """Check, print what was found, and return whether all is well.

    Raises:
        UsageError: A spec is bad, there is none, or what is to be left out is none of its rules.
        TemporalSloError: Nobody who is asked answers.
    """
    specs = _specs(settings)
    rules = rules_of(specs)
    kept = _kept(rules, settings.ignored)
    report = Report(ignored=len(rules) - len(kept))
    report.namespaces = await _temporal(settings, specs) if TEMPORAL in settings.asked else ()
    for found in report.namespaces:
        report.findings += findings(found)
    if PROMETHEUS in settings.asked:
        await _prometheus(settings, specs, kept, report)
    elif report.namespaces and all(found.away for found in report.namespaces):
        raise TemporalSloError(_away(report.namespaces))
    for line in lines(report):
        show(line)
    return report.well


def _specs(settings: CheckSettings) -> LoadedSpecs:
    specs = load(settings.paths)
    if settings.namespace is not None:
        specs = LoadedSpecs(spec for spec in specs if spec.temporal_namespace == settings.namespace)
        if not specs:
            what = f"no spec is of the Temporal namespace {settings.namespace!r}"
            raise UsageError("--temporal-namespace", what, "correct it, or leave it out to check all")
    if not specs:
        raise UsageError("PATH", "names no spec", "give the files or folders of your specs")
    return specs


def _kept(rules: Sequence[Rule], ignored: Collection[str]) -> tuple[Rule, ...]:
    known = {rule.name for rule in rules}
    for name in ignored:
        if name not in known:
            raise UsageError("--ignore", f"no rule of these specs is named {name!r}", "give the name of an alert")
    return tuple(rule for rule in rules if rule.name not in ignored)


async def _temporal(settings: CheckSettings, specs: LoadedSpecs) -> list[Namespace]:
    connection = await Connection.lazy(settings.connection)
    temporal = Temporal(connection.client, settings.timeout)
    found: list[Namespace] = []
    for name in dict.fromkeys(spec.temporal_namespace for spec in specs):
        # Where nobody answers, nobody need be asked again.
        away = next((other for other in found if other.away), None)
        found.append(
            Namespace(name, trouble=away.trouble, away=True)
            if away
            else await temporal.namespace(name, specs.of_namespace(name))
        )
    return found


def _away(namespaces: Sequence[Namespace]) -> str:
    return plain(f"Temporal: {next(found.trouble for found in namespaces if found.away)}")


async def _prometheus(settings: CheckSettings, specs: LoadedSpecs, rules: Sequence[Rule], report: Report) -> None:
    prometheus = Prometheus(settings.access)
    try:
        await _ask(prometheus, specs, rules, report)
    except PrometheusError as error:
        if all(found.away for found in report.namespaces):
            also = f"; {_away(report.namespaces)}" if report.namespaces else ""
            raise TemporalSloError(f"{error}{also}") from error
        remedy = "see --prometheus and --prometheus-token-file; of series and rules nothing is known"
        report.findings.append(Finding(fault=True, what=str(error), remedy=remedy))
    finally:
        await prometheus.close()


async def _ask(prometheus: Prometheus, specs: LoadedSpecs, rules: Sequence[Rule], report: Report) -> None:
    loaded = await prometheus.rules()
    standing = {} if loaded is None else states(rules, loaded)
    targets = await prometheus.targets()
    uses = uses_of(rules, specs.slos)
    types = {(found.name, kind): facts for found in report.namespaces for kind, facts in found.types.items()}
    report.verdicts = await Judge(prometheus, specs.slos, uses, standing, targets, types).verdicts()
    report.events = {about: await prometheus.value(query) for about, query in _events(specs.slos)}
    ours = await _ours(prometheus, uses, targets)
    told = await prometheus.retention()
    report.findings += [*rule_findings(standing), *scrapes(ours, shortest(specs.slos)), *retention(specs, told)]
    if not any(target.interval for target in ours):
        what = "how often our metrics are scraped is not known"
        remedy = f"see to it that they are every {duration_text(USUAL)} or more often; it may take {LATELY} to be seen"
        report.findings.append(Finding(fault=False, what=what, remedy=remedy))
    if loaded is None:
        what = "this store does not tell which rules are loaded"
        report.findings.append(Finding(fault=False, what=what, remedy="see to it that its ruler has them"))
    report.facts.append(_looked(standing, ours, told, prometheus.requests))


def _events(slos: Sequence[BoundSlo]) -> Iterator[tuple[str, str]]:
    """Yield what the rules of each SLO are about, and the query of its events in the last hour."""
    for slo in slos:
        about = slo_title(slo.service, slo.name, slo.temporal_namespace)
        yield about, f"{sli_rates(slo, HOUR).events} * {HOUR.total_seconds():g}"


async def _ours(prometheus: Prometheus, uses: Sequence[Uses], targets: Sequence[Target] | None) -> list[Target]:
    """Return the targets that our series come from, with the intervals in which they are scraped."""
    if targets is None:
        return await _counted(prometheus)
    metrics = sorted({own.selector.metric for own in uses if ":" not in own.selector.metric})
    pattern = "|".join(metrics)
    rows = await prometheus.query(f'count by (job, instance) ({{__name__=~"{pattern}"}})')
    from_there = {(row.labels.get("job", ""), row.labels.get("instance", "")) for row in rows}
    found = [target for target in targets if (target.job, target.instance) in from_there]
    # Who is written to by others, who scrape, has a list of targets that is empty, or is of something else.
    return found if any(target.interval for target in found) else await _counted(prometheus) or found


async def _counted(prometheus: Prometheus) -> list[Target]:
    """Return targets whose intervals are reckoned from the samples of the last minutes."""
    found = []
    for metric in (names.EXPORTER_UP.sample, names.WORKER_INFO.sample, server.SERVICE_REQUESTS.name):
        # What has been scraped for less than that has fewer samples, however often it is scraped.
        full = f"count_over_time({metric}[{LATELY}]) and {metric} offset {LATELY}"
        for row in await prometheus.query(f"min by (job, instance) ({full})"):
            every = parse_duration(LATELY) / row.value
            found.append(Target(row.labels.get("job", ""), row.labels.get("instance", ""), interval=every))
    return found


def _looked(
    standing: dict[Rule, tuple[State, str]], targets: Sequence[Target], retained: str | None, requests: int
) -> str:
    intervals = sorted({target.interval for target in targets if target.interval})
    every = ", ".join(map(duration_text, intervals)) or "not known"
    there = sum(state is State.LOADED for state, _ in standing.values())
    return (
        f"Prometheus: {there} of {len(standing)} rules loaded, {len(targets)} targets of ours scraped every {every}, "
        f"samples kept for {retained or 'not known'}; {requests} requests"
    )
