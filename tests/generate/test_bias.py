"""Error ratios while closed runs wait for their close event, as Prometheus evaluates the rules."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from temporal_slo import names

from .promtool import Expected, Within, evaluate

SPEC = """\
version: temporal-slo/v1
service: shop
temporal_namespace: shop-prod
owner: shop-team
period: 30d
slos:
- name: rides
  workflow: Ride
  objective: 98
  outcome: {from: status, good: [OK], bad: [NO]}
  sli: {success: {bad: [failed, timed_out, bad_outcome], excluded: [canceled, terminated]}}
"""
OR_FAILED = SPEC.replace(
    "{success: {bad: [failed, timed_out, bad_outcome], excluded: [canceled, terminated]}}",
    "{latency: {threshold: 90s, failures: bad}}",
)
RATIO = f'{names.ERROR_RATIO}5m{{slo="rides"}}'
BURNS = names.ALERT_BURN
CLOSES = 6000
"""Runs that close in a minute."""
LIMIT = 3000
"""Close events that are read in a minute."""
LENGTH = 260

Share = Callable[[int], float]
"""A share of the runs that close in a minute."""
Limit = Callable[[int], int]
"""Completed runs that are classified in a minute."""


def no_limit(_: int) -> int:
    """Nothing waits."""
    return 10**9


class Exporter:
    """Counters of an exporter, minute by minute: failures are classified at once, completed runs up to a limit."""

    def __init__(self, failed: Share, bad: Share, limit: Limit, *, down: range = range(0)) -> None:
        self.seen: Counter[str] = Counter()
        self.classified: Counter[tuple[str, str]] = Counter()
        self._waiting: Counter[str] = Counter()
        self._failed, self._bad, self._limit, self._down = failed, bad, limit, down

    def series(self) -> dict[str, str]:
        """Return all series in promtool's notation."""
        values: dict[str, list[str]] = {}
        for minute in range(LENGTH):
            closing = Counter(dict(self._closing(minute)))
            for row, count in (
                self._poll(minute, closing) if minute not in self._down else self._wait(closing)
            ).items():
                values.setdefault(row, []).append(count)
        return {row: " ".join(counts) for row, counts in values.items()}

    def _closing(self, minute: int) -> Iterator[tuple[str, int]]:
        failed = round(CLOSES * self._failed(minute))
        bad = round(CLOSES * self._bad(minute))
        yield from (("failed", failed), ("bad", bad), ("good", CLOSES - failed - bad))

    def _wait(self, closing: Counter[str]) -> dict[str, str]:
        self._waiting += closing
        return dict.fromkeys(self._rows(), "_")

    def _poll(self, minute: int, closing: Counter[str]) -> dict[str, str]:
        # All runs that closed during the downtime are read within a minute.
        new = closing + (self._waiting if minute - 1 in self._down else Counter())
        self.seen.update({"failed": new["failed"], "completed": new["good"] + new["bad"]})
        self._waiting += closing
        completed = self._waiting["good"] + self._waiting["bad"]
        share = min(1.0, self._limit(minute) / completed) if completed else 0
        for outcome in ("good", "bad"):
            counted = round(self._waiting[outcome] * share)
            self._waiting[outcome] -= counted
            self.classified["completed", outcome] += counted
        self.classified["failed", "none"] += self._waiting.pop("failed", 0)
        return self._rows()

    def _rows(self) -> dict[str, str]:
        labels = 'temporal_namespace="shop-prod", workflow_type="Ride", task_queue="q", instance="a"'
        closed, seen = names.WORKFLOWS_CLOSED.sample, names.WORKFLOWS_SEEN_CLOSED.sample
        keys = ("completed", "good"), ("completed", "bad"), ("failed", "none")
        rows = {
            f'{closed}{{{labels}, status="{status}", outcome="{outcome}"}}': self.classified[status, outcome]
            for status, outcome in keys
        }
        rows |= {f'{seen}{{{labels}, status_group="{group}"}}': self.seen[group] for group in ("completed", "failed")}
        duration = names.WORKFLOW_DURATION.name
        for status, outcome in keys:
            row = f'temporal_namespace="shop-prod", workflow_type="Ride", status="{status}", outcome="{outcome}"'
            rows[f"{duration}_count{{{row}}}"] = self.classified[status, outcome]
            rows[f'{duration}_bucket{{{row}, le="90.0"}}'] = self.classified[status, outcome]
        return {row: str(count) for row, count in rows.items()}


def always(share: float) -> Share:
    """Return a share that never changes."""
    return lambda _: share


def from_minute(start: int, share: float) -> Share:
    """Return 2 % before a minute, and another share from then on."""
    return lambda minute: share if minute >= start else 0.02


def overload(_: int) -> int:
    """Twice as many runs close as are classified."""
    return LIMIT


def codec_outage(minute: int) -> int:
    """No completed run is classified for an hour; then the backlog is."""
    return 0 if 120 <= minute < 180 else 2 * CLOSES


SITUATIONS: dict[str, tuple[Limit, range]] = {
    "overload": (overload, range(0)),
    "codec outage": (codec_outage, range(0)),
    "catch-up after downtime": (codec_outage, range(120, 180)),
    "catch-up that takes hours": (lambda _: CLOSES + 300, range(120, 180)),
    "nothing is ever classified": (lambda _: 0, range(0)),
}


