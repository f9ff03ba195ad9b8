import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from temporal_slo import names
from temporal_slo.exporter.exposition.escaping import EXEMPLAR_LENGTH, exemplar_text
from temporal_slo.exporter.exposition.publisher import Publisher
from temporal_slo.exporter.exposition.renderer import Renderer
from temporal_slo.exporter.exposition.scrapers import Scraper
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
    """Return a counted run that closed *at* seconds after BEGAN."""
    closed_run = replace(closed(at), workflow_id=workflow_id, run_id=f"run-{workflow_id}")
    return SloRules().counted(closed_run, classification)


async def mirror_of(ledger_url: str, exemplars: Exemplars, *runs: Counted) -> Mirror:
    """Return a mirror that has counted *runs*."""
    ledger = Ledger(ledger_url)
    mirror = Mirror("shop", FakeVisibility(), ledger, State(), BEGAN, classify=from_visibility, exemplars=exemplars)
    await mirror.store.commit(Change(counted=list(runs)), BEGAN)
    ledger.close()
    return mirror


def openmetrics(publisher: Publisher) -> str:
    """Return the exposition of a complete OpenMetrics scrape."""
    answer, number = publisher.response("application/openmetrics-text", "")
    for _ in range(2):  # a client that is not Prometheus counts from its second request on
        publisher.served(number, Scraper("10.0.0.1"))
    return answer.body.decode()


def test_limit() -> None:
    """An exemplar has both ids if they fit into 128 characters, else the run id if it fits, else there is none."""
    assert exemplar_text(Exemplar(LONGEST, RUN_ID, 7.5)) == (
        f' # {{run_id="{RUN_ID}",workflow_id="{LONGEST}"}} 1.0 7.5'
    )
    assert exemplar_text(Exemplar(f"{LONGEST}w", RUN_ID, 7.5)) == f' # {{run_id="{RUN_ID}"}} 1.0 7.5'
    # Characters count, not bytes or escape sequences.
    assert "workflow_id" in exemplar_text(Exemplar(LONGEST.replace("w", "漢"), RUN_ID, 7.5))
    assert "workflow_id" in exemplar_text(Exemplar(LONGEST.replace("w", '"'), RUN_ID, 7.5))
    assert not exemplar_text(Exemplar("w", "r" * EXEMPLAR_LENGTH, 7.5))


@pytest.mark.parametrize("bad", ["a\0b", "a\ud800b", ""])
def test_unencodable_id(bad: str) -> None:
    """An id that the exposition cannot contain is omitted, and the other one is kept."""
    assert exemplar_text(Exemplar(bad, RUN_ID, 7.5)) == f' # {{run_id="{RUN_ID}"}} 1.0 7.5'
    assert exemplar_text(Exemplar("ride", bad, 7.5)) == ' # {workflow_id="ride"} 1.0 7.5'
    assert not exemplar_text(Exemplar(bad, bad, 7.5))


hostile = st.text(st.characters(exclude_categories=()), max_size=140)


LINE = re.compile(r't_rides_total\{zone="a"\} 3\.0(?: # \{(.+)\} 1\.0 7\.5)?')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')
ESCAPED = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


@given(hostile, hostile)
def test_hostile_ids(workflow_id: str, run_id: str) -> None:
    """Any ids stay on their line, unescape to themselves, and are within the length limit."""
    value = ValueWithExemplar(3, Exemplar(workflow_id, run_id, 7.5))
    exposition = Renderer().render([(COUNTER, [(("a",), value), (("b",), 5)])])
    _, _, line, other, end, rest = exposition.openmetrics.decode().split("\n")
    assert (other, end, rest) == ('t_rides_total{zone="b"} 5.0', "# EOF", "")
    found = LINE.fullmatch(line)
    assert found
    exemplar_labels = found[1] or ""
    assert not LABEL.sub("", exemplar_labels)
    labels = {name: re.sub(r"\\.", lambda two: ESCAPED[two[0]], text) for name, text in LABEL.findall(exemplar_labels)}
    assert labels.items() <= {"workflow_id": workflow_id, "run_id": run_id}.items()
    assert sum(len(name) + len(text) for name, text in labels.items()) <= EXEMPLAR_LENGTH


def test_only_in_openmetrics() -> None:
    """Only OpenMetrics has exemplars, on the lines of their counters; a new exemplar replaces the last one."""
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


def test_gauge() -> None:
    """A gauge with an exemplar is rejected."""
    with pytest.raises(TypeError, match="t_open"):
        Renderer().render([(GAUGE, [(("a",), ValueWithExemplar(3, Exemplar("w", RUN_ID, 7.5)))])])


def test_newest() -> None:
    """The exemplar of a series is the run that closed last, whatever the order in which runs are counted."""
    exemplars, classification = Exemplars(), Classification("failed", "none", "Refused")
    for at, workflow_id in ((10, "a"), (30, "b"), (20, "c")):
        exemplars.add([run(at, workflow_id, classification)])
    newest = Exemplar("b", "run-b", (BEGAN + 30 * SECOND) / SECOND)
    assert (exemplars.get(CLOSED), exemplars.get(FAILURE), len(exemplars)) == (newest, newest, 2)


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
    """Only runs that failed, timed out, were terminated or have a bad outcome become exemplars."""
    exemplars = Exemplars()
    exemplars.add([run(10, "a", classification)])
    assert len(exemplars) == series


async def test_ids_redacted(ledger_url: str) -> None:
    """If exemplars are disabled there are none, and the counts are the same."""
    failed = run(10, "a", Classification("failed", "none", "Refused"))
    found = exposed(await mirror_of(ledger_url, Exemplars(enabled=False), failed), BEGAN)
    assert (found.exemplars, found.closed[CLOSED]) == ({}, 1)


async def test_after_its_increment(ledger_url: str) -> None:
    """A new series has no exemplar while it is exposed as 0; the exemplar comes with the increment."""
    failed = run(10, "a", Classification("failed", "none", "Refused"))
    samples = tuple((await mirror_of(ledger_url, Exemplars(), failed)).samples(BEGAN))
    publisher = Publisher(FakeMemory(), clock=FixedClock())
    await publisher.put(Snapshot("shop", samples))
    assert "# {" not in openmetrics(publisher)
    await publisher.put(Snapshot("shop", samples))
    assert openmetrics(publisher).count('} 1.0 # {run_id="run-a",workflow_id="a"} 1.0 ') == 2
