"""Renders both Prometheus text formats in milliseconds, by keeping the text of unchanged series."""

import re
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import copysign
from typing import Final, NamedTuple

from prometheus_client.utils import floatToGoString

from temporal_slo import names
from temporal_slo.exporter.exposition.escaping import escaped, exemplar_text, label_set
from temporal_slo.names.samples import Exemplar, FamilySeries, Histogram, Labels, Value, ValueWithExemplar

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

VARIANT_TTL: Final = 600.0
"""Seconds after its last request for which a variant is rendered ahead of scrapes."""

# Level 1 compresses these texts to 5 % in a third of the time of level 6, whose output is a sixth smaller.
_GZIP_LEVEL: Final = 1
_GZIP_WINDOW: Final = 31  # zlib's number for a gzip header with the largest window

_ZERO_QUALITY: Final = re.compile(r"0(\.0*)?")
"""Quality value with which a client rejects an offer."""

# From a million on Go writes an exponent; floatToGoString does that.
_PLAIN_INTEGERS_BELOW: Final = 1_000_000


class Variant(NamedTuple):
    """One of the four bodies of an exposition."""

    content_type: str
    gzip: bool

    @classmethod
    def accepted(cls, accept: str, accept_encoding: str) -> "Variant":
        """Return the variant for an HTTP `Accept` and `Accept-Encoding`: OpenMetrics and gzip if they allow these."""
        openmetrics = any(map(_is_openmetrics, _offers(accept)))
        gzip = any(coding == "gzip" for coding, _ in _offers(accept_encoding))
        return cls(OPENMETRICS if openmetrics else TEXT, gzip)


class ScrapeResponse(NamedTuple):
    """Body and headers of the response to a scrape."""

    body: bytes
    headers: dict[str, str]


