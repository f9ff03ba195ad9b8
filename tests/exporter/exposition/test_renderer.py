import gc
import gzip
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Metric, samples
from prometheus_client import exposition as library_text
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics import exposition as library_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from temporal_slo import names
from temporal_slo.exporter.exposition.renderer import OPENMETRICS, TEXT, VARIANT_TTL, Exposition, Renderer, Variant
from temporal_slo.names.samples import Exemplar, Histogram, Labels, Observations, Value, ValueWithExemplar
from temporal_slo.runs.counted import BUCKET_BOUNDS_SECONDS

PROMETHEUS = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
TEXT_GZIP, OPENMETRICS_GZIP = Variant(TEXT, gzip=True), Variant(OPENMETRICS, gzip=True)
HOSTILE_HELP = 'Says "so" \\ and\nmore: ü.'

COUNTER = names.Family("t_rides", "counter", HOSTILE_HELP, ("zone", "driver"))
GAUGE = names.Family("t_fare_seconds", "gauge", "A gauge.", ("zone",), "seconds")
BARE = names.Family("t_up", "gauge", "No labels.", ())
HISTOGRAM = names.Family("t_wait_seconds", "histogram", HOSTILE_HELP, ("zone", "driver", "kind"), "seconds")
LATE = names.Family("t_late_seconds", "histogram", "All labels before le.", ("a", "b"))
FAMILIES = (COUNTER, GAUGE, BARE, HISTOGRAM, LATE)

Data = Mapping[names.Family, Mapping[Labels, Value]]


