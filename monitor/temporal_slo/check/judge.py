"""Which selectors are alive, which are dead and why, and which are not to be expected yet."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from temporal_slo.check import probe
from temporal_slo.check.diagnosis import Cause, Idle, Types, cause
from temporal_slo.check.expected_series import nature, source_of, witness
from temporal_slo.check.loaded_rules import State
from temporal_slo.check.prometheus import Prometheus, Target
from temporal_slo.check.selectors import Rule, Selector, Uses
from temporal_slo.spec.bound import BoundSlo

CERTAIN: Final = frozenset(
    {"exported label", "other label", "sanitised value", "other name", "bucket edge", "misspelt", "no such type"}
)
"""Causes that are faults also where a series need not be there: what is missing is there under another name."""

FOLLOWS: Final = "follows"

SOUGHT_MAX: Final = 200
"""Dead selectors whose cause is looked for: beyond, they have one in common."""


class Verdict(NamedTuple):
    """What came of a selector.

    Attributes:
        uses: The selector, and who uses it.
        cause: Why it is dead; None if it is not.
        appears: With what its series appear; empty if they are there, or should be.
    """

    uses: Uses
    cause: Cause | None = None
    appears: str = ""

    @property
    def alive(self) -> bool:
        """Whether it matches series now."""
        return self.cause is None and not self.appears


@dataclass(slots=True)
class Judge:
    """Judges selectors, each once.

    Args:
        prometheus: Is asked.
        slos: All SLOs of the specs.
        uses: All selectors of all rules.
        states: How each rule stands in Prometheus; empty if that is not known.
        targets: What is scraped; None if that is not known.
        types: What Temporal tells of workflow types.
    """

    prometheus: Prometheus
    slos: Sequence[BoundSlo]
    uses: Sequence[Uses]
    states: Mapping[Rule, tuple[State, str]]
    targets: Sequence[Target] | None
    types: Types
    _known: dict[Selector, Verdict] = field(init=False, default_factory=dict)
    _recorders: dict[str, list[Rule]] = field(init=False)
    _sought: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Note which rules record which series."""
        self._recorders = defaultdict(list)
        for rule in dict.fromkeys(rule for uses in self.uses for rule in uses.rules):
            if not rule.alerts:
                self._recorders[rule.name].append(rule)

    async def verdicts(self) -> list[Verdict]:
        """Return what came of each selector.

        Raises:
            PrometheusError: There is no answer.
        """
        there = await asyncio.gather(*(probe.alive(self.prometheus, uses.selector) for uses in self.uses))
        self._known = {uses.selector: Verdict(uses) for uses, lives in zip(self.uses, there, strict=True) if lives}
        return [await self._verdict(uses) for uses in self.uses]

    async def _verdict(self, uses: Uses) -> Verdict:
        if uses.selector not in self._known:
            self._known[uses.selector] = await self._missing(uses)
        return self._known[uses.selector]

    async def _missing(self, uses: Uses) -> Verdict:
        if not uses.expected:
            return Verdict(uses, appears="what it tells of: the rule is about its absence")
        recorders = self._recording(uses.selector)
        return await (self._recorded(uses, recorders) if recorders else self._scraped(uses))

    def _recording(self, selector: Selector) -> list[Rule]:
        wanted = {(own.label, own.value) for own in selector.matchers if own.operator == "="}
        return [rule for rule in self._recorders.get(selector.metric, ()) if wanted <= set(rule.labels)]

    async def _scraped(self, uses: Uses) -> Verdict:
        selector = uses.selector
        self._sought += 1
        if self._sought > SOUGHT_MAX:
            many = Cause("not sought", f"more than {SOUGHT_MAX} selectors are dead", "mend the others first")
            return Verdict(uses, many)
        found = cause(await probe.facts(self.prometheus, selector, self.targets), self.types)
        if await probe.appeared(self.prometheus, selector):
            # What was asked first is older than what was asked last: a scrape came between.
            return Verdict(uses)
        if isinstance(found, Idle):
            return Verdict(uses, appears=found.what)
        own = nature(selector, self.slos)
        if own is None or found.kind in CERTAIN or not await probe.alive(self.prometheus, witness(own, selector)):
            return Verdict(uses, found)
        source = source_of(own, selector)
        read = source is None or await probe.alive(self.prometheus, source)
        return Verdict(uses, appears=own.appears + ("" if read else f"; the source {own.source} is off (--sources)"))

    async def _recorded(self, uses: Uses, recorders: Sequence[Rule]) -> Verdict:
        for rule in recorders:
            state, told = self.states.get(rule, (State.LOADED, ""))
            if state is State.MISSING:
                what = f"no rule records it: alerts/{rule.file} is not loaded, or an older version of it"
                return Verdict(uses, Cause("rules not loaded", what, _load(rule)))
            if state is State.FAILS:
                return Verdict(uses, Cause("rule fails", f"its rule fails: {told}", "see the log of Prometheus"))
        inputs = [await self._verdict(own) for own in self.uses if own.expected and set(recorders) & set(own.rules)]
        if dead := next((own for own in inputs if own.cause), None):
            return Verdict(uses, _follows(dead))
        for rule in recorders:
            if await self.prometheus.query(rule.expression):
                what = "its rule would tell something, but nothing of it is recorded"
                remedy = "ask again in a minute: it may just have been loaded; if not, see what the ruler writes to"
                return Verdict(uses, Cause("not recorded", what, remedy))
        return Verdict(uses, appears="the first events in its window")


def _load(rule: Rule) -> str:
    return f"load {rule.file} of `temporal-slo generate` (rule_files), and have Prometheus reload"


def _follows(dead: Verdict) -> Cause:
    """Return the cause of what is made of *dead*; told by its root, so that a chain of rules has one cause."""
    if dead.cause and dead.cause.kind == FOLLOWS:
        return dead.cause
    return Cause(FOLLOWS, f"its rule sees nothing, because {dead.uses.selector} is dead", "mend that first")