class RecentVariants:
    """Variants that scrapes requested in the last ten minutes.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # By default Prometheus requests gzip; its format is unknown before the first scrape.
        self._requested = dict.fromkeys((Variant(TEXT, gzip=True), Variant(OPENMETRICS, gzip=True)), clock())

    def record(self, variant: Variant) -> None:
        """Record that a scrape requested *variant*."""
        self._requested[variant] = self._clock()

    def current(self) -> list[Variant]:
        """Return the recent variants; initially both formats with gzip."""
        now = self._clock()
        return [variant for variant, requested in list(self._requested.items()) if now - requested <= VARIANT_TTL]


@dataclass(frozen=True, slots=True)
class _Block:
    """A rendered family: header and samples of each format; the samples differ only in exemplars."""

    text_header: bytes
    openmetrics_header: bytes
    samples: bytes
    with_exemplars: bytes


class Exposition:
    """One rendering in all variants. Variants without recent requests are rendered by the scrape that requests them.

    Attributes:
        generation: Number that the caller gave the rendering.
    """

    def __init__(self, blocks: tuple[_Block, ...], recent: RecentVariants, generation: int = 0) -> None:
        self.generation = generation
        self._blocks = blocks
        self._recent = recent
        self._bodies: dict[Variant, bytes] = {}

    @property
    def ready(self) -> frozenset[Variant]:
        """Variants that are rendered."""
        return frozenset(self._bodies)

    @property
    def text(self) -> bytes:
        """The Prometheus text format 0.0.4."""
        return self._body(Variant(TEXT, gzip=False))

    @property
    def openmetrics(self) -> bytes:
        """The OpenMetrics format 1.0.0."""
        return self._body(Variant(OPENMETRICS, gzip=False))

    def response(self, accept: str, accept_encoding: str) -> ScrapeResponse:
        """Return the response to a scrape with these two headers."""
        variant = Variant.accepted(accept, accept_encoding)
        self._recent.record(variant)
        headers = {"content-type": variant.content_type, "vary": "accept, accept-encoding"}
        if variant.gzip:
            headers["content-encoding"] = "gzip"
        return ScrapeResponse(self._body(variant), headers)

    def prepare(self) -> None:
        """Render the recent variants, so that no scrape waits for them."""
        for variant in self._recent.current():
            self._body(variant)

    def _body(self, variant: Variant) -> bytes:
        # Two threads may both render it; the bytes are the same.
        if variant not in self._bodies:
            parts = self._parts(openmetrics=variant.content_type == OPENMETRICS)
            self._bodies[variant] = _gzip(parts) if variant.gzip else b"".join(parts)
        return self._bodies[variant]

    def _parts(self, *, openmetrics: bool) -> Iterator[bytes]:
        for block in self._blocks:
            yield block.openmetrics_header if openmetrics else block.text_header
            yield block.with_exemplars if openmetrics else block.samples
        if openmetrics:
            yield b"# EOF\n"


class Renderer:
    """Renders families to the same bytes as prometheus_client, in a fraction of the time.

    Metric and label names are not checked: all are declared in `temporal_slo.names`. A renderer keeps the text of each
    series of its last rendering. It is not thread-safe.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._recent = RecentVariants(clock)
        self._previous: dict[names.Family, dict[Labels, _Series]] = {}

    def render(self, families: Iterable[FamilySeries], generation: int = 0) -> Exposition:
        """Render *families* in their order, in all recent variants.

        Args:
            families: Each once, with all its series.
            generation: Number of the rendering; the exposition has it, to identify what a scrape received.

        Raises:
            ValueError: The number of a series' label values or of a histogram's counts is wrong.
            TypeError: A value does not have the type of its family.
        """
        current: dict[names.Family, dict[Labels, _Series]] = {}
        blocks = tuple(self._block(family, rows, current.setdefault(family, {})) for family, rows in families)
        self._previous = current
        exposition = Exposition(blocks, self._recent, generation)
        exposition.prepare()
        return exposition

    def _block(
        self, family: names.Family, rows: Iterable[tuple[Labels, Value]], current: dict[Labels, "_Series"]
    ) -> _Block:
        previous = self._previous.get(family, {})
        kind = _HistogramSeries if family.type == "histogram" else _NumberSeries
        chunks: list[bytes] = []
        exemplars: list[tuple[int, bytes]] = []
        for labels, value in rows:
            series = previous.get(labels) or kind(family, labels)
            current[labels] = series
            if isinstance(value, ValueWithExemplar):
                exemplars.append((len(chunks), series.exemplar(value.exemplar)))
                chunks.append(series.render(value.value))
            else:
                chunks.append(series.render(value))
        samples = b"".join(chunks)
        for index, exemplar in exemplars:
            chunks[index] = chunks[index].removesuffix(b"\n") + exemplar
        return _Block(*family_headers(family), samples, b"".join(chunks) if exemplars else samples)


class _Series:
    """One series of a family, with its last rendering."""

    __slots__ = ("_exemplar", "_exemplar_text", "_family", "_labels", "_last", "_rendered", "_template")

    def __init__(self, family: names.Family, labels: Labels) -> None:
        if len(labels) != len(family.labels):
            raise ValueError(f"{family.name}: {len(labels)} label values {labels} for {family.labels}")
        self._family = family
        self._labels = labels
        self._last: Histogram | None = None
        self._template = ""
        self._rendered = b""
        self._exemplar: Exemplar | None = None
        self._exemplar_text = b""

    def exemplar(self, exemplar: Exemplar) -> bytes:
        """Return the end of this series' line in OpenMetrics."""
        if self._family.type != "counter":
            raise TypeError(f"{self._family.name}: a {self._family.type} cannot have an exemplar")
        if exemplar != self._exemplar:
            self._exemplar, self._exemplar_text = exemplar, encoded(f"{exemplar_text(exemplar)}\n")
        return self._exemplar_text

    def render(self, value: Value) -> bytes:
        """Return the lines of this series at *value*."""
        raise NotImplementedError

    def _pairs(self) -> list[tuple[str, str]]:
        # Sorted by name, as prometheus_client writes them.
        return sorted(zip(self._family.labels, map(escaped, self._labels), strict=True))


