"""Diagnoses every selector: with data, without data and why, or not expected to have data yet."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from temporal_slo.check import evidence
from temporal_slo.check.expected_series import expected_absence, source_selector, witness_selector
from temporal_slo.check.loaded_rules import RuleState, RuleStatus
from temporal_slo.check.no_data_causes import DEPENDS_ON, AwaitsRun, Cause, WorkflowTypes, likely_cause
from temporal_slo.check.prometheus import PrometheusClient, Target
from temporal_slo.check.selectors import Rule, Selector, UsedSelector
from temporal_slo.spec.bound import BoundSlo

NEVER_EXPECTED: Final = frozenset(
    {
        "exported label",
        "renamed label",
        "sanitised value",
        "renamed metric",
        "bucket bound missing",
        "misspelt",
        "no such type",
    }
)
"""Causes that are errors even where an absence is expected: the data exists under another name."""

EXAMINED_MAX: Final = 200
"""Maximum number of selectors without data that are examined."""


class Diagnosis(NamedTuple):
    """State of a selector.

    Attributes:
        used: The selector, and the rules that use it.
        cause: Why it has no data; None if it has, or need not.
        appears_with: Event with which its series appear; empty if they exist, or should.
    """

    used: UsedSelector
    cause: Cause | None = None
    appears_with: str = ""

    @property
    def has_data(self) -> bool:
        """Whether the selector matches series now."""
        return self.cause is None and not self.appears_with


@dataclass(slots=True)
class Diagnoser:
    """Diagnoses selectors, each once.

    Args:
        prometheus: Prometheus to query.
        slos: All SLOs of the specs.
        used: All selectors of all rules.
        states: Status of each rule in Prometheus; empty if unknown.
        targets: Scrape targets; None if unknown.
        types: Workflow types in Temporal.
    """

    prometheus: PrometheusClient
    slos: Sequence[BoundSlo]
    used: Sequence[UsedSelector]
    states: Mapping[Rule, RuleStatus]
    targets: Sequence[Target] | None
    types: WorkflowTypes
    _done: dict[Selector, Diagnosis] = field(init=False, default_factory=dict)
    _recording_rules: dict[str, list[Rule]] = field(init=False)
    _examined: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Index the recording rules by the series that they record."""
        self._recording_rules = defaultdict(list)
        # A rule that records a constant uses no selector.
        for rule in dict.fromkeys([*(rule for used in self.used for rule in used.rules), *self.states]):
            if not rule.is_alert:
                self._recording_rules[rule.name].append(rule)

    async def diagnose(self) -> list[Diagnosis]:
        """Return the diagnosis of each selector.

        Raises:
            PrometheusError: A request failed.
        """
        found = await asyncio.gather(*(evidence.has_data(self.prometheus, used.selector) for used in self.used))
        self._done = {used.selector: Diagnosis(used) for used, has in zip(self.used, found, strict=True) if has}
        return [await self._diagnosis(used) for used in self.used]

    async def _diagnosis(self, used: UsedSelector) -> Diagnosis:
        if used.selector not in self._done:
            self._done[used.selector] = await self._without_data(used)
        return self._done[used.selector]

    async def _without_data(self, used: UsedSelector) -> Diagnosis:
        if not used.required:
            return Diagnosis(used, appears_with="the series whose absence the rule alerts on")
        rules = self._recorded_by(used.selector)
        return await (self._recorded(used, rules) if rules else self._scraped(used))

    def _recorded_by(self, selector: Selector) -> list[Rule]:
        wanted = [(own.label, own.value) for own in selector.matchers if own.operator == "="]
        # A label that the rule does not set may come from its expression.
        return [
            rule
            for rule in self._recording_rules.get(selector.metric, ())
            if all(dict(rule.labels).get(label, value) == value for label, value in wanted)
        ]

    async def _scraped(self, used: UsedSelector) -> Diagnosis:
        selector = used.selector
        self._examined += 1
        if self._examined > EXAMINED_MAX:
            what = f"more than {EXAMINED_MAX} selectors have no data"
            return Diagnosis(used, Cause("not examined", what, "fix the others first"))
        cause = likely_cause(await evidence.gather(self.prometheus, selector, self.targets), self.types)
        if await evidence.has_data_now(self.prometheus, selector):
            # The series was scraped after the first query.
            return Diagnosis(used)
        if isinstance(cause, AwaitsRun):
            return Diagnosis(used, appears_with=cause.appears_with)
        own = expected_absence(selector, self.slos)
        if own is None or cause.kind in NEVER_EXPECTED or not await self._has_data(witness_selector(own, selector)):
            return Diagnosis(used, cause)
        source = source_selector(own, selector)
        enabled = source is None or await self._has_data(source)
        disabled = "" if enabled else f"; data source {own.source} is disabled (--sources)"
        return Diagnosis(used, appears_with=own.appears_with + disabled)

    async def _has_data(self, selector: Selector) -> bool:
        return await evidence.has_data(self.prometheus, selector)

    async def _recorded(self, used: UsedSelector, rules: Sequence[Rule]) -> Diagnosis:
        for rule in rules:
            state, error = self.states.get(rule, (RuleState.LOADED, ""))
            if state is RuleState.MISSING:
                what = f"no rule records this series: alerts/{rule.file} is not loaded, or in an older version"
                return Diagnosis(used, Cause("rules not loaded", what, _load(rule)))
            if state is RuleState.FAILS:
                what = f"evaluation of its recording rule fails: {error}"
                return Diagnosis(used, Cause("rule fails", what, "see the log of Prometheus"))
        inputs = [await self._diagnosis(own) for own in self.used if own.required and set(rules) & set(own.rules)]
        if failing := next((own for own in inputs if own.cause), None):
            return Diagnosis(used, _depends_on(failing))
        for rule in rules:
            if await self.prometheus.query(rule.expression):
                what = "the expression of its recording rule has a value, but the series does not exist"
                remedy = "retry in a minute, the rule may just have been loaded; then check where the ruler writes to"
                return Diagnosis(used, Cause("not recorded", what, remedy))
        return Diagnosis(used, appears_with="the first events in its window")


def _load(rule: Rule) -> str:
    return f"add {rule.file}, generated by `temporal-slo generate`, to rule_files, and reload Prometheus"


def _depends_on(failing: Diagnosis) -> Cause:
    """Return the cause of what is recorded from *failing*: its root, so that a chain of rules has one cause."""
    if failing.cause and failing.cause.kind == DEPENDS_ON:
        return failing.cause
    return Cause(DEPENDS_ON, str(failing.used.selector), "fix that first")
