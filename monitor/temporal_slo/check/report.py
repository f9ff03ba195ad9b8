"""What the check says, line by line; pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from temporal_slo.check.judge import Verdict
from temporal_slo.check.loaded_rules import State
from temporal_slo.check.scraping import Finding
from temporal_slo.check.selectors import Rule
from temporal_slo.check.temporal import Namespace
from temporal_slo.check.text import plain

SAME_MAX: Final = 3
"""Selectors that are shown of those with which the same is the matter."""

CAUSES_MAX: Final = 40
UNSEEN_MAX: Final = 40
NAMES_MAX: Final = 4


@dataclass(slots=True)
class Report:
    """All that was found.

    Attributes:
        verdicts: Of every selector; none if Prometheus was not asked.
        events: Events in the last hour by what rules are about; None where there is no figure.
        findings: What else is not as it should be.
        namespaces: What Temporal told.
        facts: Further lines that tell what was looked at.
        ignored: Rules that were left out.
    """

    verdicts: Sequence[Verdict] = ()
    events: Mapping[str, float | None] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    namespaces: Sequence[Namespace] = ()
    facts: list[str] = field(default_factory=list)
    ignored: int = 0

    @property
    def well(self) -> bool:
        """Whether nothing is dead, and there is no fault."""
        return not any(verdict.cause for verdict in self.verdicts) and not any(own.fault for own in self.findings)


def lines(report: Report) -> Iterator[str]:
    """Yield what to print."""
    for line in _lines(report):
        yield plain(line)


def _lines(report: Report) -> Iterator[str]:
    yield from _table(report)
    yield from map(_namespace, report.namespaces)
    yield from report.facts
    yield from _unseen(report.verdicts)
    yield from _dead(report.verdicts)
    for finding in sorted(report.findings, key=lambda own: not own.fault):
        yield f"{'fault' if finding.fault else 'warning'}: {finding.what}; {finding.remedy}"
    yield _sum(report)


def _table(report: Report) -> Iterator[str]:
    if not report.verdicts:
        return
    rows: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in report.verdicts:
        for about in dict.fromkeys(rule.about for rule in verdict.uses.rules):
            rows[about].append(verdict)
    width = max(map(len, rows))
    yield f"{'SLO':{width}}  selectors alive  not yet seen  events in an hour"
    for about, own in sorted(rows.items(), key=lambda row: (row[0] not in report.events, row[0])):
        alive, unseen = sum(one.alive for one in own), sum(bool(one.appears) for one in own)
        there, figure = f"{alive} of {len(own)}", _figure(report.events, about)
        yield f"{about:{width}}  {there:>15}  {unseen or '-':>12}  {figure:>17}"


def _figure(events: Mapping[str, float | None], about: str) -> str:
    # No data is not zero.
    value = events.get(about)
    return "-" if value is None else f"{value:.0f}"


def _namespace(found: Namespace) -> str:
    if found.trouble:
        return f"Temporal namespace {found.name}: not known"
    types = [f"{kind} {facts.last_day} runs in the last day" for kind, facts in found.types.items()]
    queues = [f"task queue {queue} {max(of.pollers for of in facts)} pollers" for queue, facts in found.queues.items()]
    return f"Temporal namespace {found.name}: {'; '.join(types + queues)}"


def _unseen(verdicts: Sequence[Verdict]) -> Iterator[str]:
    grouped: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.appears:
            grouped[verdict.appears].append(verdict)
    for appears, own in list(grouped.items())[:UNSEEN_MAX]:
        yield f"not yet seen: appears with {appears}"
        yield from _selectors(own)
    if len(grouped) > UNSEEN_MAX:
        yield f"not yet seen, for {len(grouped) - UNSEEN_MAX} reasons more"


def _dead(verdicts: Sequence[Verdict]) -> Iterator[str]:
    grouped: dict[tuple[str, str, str], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.cause:
            grouped[verdict.cause].append(verdict)
    for (kind, what, remedy), own in list(grouped.items())[:CAUSES_MAX]:
        yield f"dead: {kind}: {what}; {remedy}"
        yield from _selectors(own)
        yield f"    blind: {_rules([rule for verdict in own for rule in verdict.uses.rules])}"
    if len(grouped) > CAUSES_MAX:
        yield f"dead for {len(grouped) - CAUSES_MAX} causes more"


def _selectors(own: Sequence[Verdict]) -> Iterator[str]:
    for verdict in own[:SAME_MAX]:
        yield f"    {verdict.uses.selector}"
    if len(own) > SAME_MAX:
        yield f"    and {len(own) - SAME_MAX} more"


def _rules(rules: Sequence[Rule]) -> str:
    told = list(dict.fromkeys(f"{rule.name} of {rule.about}" for rule in rules))
    shown = ", ".join(told[:NAMES_MAX])
    return f"{shown}, and {len(told) - NAMES_MAX} more" if len(told) > NAMES_MAX else shown


def _sum(report: Report) -> str:
    dead = sum(bool(verdict.cause) for verdict in report.verdicts)
    faults = sum(own.fault for own in report.findings)
    left_out = f", {report.ignored} rules left out" if report.ignored else ""
    if report.well:
        return f"all is well: no selector is dead{left_out}" if report.verdicts else f"no fault was found{left_out}"
    return f"{dead} dead selectors, {faults} other faults{left_out}"


def rule_findings(states: Mapping[Rule, tuple[State, str]]) -> Iterator[Finding]:
    """Yield which rules are not loaded as the specs make them, file by file."""
    files: dict[tuple[str, State], list[tuple[Rule, str]]] = defaultdict(list)
    totals: dict[str, int] = defaultdict(int)
    for rule, (state, told) in states.items():
        totals[rule.file] += 1
        files[rule.file, state].append((rule, told))
    for (file, state), own in sorted(files.items()):
        if state is not State.LOADED:
            yield _finding(file, state, own, totals[file])


def _finding(file: str, state: State, own: Sequence[tuple[Rule, str]], total: int) -> Finding:
    told = list(dict.fromkeys(f"{rule.name}{f' ({why})' if why else ''}" for rule, why in own))
    shown = ", ".join(told[:NAMES_MAX]) + (f", and {len(told) - NAMES_MAX} more" if len(told) > NAMES_MAX else "")
    many = f"alerts/{file}: {len(own)} of {total} rules"
    if state is State.MISSING:
        return Finding(
            fault=True, what=f"{many} are not loaded: {shown}", remedy="load that file (rule_files), and reload"
        )
    if state is State.DIFFERS:
        what = f"{many} are loaded in another version: {shown}"
        return Finding(fault=True, what=what, remedy="run `temporal-slo generate`, and have Prometheus reload")
    return Finding(fault=True, what=f"{many} fail: {shown}", remedy="see the log of Prometheus")
