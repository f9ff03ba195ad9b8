import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from temporal_slo import names
from temporal_slo.exporter.exposition.escaping import EXEMPLAR_LENGTH, exemplar_text
from temporal_slo.exporter.exposition.publisher import Publisher
from temporal_slo.exporter.exposition.renderer import Renderer
from temporal_slo.exporter.exposition.snapshot import Snapshot
from temporal_slo.exporter.mirror.exemplars import Exemplars
from temporal_slo.exporter.mirror.mirror import Mirror
from temporal_slo.exporter.mirror.slo_rules import SloRules
from temporal_slo.ledger.change import Change
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import State
from temporal_slo.names.samples import Exemplar, Labels, Value, ValueWithExemplar
from temporal_slo.runs.counted import Classification, ClosedKey, Counted, FailureKey
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.testing import FakeVisibility, FixedClock
from tests.exporter.exposition.test_publisher import FakeMemory
from tests.exposed import exposed
from tests.run_factory import BEGAN, closed, from_visibility

RUN_ID = "0123456789abcdef-0123456789abcdef-36"
COUNTER = names.Family("t_rides", "counter", "Rides.", ("zone",))
GAUGE = names.Family("t_open", "gauge", "Open.", ("zone",))
LONGEST = "w" * (EXEMPLAR_LENGTH - len(RUN_ID) - len("run_id") - len("workflow_id"))
CLOSED, FAILURE = ClosedKey("Ride", "rides", "failed", "none"), FailureKey("Ride", "failed", "Refused")


def run(at: float, workflow_id: str, classification: Classification) -> Counted:
    """A run that closed *at* seconds after BEGAN, as it is counted."""
    closed_run = replace(closed(at), workflow_id=workflow_id, run_id=f"run-{workflow_id}")
    return SloRules().counted(closed_run, classification)


async def mirror_of(ledger_url: str, exemplars: Exemplars, *runs: Counted) -> Mirror:
    """A mirror that has counted *runs*."""
    ledger = Ledger(ledger_url)
    mirror = Mirror("shop", FakeVisibility(), ledger, State(), BEGAN, classify=from_visibility, exemplars=exemplars)
    await mirror.store.commit(Change(counted=list(runs)), BEGAN)
    ledger.close()
    return mirror


def openmetrics(publisher: Publisher) -> str:
    """What a scrape for OpenMetrics has; it is sent to its end."""
    answer, number = publisher.response("application/openmetrics-text", "")
    publisher.served(number, "prometheus")
    return answer.body.decode()


def test_limit() -> None:
    """An exemplar has both ids if they fit into 128 characters, else the run id, else none."""
    assert exemplar_text(Exemplar(LONGEST, RUN_ID, 7.5)) == (
        f' # {{run_id="{RUN_ID}",workflow_id="{LONGEST}"}} 1.0 7.5'
    )
    assert exemplar_text(Exemplar(f"{LONGEST}w", RUN_ID, 7.5)) == f' # {{run_id="{RUN_ID}"}} 1.0 7.5'
    # Characters are counted, not bytes, and not the escapes.
    assert "workflow_id" in exemplar_text(Exemplar(LONGEST.replace("w", "漢"), RUN_ID, 7.5))
    assert "workflow_id" in exemplar_text(Exemplar(LONGEST.replace("w", '"'), RUN_ID, 7.5))
    assert not exemplar_text(Exemplar("w", "r" * EXEMPLAR_LENGTH, 7.5))


@pytest.mark.parametrize("bad", ["a\0b", "a\ud800b", ""])
def test_unwritable(bad: str) -> None:
    """An id that no exposition can hold is left out, and the other one stays."""
    assert exemplar_text(Exemplar(bad, RUN_ID, 7.5)) == f' # {{run_id="{RUN_ID}"}} 1.0 7.5'
    assert exemplar_text(Exemplar("ride", bad, 7.5)) == ' # {workflow_id="ride"} 1.0 7.5'
    assert not exemplar_text(Exemplar(bad, bad, 7.5))


hostile = st.text(st.characters(exclude_categories=()), max_size=140)


LINE = re.compile(r't_rides_total\{zone="a"\} 3\.0(?: # \{(.+)\} 1\.0 7\.5)?')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
ESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


