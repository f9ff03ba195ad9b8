"""An outage of the demo: the fault starts, the page arrives, the fault ends, the page resolves."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from temporal_slo import names
from temporal_slo.demo.alerting import Outage
from temporal_slo.errors import PartError
from temporal_slo.servers.alertmanager import Notice
from temporal_slo.servers.process import until
from temporal_slo.spec.formatting import duration_text

HEALTHY_FOR: Final = 25.0
PAGE_DEADLINE: Final = 300.0
RESOLVE_DEADLINE: Final = 300.0
"""Seconds after the short window is empty: two evaluations, an interval of Alertmanager, and a slow machine."""
INDENT: Final = " " * 18
LINKS: Final = {"executions": "executions_url", "runbook": "runbook_url", "dashboard": "dashboard_url"}

Print = Callable[[str], None]


class OutageReport:
    """Causes an outage and prints what happens.

    Args:
        outage: The outage.
        began: Start of the demo, by the monotonic clock.
        output: Prints a line.
        healthy_for: Seconds until the outage starts.

    Attributes:
        waiting_for: What has to happen next.
    """

    def __init__(self, outage: Outage, began: float, output: Print, *, healthy_for: float = HEALTHY_FOR) -> None:
        self.waiting_for = f"{outage.kind}, which starts after {healthy_for:g} s"
        self._healthy_for = healthy_for
        self._outage = outage
        self._began = began
        self._output = output
        self._printed = 0

    async def run(self) -> None:
        """Cause the outage; return when every page of the tier that pages soonest is resolved.

        Raises:
            PartError: No page arrived, or it was not resolved, in time.
        """
        window = duration_text(self._outage.tier.short)
        await asyncio.sleep(self._healthy_for)
        await self._outage.begin()
        self.waiting_for = f"the page: the error ratio over {window} must exceed its threshold; rules take 30 s"
        self._line("FAULT", f"{self._outage.kind} for all users until the page arrives. Waiting for {self.waiting_for}")
        await self._until(self._paged, PAGE_DEADLINE)
        await self._outage.end()
        self.waiting_for = f"the page to resolve: the failures must leave the window of {window}"
        self._line("FIXED", f"{self._outage.kind} is over. Waiting for {self.waiting_for}")
        deadline = self._outage.tier.short.total_seconds() + RESOLVE_DEADLINE
        await self._until(lambda: self._paged() and not self._firing(self._of_tier()), deadline)
        if self._firing(self._outage.webhook.notices):
            # The long windows of a young Prometheus contain little but the outage.
            self._line("NOTE", "slower tiers, inhibited by the quick one, still see the failures")

    async def _until(self, met: Callable[[], bool], deadline: float) -> None:
        async def printed() -> bool:
            self._print_new()
            return met()

        try:
            await until(printed, deadline=deadline, what=self.waiting_for)
        except TimeoutError as error:
            raise PartError("Alertmanager", str(error)) from error

    def _of_tier(self) -> list[Notice]:
        notices = self._outage.webhook.notices
        return [notice for notice in notices if notice.labels.get(names.TIER) == self._outage.tier.name]

    def _paged(self) -> bool:
        return bool(self._of_tier())

    @staticmethod
    def _firing(notices: list[Notice]) -> bool:
        # The newest notification of each alert counts.
        newest = {frozenset(notice.labels.items()): notice.resolved for notice in notices}
        return not all(newest.values())

    def _print_new(self) -> None:
        notices = self._outage.webhook.notices
        while self._printed < len(notices):
            self._print(notices[self._printed])
            self._printed += 1

    def _print(self, notice: Notice) -> None:
        severity = notice.labels.get(names.SEVERITY, "alert").upper()
        tier = f" ({tier})" if (tier := notice.labels.get(names.TIER)) else ""
        if notice.resolved:
            self._line("RESOLVED", f"{notice.annotations['summary']}{tier}")
            return
        self._line(severity, f"{notice.annotations['summary']}{tier}. {notice.annotations['description']}")
        for name, annotation in LINKS.items():
            if annotation in notice.annotations:
                self._output(f"{INDENT}{name:<11} {notice.annotations[annotation]}")

    def _line(self, head: str, text: str) -> None:
        self._output(f"{time.monotonic() - self._began:7.0f}s  {head:<8} {text}")
