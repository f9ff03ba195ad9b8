import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from temporal_slo import names
from temporal_slo.exporter import collector
from temporal_slo.exporter.collector import TEXT, Sample, collect, render
from temporal_slo.exporter.snapshot import BUCKETS, ClosedKey, DurationKey, Durations, Figures, RunningKey, Snapshot

COUNTS = (3, *[0] * (len(BUCKETS) - 1), 4)
FIGURES = Figures(
    closed={ClosedKey("Ride", "rides", "failed", "none"): 7},
    durations={DurationKey("Ride", "failed", "none"): Durations(COUNTS, 12.5)},
    running={RunningKey("Ride", "rides"): 11},
    oldest_running_age={"Ride": 13.25},
)
GOOD = Snapshot("shop", FIGURES, None, 1_700_000_000.5, 0.125, {("ListWorkflowExecutions", "OK"): 17}, 19)

EXPECTED = """\
temporal_slo_workflows_closed_total{outcome="none",status="failed",task_queue="rides",\
temporal_namespace="shop",workflow_type="Ride"} 7.0
temporal_slo_workflows_running{task_queue="rides",temporal_namespace="shop",workflow_type="Ride"} 11.0
temporal_slo_workflow_oldest_running_age_seconds{temporal_namespace="shop",workflow_type="Ride"} 13.25
temporal_slo_exporter_up{temporal_namespace="shop"} 1.0
temporal_slo_exporter_last_success_timestamp_seconds{temporal_namespace="shop"} 1.7000000005e+09
temporal_slo_exporter_poll_duration_seconds{temporal_namespace="shop"} 0.125
temporal_slo_exporter_visibility_requests_total{api="ListWorkflowExecutions",code="OK",temporal_namespace="shop"} 17.0
temporal_slo_exporter_unknown_status_rows_total{temporal_namespace="shop"} 19.0
temporal_slo_exporter_build_info{version="0.1.0"} 1.0
"""


def samples(snapshot: Snapshot) -> str:
    """The exposition without comments and the histogram."""
    lines = render([snapshot]).text.decode().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("#", names.WORKFLOW_DURATION.name)))


def test_exposition() -> None:
    """A snapshot's exposition holds each figure under its name and labels, in the order of names.py."""
    assert samples(GOOD) == EXPECTED


def test_histogram() -> None:
    """Durations become cumulative buckets that end at +Inf, with count and sum."""
    (family,) = (f for f in parse_text(render([GOOD]).text.decode()) if f.name == names.WORKFLOW_DURATION.name)
    values = {(s.name.removeprefix(family.name), s.labels.get("le")): s.value for s in family.samples}
    assert (values["_bucket", "0.5"], values["_bucket", "86400.0"], values["_bucket", "+Inf"]) == (3, 3, 7)
    assert (values["_count", None], values["_sum", None]) == (7, 12.5)


def test_no_data_is_not_zero() -> None:
    """Before the first poll there are no figures and no last success, and the exporter is not up."""
    names_seen = {line.split("{")[0] for line in samples(Snapshot("shop", trouble="not yet")).splitlines()}
    assert names_seen == {
        "temporal_slo_exporter_up",
        "temporal_slo_exporter_unknown_status_rows_total",
        "temporal_slo_exporter_build_info",
    }
    assert 'temporal_slo_exporter_up{temporal_namespace="shop"} 0.0' in samples(Snapshot("shop", trouble="not yet"))


def openmetrics(snapshot: Snapshot) -> list[Metric]:
    """The families of the OpenMetrics exposition, as the library's strict parser reads them."""
    text = render([snapshot]).openmetrics.decode()
    return list(parse_openmetrics(text))  # type: ignore[no-untyped-call] # the library has it untyped


def test_every_family_declared() -> None:
    """Both formats parse, and hold every family of names.py with its type and help."""
    text = {f.name: (f.type, f.documentation) for f in parse_text(render([GOOD]).text.decode())}
    strict = {f.name: (f.type, f.documentation) for f in openmetrics(GOOD)}
    assert text == strict == {f.name: (f.type, f.help) for f in names.EXPORTER_FAMILIES}


def test_hostile_labels() -> None:
    """A workflow type with quotes, backslashes and line breaks survives the exposition unchanged."""
    hostile = 'a"b\\c\nd{e}=,'
    snapshot = Snapshot("shop", Figures(running={RunningKey(hostile, "rides"): 1}))
    (family,) = (f for f in parse_text(render([snapshot]).text.decode()) if f.name == names.WORKFLOWS_RUNNING.name)
    assert [sample.labels[names.WORKFLOW_TYPE] for sample in family.samples] == [hostile]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", TEXT),
        ("text/html", TEXT),
        ("text/plain;version=0.0.4", TEXT),
        ("application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", OPENMETRICS),
    ],
)
def test_choice_of_format(accept: str, content_type: str) -> None:
    """A scrape gets OpenMetrics if it asks for it, else text."""
    exposition = render([GOOD])
    body = exposition.openmetrics if content_type == OPENMETRICS else exposition.text
    assert exposition.choose(accept) == (body, content_type)


def test_wrong_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample with labels that its family does not declare is refused, not quietly cut."""
    wrong = Sample(names.WORKFLOWS_RUNNING, {names.NAMESPACE: "shop", "kind": "Ride"}, 1)
    monkeypatch.setattr(collector, "_samples", lambda _: [wrong])
    with pytest.raises(ValueError, match=r"temporal_slo_workflows_running: \['kind', 'temporal_namespace'\] are not"):
        collect([GOOD])
