"""SLOs measured by workers, as Prometheus evaluates them: each worker counts its own events."""

from pathlib import Path

import pytest

from temporal_slo import names

from .promtool import Expected, evaluate
from .test_burn import BURNS, EXHAUSTED, HEAD, QUIET

PAID = HEAD + "- {name: paid, workflow: Ride, objective: 99.9, sli: {activity_success: {activities: [pay]}}}\n"
PROMPT = HEAD + "- {name: prompt, workflow: Ride, objective: 99, sli: {schedule_to_start: {threshold: 5s}}}\n"


def ended(outcome: str, instance: str = "a", activity: str = "pay", failure_type: str = "none") -> str:
    """A series of ended activities."""
    return (
        f'{names.ACTIVITY_ENDS.sample}{{temporal_namespace="shop-prod", workflow_type="Ride", task_queue="q", '
        f'activity_type="{activity}", outcome="{outcome}", failure_type="{failure_type}", instance="{instance}"}}'
    )


def waited(part: str, instance: str = "a") -> str:
    """A series of activity schedule-to-start latencies."""
    name, _, edge = part.partition(" ")
    more = f', le="{edge}"' if edge else ""
    labels = f'temporal_namespace="shop-prod", workflow_type="Ride", task_queue="q", activity_type="pay"{more}'
    return f'{names.ACTIVITY_SCHEDULE_TO_START.name}_{name}{{{labels}, instance="{instance}"}}'


def waits(in_time: str, total: str, instance: str = "a") -> dict[str, str]:
    """Activities started within the threshold, and all activities."""
    bounds = {"bucket 5.0": in_time, "bucket +Inf": total, "count": total}
    return {waited(part, instance): values for part, values in bounds.items()}


A, B, C = (ended("completed", instance) for instance in "abc")
FAILED = ended("failed", failure_type="Refused")

CASES: dict[str, tuple[str, dict[str, str], list[Expected]]] = {
    "outage": (
        PAID,
        {A: "0+100x120 12000x240", FAILED: "0x120 0+100x120 12000x120"},
        [Expected(120, BURNS, 0), Expected(124, BURNS, 2, "page"), Expected(300, BURNS, 0, "page")],
    ),
    "time-outs": (
        PAID,
        {A: "0+100x120 12000x120", ended("timed_out"): "0x120 0+100x120"},
        [Expected(120, BURNS, 0), Expected(124, BURNS, 2, "page")],
    ),
    # A quarter of what one worker does is a twelfth of the whole: 0.08, and 14.4 times the budget are 0.0144.
    "one of three workers fails a little": (
        PAID,
        {A: "0+100x240", B: "0+100x240", C: "0+75x240", ended("failed", "c"): "0x120 0+25x120"},
        [Expected(120, BURNS, 0), Expected(150, BURNS, 2, "page")],
    ),
    "exactly the budget, by one worker of three": (
        PAID,
        {A: "0+333x240", B: "0+333x240", C: "0+333x240", ended("failed", "b"): "0+1x240"},
        [*QUIET, Expected(61, EXHAUSTED, 0), Expected(239, EXHAUSTED, 0)],
    ),
    "another activity fails": (
        PAID,
        {A: "0+100x240", ended("failed", activity="mail"): "0+90x240"},
        QUIET,
    ),
    "cancelled by the caller": (PAID, {A: "0+100x240", ended("canceled"): "0+90x240"}, QUIET),
    "idle": (PAID, {A: "17x240", FAILED: "3x240"}, QUIET),
    "first failure ever": (PAID, {A: "0+1x240", FAILED: "_x90 0x2 1x150"}, QUIET),
    "one failure in ten an hour": (
        PAID,
        {A: "0x5 1x6 2x6 3x6 4x6 5x6 6x6 7x6 8x6 9x6 9x180", FAILED: "0x57 1x180"},
        QUIET,
    ),
    "workers restart": (PAID, {A: "0+100x120 0+100x120", FAILED: "40x120 0x120"}, QUIET),
    "workers are replaced": (PAID, {A: "0+100x120 _x120", B: "_x120 0+100x120", FAILED: "7x120 _x120"}, QUIET),
    "no data": (PAID, {}, QUIET),
    "nobody takes work in time": (
        PROMPT,
        waits("0+100x120 12000x240", "0+100x240 24000x120"),
        [Expected(120, BURNS, 0), Expected(134, BURNS, 2, "page"), Expected(320, BURNS, 0, "page")],
    ),
    "one worker of three is late": (
        PROMPT,
        waits("0+100x240", "0+100x240")
        | waits("0+60x240", "0+60x240", "b")
        | waits("0+40x120 4800x120", "0+40x240", "c"),
        [Expected(120, BURNS, 0), Expected(190, BURNS, 2, "page")],
    ),
    "waits at exactly the budget": (PROMPT, waits("0+99x240", "0+100x240"), QUIET),
    "waits of workers that restart": (PROMPT, waits("0+100x120 0+100x120", "0+100x120 0+100x120"), QUIET),
    "no waits": (PROMPT, waits("17x240", "19x240"), QUIET),
}


@pytest.mark.parametrize("case", CASES)
def test_worked(case: str, programs: dict[str, Path], tmp_path: Path) -> None:
    """The expected alerts fire at the expected minutes."""
    spec, series, expected = CASES[case]
    assert evaluate(programs["promtool"], tmp_path, spec, series, expected) == ""