@pytest.mark.parametrize("spec", [SPEC, OR_FAILED], ids=["success", "latency"])
@pytest.mark.parametrize("kind", ["failed", "bad outcomes"])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_within_the_budget(situation: str, kind: str, spec: str, programs: dict[str, Path], tmp_path: Path) -> None:
    """At 2 % bad runs the ratio stays within half a point, and nothing fires, however long runs wait."""
    limit, down = SITUATIONS[situation]
    if kind == "bad outcomes" and situation == "nothing is ever classified":
        pytest.skip("nobody knows of a bad outcome that is never read")
    failed, bad = (always(0.02), always(0)) if kind == "failed" else (always(0), always(0.02))
    series = Exporter(failed, bad, limit, down=down).series()
    minutes = [minute for minute in range(10, LENGTH, 4) if minute not in range(down.start, down.stop + 6)]
    expected: list[Expected | Within] = [Within(minute, RATIO, 0.015, 0.025) for minute in minutes]
    expected += [Expected(minute, BURNS, 0) for minute in range(10, LENGTH, 5)]
    assert evaluate(programs["promtool"], tmp_path, spec, series, expected) == ""


@pytest.mark.parametrize("situation", SITUATIONS)
def test_outage(situation: str, programs: dict[str, Path], tmp_path: Path) -> None:
    """An outage in which half of the runs fail pages within two minutes of when it pages where nothing waits."""
    limit, down = SITUATIONS[situation]
    series = Exporter(from_minute(START, 0.5), always(0), limit, down=down).series()
    assert evaluate(programs["promtool"], tmp_path, SPEC, series, paged_after(TEXTBOOK + 2)) == ""


START, TEXTBOOK = 181, 34
"""When an outage starts, and after how many minutes it pages where nothing waits."""


def paged_after(minutes: int) -> list[Expected | Within]:
    """Return that an outage pages within this time, and not before it starts."""
    return [Expected(START - 1, BURNS, 0, "page"), Expected(START + minutes, BURNS, 1, "page")]


def test_textbook(programs: dict[str, Path], tmp_path: Path) -> None:
    """Where nothing waits the outage pages after 34 minutes, and not after 33."""
    series = Exporter(from_minute(START, 0.5), always(0), no_limit).series()
    expected = [*paged_after(TEXTBOOK), Expected(START + TEXTBOOK - 2, BURNS, 0, "page")]
    assert evaluate(programs["promtool"], tmp_path, SPEC, series, expected) == ""


def test_bad_outcomes_under_overload(programs: dict[str, Path], tmp_path: Path) -> None:
    """An outage by bad outcomes pages as soon under overload, for new runs are classified before the backlog."""
    series = Newest(always(0), from_minute(START, 0.5), overload).series()
    assert evaluate(programs["promtool"], tmp_path, SPEC, series, paged_after(TEXTBOOK + 2)) == ""


class Newest(Exporter):
    """An exporter that classifies the newest runs, and a sixteenth of old ones, all of them good."""

    def _poll(self, minute: int, closing: Counter[str]) -> dict[str, str]:
        self.seen["completed"] += CLOSES
        newest = self._limit(minute) * 15 // 16
        bad = round(newest * closing["bad"] / CLOSES)
        self.classified.update({("completed", "bad"): bad, ("completed", "good"): LIMIT - bad})
        return self._rows()


def test_unknown_outcomes(programs: dict[str, Path], tmp_path: Path) -> None:
    """Runs of unknown outcome count in the volume: failures are not compared with the known ones alone."""
    series = Exporter(always(0.02), always(0), no_limit).series()
    good = next(row for row in series if names.WORKFLOWS_CLOSED.sample in row and 'outcome="good"' in row)
    unknown = good.replace('"good"', '"unknown"')
    counts = [int(count) for count in series[good].split()]
    series[good] = " ".join(str(count // 50) for count in counts)
    series[unknown] = " ".join(str(count - count // 50) for count in counts)
    expected: list[Expected | Within] = [Within(minute, RATIO, 0.015, 0.025) for minute in range(10, LENGTH, 10)]
    assert evaluate(programs["promtool"], tmp_path, SPEC, series, [*expected, Expected(LENGTH - 1, BURNS, 0)]) == ""


def test_retries_that_wait(programs: dict[str, Path], tmp_path: Path) -> None:
    """Failures that are not classified yet count as the classified ones did: most of them are retried."""
    labels = 'temporal_namespace="shop-prod", workflow_type="Ride", task_queue="q"'
    closed, seen = names.WORKFLOWS_CLOSED.sample, names.WORKFLOWS_SEEN_CLOSED.sample
    series = {
        f'{seen}{{{labels}, status_group="completed"}}': f"0+98x{LENGTH}",
        f'{seen}{{{labels}, status_group="failed"}}': f"0+20x{LENGTH}",
        f'{closed}{{{labels}, status="completed", outcome="good"}}': f"0+98x{LENGTH}",
        f'{closed}{{{labels}, status="failed", outcome="none"}}': f"0+2x150 302x{LENGTH}",
        f'{closed}{{{labels}, status="retried", outcome="none"}}': f"0+18x150 2718x{LENGTH}",
    }
    expected: list[Expected | Within] = [Within(minute, RATIO, 0.0199, 0.0201) for minute in range(10, 250, 7)]
    assert evaluate(programs["promtool"], tmp_path, SPEC, series, [*expected, Expected(250, BURNS, 0)]) == ""