class _NumberSeries(_Series):
    __slots__ = ()

    def render(self, value: Value) -> bytes:
        if isinstance(value, Histogram | ValueWithExemplar):
            raise TypeError(f"{self._family.name}: {value!r} does not fit a {self._family.type}")
        self._template = self._template or f"{self._family.sample}{label_set(self._pairs())} "
        return encoded(f"{self._template}{number_text(value)}\n")


class _HistogramSeries(_Series):
    __slots__ = ()

    def render(self, value: Value) -> bytes:
        if not isinstance(value, Histogram):
            raise TypeError(f"{self._family.name}: {value!r} does not fit a histogram")
        last, template = self._last, self._template
        if last is None or last.bounds != value.bounds:
            template = self._lines(value.bounds)
        elif last == value and _same_sign(last.observed.total, value.observed.total):
            return self._rendered
        # Assigned last: a value that raises leaves the previous rendering.
        self._rendered = encoded(template % self._values(value))
        self._last, self._template = value, template
        return self._rendered

    def _lines(self, bounds: tuple[float, ...]) -> str:
        # Percent signs in label values are not placeholders of the template.
        name, pairs = self._family.name, [(label, value.replace("%", "%%")) for label, value in self._pairs()]
        plain = label_set(pairs)
        before = "".join(f'{label}="{value}",' for label, value in pairs if label < "le")
        after = "".join(f',{label}="{value}"' for label, value in pairs if label > "le")
        buckets = [f'{name}_bucket{{{before}le="{le}"{after}}} %s\n' for le in (*map(_float, bounds), "+Inf")]
        return "".join((*buckets, f"{name}_count{plain} %s\n", f"{name}_sum{plain} %s\n"))

    def _values(self, value: Histogram) -> tuple[str, ...]:
        counts = value.observed.counts
        if len(counts) != len(value.bounds) + 1:
            raise ValueError(f"{self._family.name}: {len(counts)} counts for {len(value.bounds)} bounds and +Inf")
        cumulative = [*map(number_text, accumulate(counts))]
        return (*cumulative, cumulative[-1], _float(value.observed.total))


def family_headers(family: names.Family) -> tuple[bytes, bytes]:
    """Return the lines before the samples of *family*, in the text format and in OpenMetrics."""
    # Only the text format has the suffix _total of counters here; only OpenMetrics escapes quotes in HELP.
    text = family.help.replace("\\", r"\\").replace("\n", r"\n")
    unit = f"# UNIT {family.name} {family.unit}\n" if family.unit else ""
    return (
        encoded(f"# HELP {family.sample} {text}\n# TYPE {family.sample} {family.type}\n"),
        encoded(f"# HELP {family.name} {escaped(family.help)}\n# TYPE {family.name} {family.type}\n{unit}"),
    )


def number_text(value: float) -> str:
    """Return a number in the format of prometheus_client."""
    if type(value) is int and 0 <= value < _PLAIN_INTEGERS_BELOW:
        return f"{value}.0"
    return _float(value)


def _float(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call] # untyped in the library


def _same_sign(one: float, other: float) -> bool:
    # 0.0 and -0.0 are equal, but have different texts.
    return copysign(1.0, one) == copysign(1.0, other)


def encoded(text: str) -> bytes:
    """Return *text* in UTF-8."""
    # A lone surrogate, from some JSON, cannot be encoded; it must not fail the whole exposition.
    return text.encode("utf-8", "replace")


def _gzip(parts: Iterable[bytes]) -> bytes:
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return b"".join([*map(compressor.compress, parts), compressor.flush()])


def _offers(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the offers of an `Accept` or `Accept-Encoding` header, with their parameters, except rejected ones."""
    for offer in header.lower().split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        options = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
        if not _ZERO_QUALITY.fullmatch(options.get("q", "")):
            yield name, options


def _is_openmetrics(offer: tuple[str, dict[str, str]]) -> bool:
    name, options = offer
    # Drafts of OpenMetrics, such as 0.0.1, have another format.
    return name == "application/openmetrics-text" and not options.get("version", "").startswith("0")
