"""The history in the ledger as OpenMetrics text."""

import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from temporal_slo import names
from temporal_slo.errors import UsageError
from temporal_slo.exporter.history_export.command import export
from temporal_slo.exporter.history_export.openmetrics_file import (
    MAX_HISTOGRAM_SAMPLE_INTERVAL,
    MAX_SAMPLE_INTERVAL,
    ExportedFamily,
    ExportedSeries,
    Window,
    counter_samples,
    counter_suffix,
    write,
)
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.runs.microseconds import MINUTE, SECOND
from temporal_slo.spec.load import load
from tests.exporter.backfill.test_backfill import Site
from tests.run_factory import BEGAN, closed

STEP = 60_000
SAMPLE_LINE = re.compile(r"^(\w+)(\{.*\}) (\S+) (\d+\.\d{3})$")


@given(
    st.lists(st.tuples(st.integers(1, 5000), st.integers(1, 9)), max_size=20),
    st.sampled_from([1, 2, 7]),
    st.sampled_from([MAX_SAMPLE_INTERVAL, MAX_HISTOGRAM_SAMPLE_INTERVAL]),
)
def test_counter_samples(steps: list[tuple[int, int]], factor: int, max_interval: int) -> None:
    """Samples have the total at their time, one is before and one after each change, and no interval is too long."""
    changes, moment, total = list[tuple[int, int]](), 0, 0
    for wait, count in steps:
        moment, total = moment + wait * 1000, total + count
        changes.append((moment, total))
    window = Window(0, moment + 12_345, factor * STEP)
    samples = list(counter_samples(iter(changes), 0, window, max_interval))
    assert bool(samples) == bool(changes)
    times = [at for at, _ in samples]
    assert times == sorted(set(times))
    for at, value in samples:
        if at < window.end:
            assert at % window.step == 0
        assert value == max([total for moment, total in changes if moment <= at or at == window.end], default=0)
    for (at, value), (then, after) in pairwise(samples):
        assert then - at <= max(max_interval, window.step)
        assert value == after or then - at <= window.step
    assert not samples or (samples[0][1], times[-1], samples[-1][1]) == (0, window.end, total)