@given(hostile, hostile)
def test_hostile_ids(workflow_id: str, run_id: str) -> None:
    """Whatever the ids, they stay on their line, and what it has of them is true and short enough."""
    value = ValueWithExemplar(3, Exemplar(workflow_id, run_id, 7.5))
    exposition = Renderer().render([(COUNTER, [(("a",), value), (("b",), 5)])])
    _, _, line, other, end, rest = exposition.openmetrics.decode().split("\n")
    assert (other, end, rest) == ('t_rides_total{zone="b"} 5.0', "# EOF", "")
    found = LINE.fullmatch(line)
    assert found
    inside = found[1] or ""
    assert not LABEL.sub("", inside)
    labels = {name: re.sub(r"\\.", lambda two: ESCAPED[two[0]], text) for name, text in LABEL.findall(inside)}
    assert labels.items() <= {"workflow_id": workflow_id, "run_id": run_id}.items()
    assert sum(len(name) + len(text) for name, text in labels.items()) <= EXEMPLAR_LENGTH


def test_only_in_openmetrics() -> None:
    """Plain text has no exemplars; OpenMetrics has them on the lines of their counters alone, whatever was before."""
    renderer = Renderer()
    for last in ("one", "two", "two"):
        rows: list[tuple[Labels, Value]] = [(("a",), ValueWithExemplar(3, Exemplar(last, RUN_ID, 7.5))), (("b",), 5)]
        exposition = renderer.render([(COUNTER, rows), (GAUGE, [(("a",), 7)])])
        assert exposition.text == renderer.render([(COUNTER, [(("a",), 3), (("b",), 5)]), (GAUGE, [(("a",), 7)])]).text
        assert exposition.openmetrics.decode().splitlines() == [
            "# HELP t_rides Rides.",
            "# TYPE t_rides counter",
            f't_rides_total{{zone="a"}} 3.0 # {{run_id="{RUN_ID}",workflow_id="{last}"}} 1.0 7.5',
            't_rides_total{zone="b"} 5.0',
            "# HELP t_open Open.",
            "# TYPE t_open gauge",
            't_open{zone="a"} 7.0',
            "# EOF",
        ]


def test_no_counter() -> None:
    """A gauge has no exemplars."""
    with pytest.raises(TypeError, match="t_open"):
        Renderer().render([(GAUGE, [(("a",), ValueWithExemplar(3, Exemplar("w", RUN_ID, 7.5)))])])


def test_newest() -> None:
    """Of the runs that a series counted, the one that closed last is its exemplar, whatever the order of arrival."""
    exemplars, classification = Exemplars(), Classification("failed", "none", "Refused")
    for at, workflow_id in ((10, "a"), (30, "b"), (20, "c")):
        exemplars.add([run(at, workflow_id, classification)])
    wanted = Exemplar("b", "run-b", (BEGAN + 30 * SECOND) / SECOND)
    assert (exemplars.get(CLOSED), exemplars.get(FAILURE), len(exemplars)) == (wanted, wanted, 2)


@pytest.mark.parametrize(
    ("classification", "series"),
    [
        (Classification("timed_out", "none", "TimeoutError:StartToClose"), 2),
        (Classification("terminated", "none", "terminated"), 2),
        (Classification("completed", "bad"), 1),
        (Classification("completed", "good"), 0),
        (Classification("canceled", "none"), 0),
    ],
)
def test_failed_or_bad(classification: Classification, series: int) -> None:
    """Runs that failed, timed out, were terminated or have a bad outcome are exemplars; no others are."""
    exemplars = Exemplars()
    exemplars.add([run(10, "a", classification)])
    assert len(exemplars) == series


async def test_ids_redacted(ledger_url: str) -> None:
    """Where ids must not leave the exporter there are no exemplars, and the counts are the same."""
    failed = run(10, "a", Classification("failed", "none", "Refused"))
    found = exposed(await mirror_of(ledger_url, Exemplars(enabled=False), failed), BEGAN)
    assert (found.exemplars, found.closed[CLOSED]) == ({}, 1)


async def test_after_its_increment(ledger_url: str) -> None:
    """A new series has no exemplar while it is exposed at 0; the exemplar comes with the increment."""
    failed = run(10, "a", Classification("failed", "none", "Refused"))
    samples = tuple((await mirror_of(ledger_url, Exemplars(), failed)).samples(BEGAN))
    publisher = Publisher(FakeMemory(), clock=FixedClock())
    await publisher.put(Snapshot("shop", samples))
    assert "# {" not in openmetrics(publisher)
    await publisher.put(Snapshot("shop", samples))
    assert openmetrics(publisher).count('} 1.0 # {run_id="run-a",workflow_id="a"} 1.0 ') == 2
