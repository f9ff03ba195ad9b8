"""What the demo prints while it runs, and the comparison of Prometheus with Temporal at the end."""

import asyncio
import time
from collections import Counter
from datetime import timedelta
from typing import Final

from temporal_slo import names
from temporal_slo.demo.outage_report import OutageReport
from temporal_slo.demo.parts import BY_STATUS, Parts, Print, readiness_error
from temporal_slo.errors import PartError
from temporal_slo.names.values import BAD, CANCELED, COMPLETED, FAILED, TERMINATED, TIMED_OUT
from temporal_slo.runs.run import STATUS_NAMES
from temporal_slo.servers.process_group import ProcessGroup
from temporal_slo.servers.prometheus import Prometheus
from temporal_slo.temporal.visibility import count_closed

AGREE_DEADLINE: Final = 60.0
ROW_INTERVAL: Final = 10.0
OUTAGE_ROW_INTERVAL: Final = 30.0
"""An outage takes minutes and prints lines of its own."""
CHECK_INTERVAL: Final = 0.5

RUNNING: Final = f"sum({names.WORKFLOWS_RUNNING.sample})"
OLDEST: Final = f"max({names.WORKFLOW_OLDEST_RUNNING_AGE.sample})"
STATUSES: Final = (FAILED, TIMED_OUT, CANCELED, TERMINATED, COMPLETED)
BAD_OUTCOMES: Final = f'sum({names.WORKFLOWS_CLOSED.sample}{{{names.OUTCOME}="{BAD}"}})'
HEADER: Final = "   after  running  oldest" + "".join(f"{status:>12}" for status in STATUSES) + "   bad outcome"


async def report(parts: Parts, processes: ProcessGroup, duration: timedelta | None, output: Print) -> None:
    """Print what Prometheus has until the duration is over, or the planned outage is.

    Args:
        parts: Of the demo.
        processes: Owns the processes.
        duration: How long; None until interrupted.
        output: Prints a line.

    Raises:
        PartError: A part is not healthy.
    """
    began = time.monotonic()
    end = began + duration.total_seconds() if duration else float("inf")
    outage = OutageReport(parts.outage, began, output) if parts.outage else None
    running = asyncio.ensure_future(outage.run()) if outage else None
    output(f"Bookings start; {_ends(duration, outage)}.")
    output("What Prometheus has:")
    output(HEADER)
    interval = OUTAGE_ROW_INTERVAL if outage else ROW_INTERVAL
    next_row = began + interval
    try:
        while (now := time.monotonic()) < end and not (running and running.done()):
            processes.check()
            if now >= next_row:
                output(await _row(parts.prometheus, now - began))
                next_row += interval
            await asyncio.sleep(min(CHECK_INTERVAL, end - now))
        output(await _row(parts.prometheus, time.monotonic() - began))
        if running and running.done():
            running.result()
        elif outage:
            output(f"The duration is over; still waiting for {outage.waiting_for}.")
    finally:
        if running:
            running.cancel()


def _ends(duration: timedelta | None, outage: OutageReport | None) -> str:
    ways = ["when the page is resolved"] if outage else []
    ways += [f"after {duration.total_seconds():g} s"] if duration else []
    return f"the demo ends {' or '.join(ways)}" if ways else "Ctrl-C ends the demo"


async def _row(prometheus: Prometheus, after: float) -> str:
    closed = await _closed(prometheus)
    cells = [_cell(await prometheus.value(RUNNING), 9), _cell(await prometheus.value(OLDEST), 7, "s")]
    cells += [_cell(closed.get(status), 12) for status in STATUSES]
    cells += [_cell(await prometheus.value(BAD_OUTCOMES), 14)]
    return f"{after:7.0f}s{''.join(cells)}"


def _cell(value: float | None, width: int, unit: str = "") -> str:
    # Missing data is not zero.
    return f"{'-' if value is None else f'{value:.0f}{unit}':>{width}}"


async def _closed(prometheus: Prometheus) -> Counter[str]:
    series = await prometheus.query(BY_STATUS)
    return Counter({dict(labels)[names.STATUS]: int(value) for labels, value in series.items()})


async def compare_counts(parts: Parts, processes: ProcessGroup, output: Print) -> None:
    """Stop the load and compare what Prometheus has with Temporal's own count.

    Args:
        parts: Of the demo.
        processes: Owns the processes.
        output: Prints a line.

    Raises:
        PartError: They differ, or a part is not healthy.
    """
    processes.check()
    if reason := await readiness_error(parts.exporter):
        raise PartError("exporter", f"not ready: {reason}")
    processes.stop(parts.load)
    if parts.load.exit_code:
        raise PartError("load", f"exited with code {parts.load.exit_code}\n{parts.load.tail()}")
    counts: dict[str, Counter[str]] = {}

    async def agree() -> bool:
        counts["Temporal"] = await count_closed(parts.temporal)
        counts["Temporal"].subtract(parts.closed_before)
        counts["Prometheus"] = await _closed(parts.prometheus)
        return +counts["Temporal"] == +counts["Prometheus"]

    try:
        await processes.wait_until(
            agree, deadline=AGREE_DEADLINE, part="exporter", what="as many closed runs as Temporal"
        )
    except PartError as error:
        raise PartError(error.part, f"{error}: {_text(counts)}") from error
    if not counts["Temporal"][COMPLETED]:
        raise PartError("worker", "no booking was completed")
    output(f"Temporal and Prometheus count the same closed runs: {_text(counts)}")


def _text(counts: dict[str, Counter[str]]) -> str:
    return "; ".join(
        f"{source} {', '.join(f'{found[status]} {status}' for status in STATUS_NAMES.values() if found[status])}"
        for source, found in counts.items()
    )
