"""The benchmark of alerts at small size, and a comparison of its evaluation with Prometheus."""

import subprocess
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import yaml

from temporal_slo import names
from temporal_slo.generate.artefacts import render
from temporal_slo.generate.files import write
from temporal_slo.spec.burn import burn_rate_threshold
from temporal_slo.spec.formatting import duration_text
from temporal_slo.spec.load import load
from tests.generate.promtool import LINKS, groups
from tests.generate.test_burn import FAILED, GOOD, SPEC

from .alerting import STEP, Bools, Counter, Floats
from .bench_alerts import (
    BUSY,
    DEPTHS,
    OURS,
    QUIET,
    TEXTBOOK,
    TRAFFIC,
    counters,
    noise,
    outages,
    table_of_noise,
    table_of_outages,
)

TRACES: Final = 21
SAMPLES: Final = {False: 120, True: 900}
"""Scrapes of a trace, by full size."""
MOMENTS: Final = {False: 5, True: 9}
"""Interval of the compared scrapes, by full size."""
SLACK: Final = 10.0
"""Tolerated seconds in addition to the evaluation interval."""


@pytest.mark.sized
@pytest.mark.parametrize("traffic", TRAFFIC)
def test_outages(traffic: str, *, full_size: bool) -> None:
    """At high traffic a page is at most one interval and 10 s later than the textbook's, and no outage is missed."""
    found = [outages(traffic, depth, 40 if full_size else 4) for depth in DEPTHS]
    print(*table_of_outages(found), sep="\n")
    if traffic == BUSY:
        for one in found:
            assert one.later.max() <= STEP + SLACK
            assert not np.isnan(one.ours).any()


@pytest.mark.sized
def test_noise(*, full_size: bool) -> None:
    """At low traffic there are at least 20 times fewer false pages."""
    months = 200 if full_size else 24
    found = [noise(traffic, months) for traffic in (TRAFFIC if full_size else (QUIET,))]
    print(*table_of_noise(found, months), sep="\n")
    quiet = next(one for one in found if one.traffic == QUIET)
    assert quiet.textbook >= months
    assert quiet.ours * 20 <= quiet.textbook


def trace(number: int, size: int) -> tuple[Counter, Counter]:
    """Return counters with idle hours, outages, resets and missing scrapes."""
    random = np.random.default_rng(number)
    rate = np.full(size, (5.0, 60.0, 600.0, 10_000.0)[number % 4])
    share = np.full(size, 0.0005)
    for _ in range(3):
        start, length = random.integers(0, size), random.integers(3, size // 4)
        share[start : start + length] = random.choice([0.02, 0.2, 1.0])
    idle = random.integers(0, size)
    rate[idle : idle + random.integers(0, size // 6)] = 0
    good, bad = counters(random, rate, share)
    kept = np.ones(size + 1, dtype=bool)
    if number % 3 == 1:
        gap = random.integers(20, size)
        kept[gap : gap + random.integers(1, 25)] = False
    if number % 3 == 2:
        restart = random.integers(20, size)
        for counter in (good, bad):
            counter.values[restart:] -= counter.values[restart - 1]
    return Counter(good.times[kept], good.values[kept]), Counter(bad.times[kept], bad.values[kept])


def values(counter: Counter, now: Floats) -> str:
    """Return the counter in promtool notation."""
    seen = dict(zip(counter.times, counter.values, strict=True))
    return " ".join(f"{seen[at]:.0f}" if at in seen else "_" for at in now)


def expected(alert: str, firing: dict[str, Bools], moments: range) -> list[dict[str, Any]]:
    """Return the firing alerts that promtool must find at some times."""
    return [
        {
            "expr": f'count by (tier) (ALERTS{{alertname="{alert}", alertstate="firing"}})',
            "eval_time": f"{moment * STEP:.0f}s",
            "exp_samples": [
                {"labels": f'{{tier="{tier}"}}', "value": 1} for tier, fires in sorted(firing.items()) if fires[moment]
            ],
        }
        for moment in moments
    ]


def textbook() -> dict[str, Any]:
    """Return the rules of the textbook for the same counters."""
    good, every, error_budget = GOOD.partition("{")[0], f"{GOOD}[%s]", TEXTBOOK.error_budget

    def ratio(window: str) -> str:
        failed = f"(sum(rate({FAILED}[{window}])) or vector(0))"
        return f"{failed} / (sum(rate({every % window})) + {failed})"

    assert good
    rules = [
        {
            "alert": "Textbook",
            "expr": " and ".join(
                f"({ratio(duration_text(window))}) > {burn_rate_threshold(tier, TEXTBOOK.period) * error_budget:f}"
                for window in (tier.short, tier.long)
            ),
            "labels": {"tier": tier.name},
        }
        for tier in TEXTBOOK.tiers
    ]
    return {"groups": [{"name": "textbook", "rules": rules}]}


@pytest.mark.sized
def test_agrees_with_prometheus(programs: dict[str, Path], tmp_path: Path, *, full_size: bool) -> None:
    """In all traces our rules and the textbook's fire exactly when they do in Prometheus."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    write(tmp_path, render(load([tmp_path / "spec.yaml"]), LINKS))
    (tmp_path / "textbook.yaml").write_text(yaml.safe_dump(textbook()))
    size, fired, tests = SAMPLES[full_size], 0, list[dict[str, Any]]()
    now, moments = np.arange(size + 1) * STEP, range(3, size, MOMENTS[full_size])
    for number in range(TRACES):
        good, bad = trace(number, size)
        ours, plain = OURS.firing(good, bad, now), TEXTBOOK.firing(good, bad, now)
        fired += sum(int(fires[list(moments)].sum()) for fires in (*ours.values(), *plain.values()))
        series = [{"series": GOOD, "values": values(good, now)}, {"series": FAILED, "values": values(bad, now)}]
        checks = [*expected(names.ALERT_BURN, ours, moments), *expected("Textbook", plain, moments)]
        tests.append({"interval": "30s", "input_series": series, "promql_expr_test": checks})
    rules = ["shop.rules.yaml", "textbook.yaml"]
    order = groups((tmp_path / name).read_text() for name in rules)
    files = {"rule_files": rules, "evaluation_interval": "30s", "group_eval_order": order, "tests": tests}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(files))
    command = [str(programs["promtool"]), "test", "rules", "test.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1800, check=False)
    print(f"{TRACES} traces of {size / 120:.1f} h, compared at {len(moments)} moments; {fired} alerts fire in them")
    assert (done.returncode, done.stderr[:3000]) == (0, "")
    assert fired > TRACES * 10
