"""What the demo prints while it runs, and the comparison of Prometheus with Temporal at the end."""

import asyncio
import time
from collections import Counter
from datetime import timedelta
from typing import Final

from temporal_slo import names
from temporal_slo.demo.outage_report import OutageReport
from temporal_slo.demo.parts import BY_STATUS, WORKFLOWS, Closed, Parts, Print, closed_in, readiness_error
from temporal_slo.errors import PartError
from temporal_slo.names.values import BAD, CANCELED, COMPLETED, FAILED, TERMINATED, TIMED_OUT
from temporal_slo.runs.run import STATUS_NAMES
from temporal_slo.servers.process_group import ProcessGroup
from temporal_slo.servers.prometheus import Prometheus

AGREE_DEADLINE: Final = 60.0
ROW_INTERVAL: Final = 10.0
OUTAGE_ROW_INTERVAL: Final = 30.0
"""An outage takes minutes and prints lines of its own."""
CHECK_INTERVAL: Final = 0.5

RUNNING: Final = f"sum by ({names.WORKFLOW_TYPE}) ({names.WORKFLOWS_RUNNING.sample})"
OLDEST: Final = f"max by ({names.WORKFLOW_TYPE}) ({names.WORKFLOW_OLDEST_RUNNING_AGE.sample})"
STATUSES: Final = (COMPLETED, FAILED, TIMED_OUT, CANCELED, TERMINATED)
BAD_OUTCOMES: Final = f'sum by ({names.WORKFLOW_TYPE}) ({names.WORKFLOWS_CLOSED.sample}{{{names.OUTCOME}="{BAD}"}})'
SHOWN: Final = ("BookRideWorkflow", "WalletTopUpWorkflow", "BusServiceWorkflow")
NAME_WIDTH: Final = 19
HEADER: Final = (
    f"   after  {'workflow':<{NAME_WIDTH}} running  oldest"
    + "".join(f"{status:>11}" for status in STATUSES)
    + "  bad outcome"
)


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
    output(f"Workflows start; {_ends(duration, outage)}.")
    output("What Prometheus has:")
    output(HEADER)
    interval = OUTAGE_ROW_INTERVAL if outage else ROW_INTERVAL
    next_row = began + interval
    try:
        while (now := time.monotonic()) < end and not (running and running.done()):
            processes.check()
            if now >= next_row:
                output(await _rows(parts.prometheus, now - began))
                next_row += interval
            await asyncio.sleep(min(CHECK_INTERVAL, end - now))
        output(await _rows(parts.prometheus, time.monotonic() - began))
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


async def _rows(prometheus: Prometheus, after: float) -> str:
    closed = await _closed(prometheus)
    running, oldest, bad = [await _by_type(prometheus, query) for query in (RUNNING, OLDEST, BAD_OUTCOMES)]
    rows = []
    for number, of in enumerate(SHOWN):
        cells = [_cell(running.get(of), 8), _cell(oldest.get(of), 7, "s")]
        cells += [_cell(closed.get((of, status)), 11) for status in STATUSES]
        head = f"{after:7.0f}s" if number == 0 else " " * 8
        rows.append(f"{head}  {of:<{NAME_WIDTH}}{''.join(cells)}{_cell(bad.get(of), 13)}")
    return "\n".join(rows)


def _cell(value: float | None, width: int, unit: str = "") -> str:
    # Missing data is not zero.
    return f"{'-' if value is None else f'{value:.0f}{unit}':>{width}}"


async def _by_type(prometheus: Prometheus, query: str) -> dict[str, float]:
    return {dict(labels)[names.WORKFLOW_TYPE]: value for labels, value in (await prometheus.query(query)).items()}


async def _closed(prometheus: Prometheus) -> Closed:
    series = [(dict(labels), value) for labels, value in (await prometheus.query(BY_STATUS)).items()]
    return Counter({(of[names.WORKFLOW_TYPE], of[names.STATUS]): int(value) for of, value in series})


async def compare_counts(parts: Parts, processes: ProcessGroup, output: Print) -> None:
    """Stop the load and compare what Prometheus has with Temporal's own count, for each workflow type.

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
    counts: dict[str, Closed] = {}

    async def agree() -> bool:
        counts["Prometheus"] = await _closed(parts.prometheus)
        types = {*WORKFLOWS, *(of for of, _ in counts["Prometheus"])}
        counts["Temporal"] = await closed_in(parts.temporal, types)
        counts["Temporal"].subtract(parts.closed_before)
        return +counts["Temporal"] == +counts["Prometheus"]

    try:
        await processes.wait_until(
            agree, deadline=AGREE_DEADLINE, part="exporter", what="as many closed runs as Temporal"
        )
    except PartError as error:
        raise PartError(error.part, f"{error}: {_differing(counts)}") from error
    if not counts["Temporal"]["BookRideWorkflow", COMPLETED]:
        raise PartError("worker", "no booking was completed")
    output("Temporal and Prometheus count the same closed runs:")
    for line in _lines(+counts["Temporal"]):
        output(f"  {line}")


def _lines(closed: Closed) -> list[str]:
    """One line for each workflow type."""
    return [f"{of:<{NAME_WIDTH}} {_statuses(closed, of)}" for of in sorted({of for of, _ in closed})]


def _statuses(closed: Closed, of: str) -> str:
    found = {status: closed[of, status] for status in STATUS_NAMES.values()}
    return ", ".join(f"{count} {status}" for status, count in found.items() if count)


def _differing(counts: dict[str, Closed]) -> str:
    return "; ".join(f"{source} {', '.join(_lines(found)) or 'nothing'}" for source, found in counts.items())