class Collected(Collector):
    """Collects given metrics."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        return self._metrics


def metric(family: names.Family, series: Mapping[Labels, Value]) -> Metric:
    """Return the family as a Metric of prometheus_client."""
    if family.type == "histogram":
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels, unit=family.unit)
        for labels, value in series.items():
            assert isinstance(value, Histogram)
            histogram.add_metric(labels, buckets(value), value.observed.total)
        return histogram
    cls = CounterMetricFamily if family.type == "counter" else GaugeMetricFamily
    number = cls(family.name, family.help, labels=family.labels, unit=family.unit)
    for labels, value in series.items():
        assert not isinstance(value, Histogram)
        if isinstance(value, ValueWithExemplar):
            assert isinstance(number, CounterMetricFamily)
            number.add_metric(labels, value.value, exemplar=library_exemplar(value.exemplar))
        else:
            number.add_metric(labels, value)
    return number


def library_exemplar(exemplar: Exemplar) -> samples.Exemplar:
    """Return the exemplar of prometheus_client, which does not limit its length."""
    return samples.Exemplar({"run_id": exemplar.run_id, "workflow_id": exemplar.workflow_id}, 1.0, exemplar.timestamp)


def buckets(value: Histogram) -> list[tuple[str, float]]:
    """Return the cumulative buckets, as prometheus_client expects them."""
    counts, bounds = value.observed.counts, [*map(go_float, value.bounds), "+Inf"]
    return [(bound, sum(counts[: index + 1])) for index, bound in enumerate(bounds)]


def go_float(value: float) -> str:
    """Return a number in the format of prometheus_client."""
    return str(floatToGoString(value))  # type: ignore[no-untyped-call] # untyped in the library


def library_rendering(data: Data) -> tuple[bytes, bytes]:
    """Return *data* in both formats, rendered by prometheus_client."""
    metrics = Collected(metric(family, series) for family, series in data.items())
    openmetrics = library_openmetrics.generate_latest(metrics)  # type: ignore[no-untyped-call] # untyped in the library
    return library_text.generate_latest(metrics), openmetrics


def render(data: Data, renderer: Renderer | None = None) -> Exposition:
    """Return *data* rendered, by default by a new renderer."""
    return (renderer or Renderer()).render((family, series.items()) for family, series in data.items())


numbers = st.one_of(
    st.sampled_from([0, 0.0, -0.0, 999_999, 1_000_000, -7, 2**53 + 1, 1e-300, 1e300, 12345678901.5, True]),
    st.integers(-(10**20), 10**20),
    st.floats(),
)
values = st.one_of(
    st.text(), st.sampled_from(['a"b\\c\nd{e}=,', "%s %% %d", "\\n", "ü 漢 \U0001f600", "le", "\0", "\r"])
)


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    """Histograms with any bounds, counts and sum."""
    bounds = draw(st.lists(st.floats(min_value=0.001, max_value=1e12), unique=True, max_size=4).map(sorted))
    counts = draw(st.lists(st.integers(0, 2_000_000), min_size=len(bounds) + 1, max_size=len(bounds) + 1))
    return Histogram(Observations(tuple(counts), draw(numbers)), tuple(bounds))


# Only ids that prometheus_client writes too: complete, and both of them.
ids = st.one_of(st.sampled_from(["ride", 'a"b\\c\nd{e}=,# ', "ü 漢", "\r"]), st.text(min_size=1, max_size=50)).filter(
    lambda value: "\0" not in value
)
values_with_exemplar = st.builds(
    ValueWithExemplar, numbers, st.builds(Exemplar, ids, ids, st.floats(0, 4e9, allow_nan=False, allow_infinity=False))
)


def series_of(family: names.Family) -> st.SearchStrategy[dict[Labels, Value]]:
    """Series with hostile labels and numbers; few label sets, so that the next rendering has some of them again."""
    value: st.SearchStrategy[Value] = histograms() if family.type == "histogram" else numbers
    value = st.one_of(numbers, values_with_exemplar) if family.type == "counter" else value
    labels = st.tuples(*(st.one_of(st.sampled_from(["a", "%"]), values) for _ in family.labels))
    return st.dictionaries(labels, value, max_size=3)


datasets = st.fixed_dictionaries({family: series_of(family) for family in FAMILIES})


@settings(deadline=None)
@given(st.lists(datasets, min_size=1, max_size=3))
def test_same_bytes_as_the_library(rounds: Sequence[Data]) -> None:
    """Both formats equal those of prometheus_client byte for byte, whatever the data and the renderings before."""
    renderer = Renderer()
    for data in rounds:
        exposition = render(data, renderer)
        assert (exposition.text, exposition.openmetrics) == library_rendering(data)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Histogram(Observations((1, 0), 0.0), (1.0,)), Histogram(Observations((1, 0), -0.0), (1.0,))),
        (Histogram(Observations((1, 3), 5.0), (1.0,)), Histogram(Observations((1, 3), 5.0), (2.0,))),
        (Histogram(Observations((1, 3), 5.0), (1.0,)), Histogram(Observations((1, 3, 0), 5.0), (1.0, 2.0))),
        (Histogram(Observations((1, 3), float("nan")), (1.0,)), Histogram(Observations((1, 3), 7.0), (1.0,))),
    ],
)
def test_changed_histograms(before: Histogram, after: Histogram) -> None:
    """A histogram is rendered again if only its sum, the sign of its sum or its bounds change."""
    renderer = Renderer()
    for value in (before, after, before):
        data: Data = {LATE: {("%s", "y"): value}}
        assert render(data, renderer).text == library_rendering(data)[0]


def test_text_format() -> None:
    """Labels including `le` are sorted by name, buckets are cumulative, HELP and label values are escaped."""
    wait = Histogram(Observations((3, 0, 4), 12.5), (0.5, 3600.0))
    text = render({COUNTER: {('a"b', "x\ny"): 7}, HISTOGRAM: {("z", "d", "k"): wait}}).text.decode()
    assert text == (
        '# HELP t_rides_total Says "so" \\\\ and\\nmore: ü.\n# TYPE t_rides_total counter\n'
        't_rides_total{driver="x\\ny",zone="a\\"b"} 7.0\n'
        '# HELP t_wait_seconds Says "so" \\\\ and\\nmore: ü.\n# TYPE t_wait_seconds histogram\n'
        't_wait_seconds_bucket{driver="d",kind="k",le="0.5",zone="z"} 3.0\n'
        't_wait_seconds_bucket{driver="d",kind="k",le="3600.0",zone="z"} 3.0\n'
        't_wait_seconds_bucket{driver="d",kind="k",le="+Inf",zone="z"} 7.0\n'
        't_wait_seconds_count{driver="d",kind="k",zone="z"} 7.0\n'
        't_wait_seconds_sum{driver="d",kind="k",zone="z"} 12.5\n'
    )


def test_declared_families_parse() -> None:
    """Every family of `names` passes the strict OpenMetrics parser of prometheus_client, with its unit."""
    example = Histogram(Observations((1,) * (len(BUCKET_BOUNDS_SECONDS) + 1), 2.5), BUCKET_BOUNDS_SECONDS)
    data = {
        family: {("x",) * len(family.labels): example if family.type == "histogram" else 3}
        for family in names.EXPORTER_FAMILIES
    }
    text = render(data).openmetrics.decode()
    parsed = text_string_to_metric_families(text)  # type: ignore[no-untyped-call] # untyped in the library
    assert [(f.name, f.type, f.unit) for f in parsed] == [(f.name, f.type, f.unit) for f in names.EXPORTER_FAMILIES]


@pytest.mark.parametrize(
    ("family", "labels", "value", "error"),
    [
        (COUNTER, ("x",), 1, r"t_rides: 1 label values \('x',\) for \('zone', 'driver'\)"),
        (COUNTER, ("x", "y", "z"), 1, "t_rides: 3 label values"),
        (BARE, ("x",), 1, "t_up: 1 label values"),
        (COUNTER, ("x", "y"), Histogram(Observations((1,), 1), ()), "t_rides: .* does not fit a counter"),
        (LATE, ("x", "y"), 3, "t_late_seconds: 3 does not fit a histogram"),
        (LATE, ("x", "y"), Histogram(Observations((1,), 1), (5.0,)), "1 counts for 1 bounds and [+]Inf"),
    ],
)
def test_wrong_series(family: names.Family, labels: Labels, value: Value, error: str) -> None:
    """A series that does not match the declaration of its family raises an error."""
    with pytest.raises((ValueError, TypeError), match=error):
        render({family: {labels: value}})


def test_render_after_an_error() -> None:
    """A histogram that raises an error does not affect later renderings."""
    renderer, good = Renderer(), Histogram(Observations((1, 2), 3.0), (5.0,))
    before = render({LATE: {("x", "y"): good}}, renderer).text
    with pytest.raises(ValueError, match="2 counts for 2 bounds"):
        render({LATE: {("x", "y"): good._replace(bounds=(7.0, 11.0))}}, renderer)
    after = good._replace(observed=Observations((1, 2), 13.0))
    assert render({LATE: {("x", "y"): after}}, renderer).text == before.replace(b" 3.0\n", b" 13.0\n").replace(
        b'le="+Inf"} 13.0', b'le="+Inf"} 3.0'
    ).replace(b'_count{a="x",b="y"} 13.0', b'_count{a="x",b="y"} 3.0')


def test_lone_surrogate() -> None:
    """A label value that cannot be encoded loses a character, and does not fail the exposition."""
    assert render({GAUGE: {("a\ud800b",): 3}}).text.endswith(b't_fare_seconds{zone="a?b"} 3.0\n')


class Name(str):
    """A label value with a weak reference."""

    __slots__ = ("__weakref__",)


def test_memory_of_deleted_series() -> None:
    """A renderer keeps no text of series that its last rendering did not have."""
    renderer, name = Renderer(), Name("deleted")
    reference = weakref.ref(name)
    render({GAUGE: {(name,): 3}}, renderer)
    del name
    gc.collect()
    assert reference()
    render({GAUGE: {("stays",): 3}}, renderer)
    gc.collect()
    assert reference() is None


@dataclass
class Clock:
    """A clock that a test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_variants_rendered_ahead() -> None:
    """Both formats with gzip are rendered ahead initially, later the variants requested in the last ten minutes."""
    clock = Clock()
    renderer = Renderer(clock)
    first = render({BARE: {(): 1}}, renderer)
    assert first.ready == {TEXT_GZIP, OPENMETRICS_GZIP}
    clock.now += VARIANT_TTL - 1
    first.response(PROMETHEUS, "gzip")
    assert render({BARE: {(): 1}}, renderer).ready == {TEXT_GZIP, OPENMETRICS_GZIP}
    clock.now += 2
    second = render({BARE: {(): 1}}, renderer)
    assert second.ready == {OPENMETRICS_GZIP}
    second.response("", "")
    assert render({BARE: {(): 1}}, renderer).ready == {OPENMETRICS_GZIP, Variant(TEXT, gzip=False)}
    clock.now += VARIANT_TTL + 1
    assert render({BARE: {(): 1}}, renderer).ready == frozenset()