def test_lines() -> None:
    """Lines are valid OpenMetrics for any label value; recorded series are in the same file."""
    recorded = names.Family("slo:rides:ratio", "gauge", 'A "ratio".', ())
    counter = ExportedSeries(counter_suffix({"workflow_type": 'a"b\\c\nd'}), [(1_500, (1,)), (2_000, (2_000_000,))])
    file = BytesIO()
    gauge = ExportedSeries(("",), [(1_000, (0.25,))])
    written = write(file, [ExportedFamily(names.WORKFLOWS_CLOSED, [counter]), ExportedFamily(recorded, [gauge])])
    assert (written.series, written.samples) == (2, 3)
    assert file.getvalue().decode().splitlines()[1:] == [
        "# TYPE temporal_slo_workflows_closed counter",
        r'temporal_slo_workflows_closed_total{workflow_type="a\"b\\c\nd"} 1.0 1.500',
        r'temporal_slo_workflows_closed_total{workflow_type="a\"b\\c\nd"} 2e+06 2.000',
        r"# HELP slo:rides:ratio A \"ratio\".",
        "# TYPE slo:rides:ratio gauge",
        "slo:rides:ratio 0.25 1.000",
        "# EOF",
    ]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A ledger with backfilled and live runs, some of both in the same minute."""
    old = [closed(-number * 50, ("completed", "failed")[number % 2]) for number in range(1, 20)]
    made = Site(tmp_path / "ledger.db", old)
    await made.begin()
    made.visibility.put(closed(-10), closed(-5), closed(400))
    made.clock.forward(500)
    await made.mirror.poll(made.now)
    while await made.mirror.catch_up(made.now):
        pass
    await made.backfill().run()
    yield made
    made.ledger.close()


def test_ends_where_counting_started(site: Site) -> None:
    """The last sample has all backfilled runs and no live ones; an exporter may have the ledger open."""
    target = site.path.with_name("history.txt")
    options = {"openmetrics": str(target), "ledger": f"sqlite:///{site.path}", "step": "5m"}
    summary = export({"temporal_namespace": None, "since": None, **options}, ["job=slo"], {})
    lines = [match.groups() for line in target.read_text().splitlines() if (match := SAMPLE_LINE.match(line))]
    last = {(name, labels): (float(value), at) for name, labels, value, at in lines}
    begin = (BEGAN - 50 * SECOND + 1) // 1000
    assert {at for _, at in last.values()} == {f"{begin / 1000:.3f}"}
    assert sorted(value for (name, _), (value, _) in last.items() if name.endswith("closed_total")) == [9, 10]
    assert sorted(value for (name, _), (value, _) in last.items() if name.endswith("_count")) == [9, 10]
    assert all('job="slo"' in labels and 'temporal_namespace="shop"' in labels for _, labels in last)
    assert sum(site.counted.values()) == 22
    assert summary.splitlines()[1].startswith("shop: backfilled back to ")


def test_since(site: Site) -> None:
    """A shorter history starts at 0 too, and has the runs that closed in it."""
    target = site.path.with_name("history.txt")
    options = {"openmetrics": str(target), "ledger": f"sqlite:///{site.path}", "temporal_namespace": "shop"}
    now = BEGAN / SECOND // 60 * 60
    export({"since": "5m", "step": "1m", **options}, [], {}, clock=lambda: now)
    lines = [match.groups() for line in target.read_text().splitlines() if (match := SAMPLE_LINE.match(line))]
    counts = {labels: float(value) for name, labels, value, _ in lines if name.endswith("closed_total")}
    old = [BEGAN - number * 50 * SECOND for number in range(1, 20)]
    assert sum(counts.values()) == sum(close // MINUTE >= (now - 300) // 60 for close in old)


MISTAKES = {
    "no ledger": ({"ledger": "sqlite:////nowhere/x.db"}, [], "--ledger: '/nowhere/x.db' is not a file"),
    "no database": ({"ledger": "mysql://h/x"}, [], "--ledger: mysql is not supported"),
    "no url": ({"ledger": "x"}, [], "--ledger: is not a database URL"),
    "no port": ({"ledger": "postgresql://u:hunter2@h:port/x"}, [], "--ledger: is not a database URL; write for"),
    "step": ({"step": "90s"}, [], "--step: 1m30s is not whole minutes"),
    "since": ({"since": "soon"}, [], "--since: 'soon' is not a duration"),
    "namespace": ({"temporal_namespace": "shpo"}, [], "--temporal-namespace: 'shpo' is not in the ledger"),
    "folder": ({"openmetrics": "/nowhere/x"}, [], "--openmetrics /nowhere/x: cannot be written: No such file"),
    "file exists": ({"openmetrics": "/etc/hostname"}, [], "--openmetrics /etc/hostname: already exists"),
    "label": ({}, ["job"], "--label: 'job' is not a valid target label, or is repeated"),
    "reserved label": ({}, ["status=x"], "--label: 'status=x' is not a valid"),
    "label twice": ({}, ["job=a", "job=b"], "--label: 'job=b' is not a valid"),
    "label of Prometheus": ({}, ["__name__=b"], "--label: '__name__=b' is not a valid"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes(site: Site, kind: str) -> None:
    """A mistake raises one line, and leaves no file."""
    wrong, labels, message = MISTAKES[kind]
    target = site.path.with_name("history.txt")
    options = {"openmetrics": str(target), "ledger": f"sqlite:///{site.path}", "temporal_namespace": None}
    with pytest.raises(UsageError) as error:
        export({"since": None, "step": "1m", **options, **wrong}, labels, {})
    assert str(error.value).startswith(message)
    assert {path.name.split("-")[0] for path in site.path.parent.iterdir()} == {"ledger.db"}


def test_empty_file(tmp_path: Path) -> None:
    """An empty file is not a ledger, and stays empty."""
    path = tmp_path / "empty.db"
    path.touch()
    options = {"openmetrics": str(tmp_path / "history.txt"), "temporal_namespace": None, "since": None, "step": "1m"}
    with pytest.raises(UsageError, match=r"^--ledger: '.*/empty\.db' is empty; give the ledger of the exporter$"):
        export({"ledger": f"sqlite:///{path}", **options}, [], {})
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_size == 0


SPEC = """\
version: temporal-slo/v1
service: {service}
temporal_namespace: {service}
owner: rides
period: 30d
slos: [{{name: rides, workflow: Ride, objective: 99, sli: {{success: {{bad: [failed]}}}}}}]
"""


def test_specs_of_other_namespaces(site: Site, tmp_path: Path) -> None:
    """A spec whose namespace is not exported is reported; if no spec has one, nothing is written."""
    for service in ("shop", "fleet"):
        (tmp_path / f"{service}.yaml").write_text(SPEC.format(service=service))
    target = tmp_path / "history.txt"
    options = {"openmetrics": str(target), "ledger": f"sqlite:///{site.path}", "temporal_namespace": None}
    options |= {"since": None, "step": "5m"}
    with pytest.raises(UsageError, match=r"^--spec: no spec is for an exported Temporal namespace \('shop'\); "):
        export(options, [], {}, slos=load([tmp_path / "fleet.yaml"]).slos)
    assert not target.exists()
    summary = export(options, [], {}, slos=load([tmp_path / "fleet.yaml", tmp_path / "shop.yaml"]).slos)
    assert "skipped (Temporal namespace not in this export): fleet (fleet)" in summary.splitlines()


def test_no_history(tmp_path: Path) -> None:
    """A ledger without history, or of an older version, is an error with a remedy, and leaves no file."""
    path, target = tmp_path / "ledger.db", tmp_path / "history.txt"
    Ledger(f"sqlite:///{path}").close()
    options = {"openmetrics": str(target), "ledger": f"sqlite:///{path}", "temporal_namespace": None, "since": None}
    with pytest.raises(UsageError, match="has no history to export; run temporal-slo exporter with --backfill"):
        export({"step": "1m", **options}, [], {})
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE ledger SET value = '2' WHERE key = 'schema'")
    with pytest.raises(
        UsageError, match="is not a ledger of schema version 5; start this version of temporal-slo exporter"
    ):
        export({"step": "1m", **options}, [], {})
    assert not target.exists()
