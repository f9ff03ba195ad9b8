"""An outage as somebody on call lives through it: all is well, it begins, the page comes, it ends, the page is over."""

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

WELL_FOR: Final = 25.0
PAGE_DEADLINE: Final = 300.0
SETTLING: Final = 300.0
"""Seconds after the short window is empty: two evaluations, an interval of Alertmanager's, and a slow machine."""
INDENT: Final = " " * 18
LINKS: Final = {"executions": "executions_url", "runbook": "runbook_url", "dashboard": "dashboard_url"}

Say = Callable[[str], None]


class Story:
    """Tells an outage while it happens.

    Args:
        outage: What goes wrong.
        began: When the demo began, by the monotonic clock.
        say: Prints a line.
        well_for: Seconds until it goes wrong.

    Attributes:
        waits_for: What is to come next.
    """

    def __init__(self, outage: Outage, began: float, say: Say, *, well_for: float = WELL_FOR) -> None:
        self.waits_for = f"{outage.kind}, which begins after {well_for:g} s"
        self._well_for = well_for
        self._outage = outage
        self._began = began
        self._say = say
        self._shown = 0

    async def tell(self) -> None:
        """Let it happen; done when every page of the tier that pages soonest is resolved.

        Raises:
            PartError: No page came, or it did not end, in time.
        """
        window = duration_text(self._outage.tier.short)
        await asyncio.sleep(self._well_for)
        self._outage.begin()
        self._await(f"the page: the share of failures over {window} must exceed what the budget bears; rules take 30 s")
        self._line("CHAOS", f"{self._outage.kind}, for everybody, until the page is here. Waiting for {self.waits_for}")
        await self._until(self._paged, PAGE_DEADLINE)
        self._outage.end()
        self._await(
            f"the page to be resolved: the failures must leave the window of {window}, which takes about as long"
        )
        self._line("WELL", f"{self._outage.kind} is over. Waiting for {self.waits_for}")
        deadline = self._outage.tier.short.total_seconds() + SETTLING
        await self._until(lambda: self._paged() and not self._open(self._of_tier()), deadline)
        if self._open(self._outage.webhook.notices):
            # A Prometheus that is minutes old has little else in its long windows.
            self._line("NOTE", "slower tiers, which the quick one had silenced, still see the failures")

    def _await(self, waits_for: str) -> None:
        self.waits_for = waits_for

    async def _until(self, met: Callable[[], bool], deadline: float) -> None:
        async def told() -> bool:
            self._show()
            return met()

        try:
            await until(told, deadline=deadline, what=self.waits_for)
        except TimeoutError as error:
            raise PartError("Alertmanager", str(error)) from error

    def _of_tier(self) -> list[Notice]:
        notices = self._outage.webhook.notices
        return [notice for notice in notices if notice.labels.get(names.TIER) == self._outage.tier.name]

    def _paged(self) -> bool:
        return bool(self._of_tier())

    @staticmethod
    def _open(notices: list[Notice]) -> bool:
        # The newest word on each alert counts.
        newest = {frozenset(notice.labels.items()): notice.resolved for notice in notices}
        return not all(newest.values())

    def _show(self) -> None:
        notices = self._outage.webhook.notices
        while self._shown < len(notices):
            self._tell_of(notices[self._shown])
            self._shown += 1

    def _tell_of(self, notice: Notice) -> None:
        kind = notice.labels.get(names.SEVERITY, "alert").upper()
        tier = f" ({tier})" if (tier := notice.labels.get(names.TIER)) else ""
        if notice.resolved:
            self._line("RESOLVED", f"{notice.annotations['summary']}{tier}")
            return
        self._line(kind, f"{notice.annotations['summary']}{tier}. {notice.annotations['description']}")
        for name, annotation in LINKS.items():
            if annotation in notice.annotations:
                self._say(f"{INDENT}{name:<11} {notice.annotations[annotation]}")

    def _line(self, head: str, text: str) -> None:
        self._say(f"{time.monotonic() - self._began:7.0f}s  {head:<8} {text}")