@pytest.mark.parametrize("encoding", ["gzip", "deflate, GZIP;q=0.5", "br;q=1.0,gzip;q=1"])
@pytest.mark.parametrize(("accept", "content_type"), [("", TEXT), (PROMETHEUS, OPENMETRICS)])
def test_gzip(accept: str, content_type: str, encoding: str) -> None:
    """A client that accepts gzip gets the same body compressed, and the same bytes each time."""
    exposition = render({COUNTER: {("a", "b"): 7}})
    body, headers = exposition.response(accept, encoding)
    assert (headers["content-type"], headers["content-encoding"]) == (content_type, "gzip")
    assert gzip.decompress(body) == exposition.response(accept, "").body
    assert render({COUNTER: {("a", "b"): 7}}).response(accept, encoding).body == body


@pytest.mark.parametrize("encoding", ["", "identity", "gzip;q=0", "gzip; q=0.000", "br", "gzipped"])
def test_no_gzip(encoding: str) -> None:
    """A client that does not accept gzip gets an uncompressed body without content encoding."""
    exposition = render({COUNTER: {("a", "b"): 7}})
    body, headers = exposition.response(PROMETHEUS, encoding)
    assert body == exposition.openmetrics
    assert "content-encoding" not in headers


accepts = st.lists(
    st.sampled_from(
        [
            "application/openmetrics-text",
            "application/openmetrics-text;version=1.0.0",
            " application/openmetrics-text; version=1.0.0; q=0.8",
            "text/plain;version=0.0.4;q=0.5",
            "text/plain",
            "*/*;q=0.1",
            "text/html",
            "application/json;version=1.0.0",
        ]
    ),
    max_size=4,
).map(",".join)


