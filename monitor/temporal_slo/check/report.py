"""Output of `temporal-slo check`, line by line; pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from temporal_slo.check.diagnosis import Diagnosis
from temporal_slo.check.loaded_rules import RuleState, RuleStatus
from temporal_slo.check.no_data_causes import Cause
from temporal_slo.check.printable import printable
from temporal_slo.check.scraping import Finding
from temporal_slo.check.selectors import Rule
from temporal_slo.check.temporal import NamespaceInfo

SELECTORS_MAX: Final = 3
"""Maximum number of selectors listed with one cause."""

CAUSES_MAX: Final = 40
EXPECTED_MAX: Final = 40
NAMES_MAX: Final = 4


@dataclass(slots=True)
class Report:
    """Everything that was found.

    Attributes:
        diagnoses: Of every selector; empty if Prometheus was not queried.
        events: Events in the last hour by subject of rules; None without data.
        findings: Other errors and warnings.
        namespaces: State of the Temporal namespaces.
        summaries: Further lines on what was checked.
        ignored: Number of rules that were skipped.
    """

    diagnoses: Sequence[Diagnosis] = ()
    events: Mapping[str, float | None] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    namespaces: Sequence[NamespaceInfo] = ()
    summaries: list[str] = field(default_factory=list)
    ignored: int = 0

    @property
    def ok(self) -> bool:
        """Whether no selector is without data unexpectedly, and there is no error."""
        return not any(own.cause for own in self.diagnoses) and not any(own.error for own in self.findings)


def lines(report: Report) -> Iterator[str]:
    """Yield the lines to print."""
    for line in _lines(report):
        yield printable(line)


def _lines(report: Report) -> Iterator[str]:
    yield from _table(report)
    yield from map(_namespace, report.namespaces)
    yield from report.summaries
    yield from _expected(report.diagnoses)
    yield from _without_data(report.diagnoses)
    for finding in sorted(report.findings, key=lambda own: not own.error):
        yield f"{'error' if finding.error else 'warning'}: {finding.what}; {finding.remedy}"
    yield _result(report)


def _table(report: Report) -> Iterator[str]:
    if not report.diagnoses:
        return
    rows: dict[str, list[Diagnosis]] = defaultdict(list)
    for diagnosis in report.diagnoses:
        for subject in dict.fromkeys(rule.subject for rule in diagnosis.used.rules):
            rows[subject].append(diagnosis)
    width = max(map(len, rows))
    yield f"{'rules of':{width}}  selectors with data  no data yet  events in the last hour"
    for subject, own in sorted(rows.items(), key=lambda row: (row[0] not in report.events, row[0])):
        with_data, expected = sum(one.has_data for one in own), sum(bool(one.appears_with) for one in own)
        share, events = f"{with_data} of {len(own)}", _event_count(report.events, subject)
        yield f"{subject:{width}}  {share:>19}  {expected or '-':>11}  {events:>23}"


def _event_count(events: Mapping[str, float | None], subject: str) -> str:
    # No data is not zero.
    value = events.get(subject)
    return "-" if value is None else f"{value:.0f}"


def _namespace(info: NamespaceInfo) -> str:
    if info.error:
        return f"Temporal namespace {info.name}: unknown"
    types = [f"workflow type {name}: {own.last_day} runs started in the last day" for name, own in info.types.items()]
    queues = [f"task queue {name}: {max(of.pollers for of in own)} pollers" for name, own in info.queues.items()]
    return f"Temporal namespace {info.name}: {'; '.join(types + queues)}"


def _expected(diagnoses: Sequence[Diagnosis]) -> Iterator[str]:
    grouped: dict[str, list[Diagnosis]] = defaultdict(list)
    for diagnosis in diagnoses:
        if diagnosis.appears_with:
            grouped[diagnosis.appears_with].append(diagnosis)
    for appears_with, own in list(grouped.items())[:EXPECTED_MAX]:
        yield f"no data yet (expected): appears with {appears_with}"
        yield from _selectors(own)
    if len(grouped) > EXPECTED_MAX:
        yield f"no data yet (expected): {len(grouped) - EXPECTED_MAX} more reasons"


def _without_data(diagnoses: Sequence[Diagnosis]) -> Iterator[str]:
    grouped: dict[Cause, list[Diagnosis]] = defaultdict(list)
    for diagnosis in diagnoses:
        if diagnosis.cause:
            grouped[diagnosis.cause].append(diagnosis)
    for cause, own in list(grouped.items())[:CAUSES_MAX]:
        yield f"no data: {cause}"
        yield from _selectors(own)
        yield f"    affects: {_rules([rule for diagnosis in own for rule in diagnosis.used.rules])}"
    if len(grouped) > CAUSES_MAX:
        yield f"no data: {len(grouped) - CAUSES_MAX} more causes"


def _selectors(own: Sequence[Diagnosis]) -> Iterator[str]:
    for diagnosis in own[:SELECTORS_MAX]:
        yield f"    {diagnosis.used.selector}"
    if len(own) > SELECTORS_MAX:
        yield f"    and {len(own) - SELECTORS_MAX} more"


def _rules(rules: Sequence[Rule]) -> str:
    return _listed(list(dict.fromkeys(f"{rule.name} of {rule.subject}" for rule in rules)))


def _listed(entries: Sequence[str]) -> str:
    listed = ", ".join(entries[:NAMES_MAX])
    return f"{listed}, and {len(entries) - NAMES_MAX} more" if len(entries) > NAMES_MAX else listed


def _result(report: Report) -> str:
    without_data = sum(bool(diagnosis.cause) for diagnosis in report.diagnoses)
    errors = sum(own.error for own in report.findings)
    ignored = f", {report.ignored} rules ignored" if report.ignored else ""
    if report.ok:
        return f"ok: every expected series has data{ignored}" if report.diagnoses else f"ok: no errors{ignored}"
    return f"failed: {without_data} selectors without data, {errors} other errors{ignored}"


def rule_findings(states: Mapping[Rule, RuleStatus]) -> Iterator[Finding]:
    """Yield the rules that are not loaded as generated, file by file."""
    files: dict[tuple[str, RuleState], list[tuple[Rule, str]]] = defaultdict(list)
    totals: dict[str, int] = defaultdict(int)
    for rule, (state, detail) in states.items():
        totals[rule.file] += 1
        files[rule.file, state].append((rule, detail))
    for (file, state), own in sorted(files.items()):
        if state is not RuleState.LOADED:
            yield _finding(file, state, own, totals[file])


def _finding(file: str, state: RuleState, own: Sequence[tuple[Rule, str]], total: int) -> Finding:
    listed = _listed(list(dict.fromkeys(f"{rule.name}{f' ({detail})' if detail else ''}" for rule, detail in own)))
    count = f"alerts/{file}: {len(own)} of {total} rules"
    if state is RuleState.MISSING:
        remedy = "add that file to rule_files, and reload Prometheus"
        return Finding(error=True, what=f"{count} are not loaded: {listed}", remedy=remedy)
    if state is RuleState.DIFFERS:
        remedy = "run `temporal-slo generate`, and reload Prometheus"
        return Finding(error=True, what=f"{count} are loaded in another version: {listed}", remedy=remedy)
    return Finding(error=True, what=f"{count} fail: {listed}", remedy="see the log of Prometheus")
