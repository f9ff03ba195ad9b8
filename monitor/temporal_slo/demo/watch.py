"""What the demo shows while it runs, and how it holds Prometheus against Temporal at the end."""

import asyncio
import time
from collections import Counter
from datetime import timedelta
from typing import Final

from temporal_slo import names
from temporal_slo.demo.parts import BY_STATUS, Parts, Say, trouble
from temporal_slo.demo.story import Story
from temporal_slo.errors import PartError
from temporal_slo.runs.run import STATUS_NAMES
from temporal_slo.servers.prometheus import Prometheus
from temporal_slo.servers.stage import Stage
from temporal_slo.temporal.visibility import count_closed

AGREE_DEADLINE: Final = 60.0
REPORT_INTERVAL: Final = 10.0
STORY_INTERVAL: Final = 30.0
"""A story takes minutes, and its own lines are what counts."""
WATCH_INTERVAL: Final = 0.5

RUNNING: Final = f"sum({names.WORKFLOWS_RUNNING.sample})"
OLDEST: Final = f"max({names.WORKFLOW_OLDEST_RUNNING_AGE.sample})"
SHOWN: Final = ("failed", "timed_out", "canceled", "terminated", "completed")
BAD: Final = f'sum({names.WORKFLOWS_CLOSED.sample}{{{names.OUTCOME}="bad"}})'
HEADER: Final = "   after  running  oldest" + "".join(f"{status:>12}" for status in SHOWN) + "   of them bad"


async def watch(parts: Parts, stage: Stage, duration: timedelta | None, say: Say) -> None:
    """Show what Prometheus has until the time is over, or the story of what goes wrong, if there is one."""
    began = time.monotonic()
    end = began + duration.total_seconds() if duration else float("inf")
    story = Story(parts.outage, began, say) if parts.outage else None
    told = asyncio.ensure_future(story.tell()) if story else None
    say(f"Bookings start; {_ends(duration, story)}.")
    say("What Prometheus has:")
    say(HEADER)
    interval = STORY_INTERVAL if story else REPORT_INTERVAL
    report = began + interval
    try:
        while (now := time.monotonic()) < end and not (told and told.done()):
            stage.check()
            if now >= report:
                say(await _row(parts.prometheus, now - began))
                report += interval
            await asyncio.sleep(min(WATCH_INTERVAL, end - now))
        say(await _row(parts.prometheus, time.monotonic() - began))
        if told and told.done():
            told.result()
        elif story:
            say(f"The time is over; still waiting for {story.waits_for}.")
    finally:
        if told:
            told.cancel()


def _ends(duration: timedelta | None, story: Story | None) -> str:
    ways = ["when the page is resolved"] if story else []
    ways += [f"after {duration.total_seconds():g} s"] if duration else []
    return f"this ends {' or '.join(ways)}" if ways else "Ctrl-C ends this"


async def _row(prometheus: Prometheus, after: float) -> str:
    closed = await _closed(prometheus)
    cells = [_cell(await prometheus.value(RUNNING), 9), _cell(await prometheus.value(OLDEST), 7, "s")]
    cells += [_cell(closed.get(status), 12) for status in SHOWN]
    cells += [_cell(await prometheus.value(BAD), 14)]
    return f"{after:7.0f}s{''.join(cells)}"


def _cell(value: float | None, width: int, unit: str = "") -> str:
    # No data is not zero.
    return f"{'-' if value is None else f'{value:.0f}{unit}':>{width}}"


async def _closed(prometheus: Prometheus) -> Counter[str]:
    series = await prometheus.query(BY_STATUS)
    return Counter({dict(labels)[names.STATUS]: int(value) for labels, value in series.items()})


async def prove(parts: Parts, stage: Stage, say: Say) -> None:
    """Stop the load and hold what Prometheus has against Temporal's own count."""
    stage.check()
    if what := await trouble(parts.exporter):
        raise PartError("exporter", f"not ready: {what}")
    stage.retire(parts.load)
    if parts.load.exit_code:
        raise PartError("load", f"ended with exit code {parts.load.exit_code}\n{parts.load.tail()}")
    seen: dict[str, Counter[str]] = {}

    async def agree() -> bool:
        seen["Temporal"] = await count_closed(parts.temporal)
        seen["Temporal"].subtract(parts.closed_before)
        seen["Prometheus"] = await _closed(parts.prometheus)
        return +seen["Temporal"] == +seen["Prometheus"]

    try:
        await stage.until(agree, deadline=AGREE_DEADLINE, part="exporter", what="as many closed runs as Temporal")
    except PartError as error:
        raise PartError(error.part, f"{error}: {_counts(seen)}") from error
    if not seen["Temporal"]["completed"]:
        raise PartError("worker", "no booking was completed")
    say(f"Temporal counts the same closed runs as Prometheus: {_counts(seen)}")


def _counts(seen: dict[str, Counter[str]]) -> str:
    return "; ".join(
        f"{who} {', '.join(f'{counts[status]} {status}' for status in STATUS_NAMES.values() if counts[status])}"
        for who, counts in seen.items()
    )