@settings(deadline=None)
@given(accepts)
def test_format_negotiation(accept: str) -> None:
    """A scrape gets OpenMetrics if prometheus_client would return it, else the text format."""
    exposition = render({COUNTER: {("a", "b"): 7}})
    _, content_type = library_text.choose_encoder(accept)
    expected = OPENMETRICS if content_type.startswith("application/openmetrics-text") else TEXT
    body, headers = exposition.response(accept, "")
    assert headers["content-type"] == expected
    assert body == (exposition.openmetrics if expected == OPENMETRICS else exposition.text)


@settings(deadline=None)
@given(st.text(alphabet="application/openmetrics-text;version=1.0,q ", max_size=60), st.text(alphabet="gzip;q=0., *"))
def test_malformed_headers(accept: str, accept_encoding: str) -> None:
    """A scrape with malformed headers gets an exposition."""
    assert render({BARE: {(): 1}}).response(accept, accept_encoding).body


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4", TEXT),
        ("application/openmetrics-text;q=0,text/plain", TEXT),
        ("application/openmetrics-text;version=draft", OPENMETRICS),
    ],
)
def test_drafts_and_zero_quality(accept: str, content_type: str) -> None:
    """Drafts of OpenMetrics and a quality of zero get the text format; an invalid version is ignored."""
    assert render({BARE: {(): 1}}).response(accept, "").headers["content-type"] == content_type
