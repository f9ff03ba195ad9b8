"""Both Prometheus text formats, rendered in milliseconds: what has not changed since the last render is kept."""

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
from temporal_slo.exporter.exposition.escaping import braced, escaped, exemplar_text
from temporal_slo.names.samples import Exemplar, FamilySeries, Histogram, Labels, Value, ValueWithExemplar

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

WANTED_FOR: Final = 600.0
"""Seconds for which a variant is made ahead of the scrape after somebody asked for it."""

# Level 1 packs these texts to a twentieth in a third of the time of level 6, which saves a sixth more.
_GZIP_LEVEL: Final = 1
_GZIP_WINDOW: Final = 31  # zlib's number for a gzip header with the largest window

_REFUSED: Final = re.compile(r"0(\.0*)?")
"""A quality of zero, with which a client says that it does not want something."""

# From a million on Go writes an exponent, which prometheus_client knows how to.
_PLAIN_INTEGERS: Final = 1_000_000


class Variant(NamedTuple):
    """One of the four bodies of an exposition."""

    content_type: str
    gzip: bool

    @classmethod
    def accepted(cls, accept: str, accept_encoding: str) -> "Variant":
        """Return what to answer to an HTTP `Accept` and `Accept-Encoding`: OpenMetrics and gzip if they allow them."""
        openmetrics = any(map(_is_openmetrics, _offers(accept)))
        gzip = any(coding == "gzip" for coding, _ in _offers(accept_encoding))
        return cls(OPENMETRICS if openmetrics else TEXT, gzip)


class Answer(NamedTuple):
    """What a scrape gets."""

    body: bytes
    headers: dict[str, str]


class Demand:
    """Which variants somebody asked for lately.

    Args:
        clock: Seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Prometheus asks for gzip unless told not to; which format it takes is not known before the first scrape.
        self._asked = dict.fromkeys((Variant(TEXT, gzip=True), Variant(OPENMETRICS, gzip=True)), clock())

    def note(self, variant: Variant) -> None:
        """Take down that a scrape asked for *variant*."""
        self._asked[variant] = self._clock()

    def wanted(self) -> list[Variant]:
        """Return what was asked for in the last ten minutes; at first, both formats as Prometheus asks for them."""
        now = self._clock()
        return [variant for variant, asked in list(self._asked.items()) if now - asked <= WANTED_FOR]


@dataclass(frozen=True, slots=True)
class _Block:
    """A family in the exposition: head and samples for each format; the samples differ in exemplars alone."""

    text_head: bytes
    openmetrics_head: bytes
    samples: bytes
    exemplified: bytes


class Exposition:
    """One rendering, in all variants; those that nobody asked for lately are made when a scrape does.

    Attributes:
        generation: The publish that it was rendered for, as the caller numbers them.
    """

    def __init__(self, blocks: tuple[_Block, ...], demand: Demand, generation: int = 0) -> None:
        self.generation = generation
        self._blocks = blocks
        self._demand = demand
        self._bodies: dict[Variant, bytes] = {}

    @property
    def ready(self) -> frozenset[Variant]:
        """The variants that are made."""
        return frozenset(self._bodies)

    @property
    def text(self) -> bytes:
        """The Prometheus text format 0.0.4."""
        return self._body(Variant(TEXT, gzip=False))

    @property
    def openmetrics(self) -> bytes:
        """The OpenMetrics format 1.0.0."""
        return self._body(Variant(OPENMETRICS, gzip=False))

    def choose(self, accept: str) -> tuple[bytes, str]:
        """Return the uncompressed body and its content type for an HTTP `Accept` header."""
        answer = self.answer(accept, "")
        return answer.body, answer.headers["content-type"]

    def answer(self, accept: str, accept_encoding: str) -> Answer:
        """Return body and headers for a scrape with these two headers; quick, unless its variant is a new one."""
        variant = Variant.accepted(accept, accept_encoding)
        self._demand.note(variant)
        headers = {"content-type": variant.content_type, "vary": "accept, accept-encoding"}
        if variant.gzip:
            headers["content-encoding"] = "gzip"
        return Answer(self._body(variant), headers)

    def prepare(self) -> None:
        """Make the variants that are wanted, so that no scrape waits for them."""
        for variant in self._demand.wanted():
            self._body(variant)

    def _body(self, variant: Variant) -> bytes:
        # Two threads may both make it; the bytes are the same.
        if variant not in self._bodies:
            parts = self._parts(openmetrics=variant.content_type == OPENMETRICS)
            self._bodies[variant] = _gzip(parts) if variant.gzip else b"".join(parts)
        return self._bodies[variant]

    def _parts(self, *, openmetrics: bool) -> Iterator[bytes]:
        for block in self._blocks:
            yield block.openmetrics_head if openmetrics else block.text_head
            yield block.exemplified if openmetrics else block.samples
        if openmetrics:
            yield b"# EOF\n"


class Renderer:
    """Renders families to the bytes that prometheus_client makes of them, in a fraction of its time.

    Label names and metric names are taken as they are: they come from `names.py`, which has only legal ones. A
    renderer keeps the text of every series of its last render, and no other; it serves one thread at a time.

    Args:
        clock: Seconds, never going back; for forgetting the variants that nobody asks for.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._demand = Demand(clock)
        self._kept: dict[names.Family, dict[Labels, _Series]] = {}

    def render(self, families: Iterable[FamilySeries], generation: int = 0) -> Exposition:
        """Render *families* in their order, and prepare the variants that are wanted.

        Args:
            families: Each once, with all its series.
            generation: The exposition carries it, for whoever must know what a scrape was answered with.

        Raises:
            ValueError: A series has too few or too many label values, or a histogram too few or too many counts.
            TypeError: A value does not fit the type of its family.
        """
        fresh: dict[names.Family, dict[Labels, _Series]] = {}
        blocks = tuple(self._block(family, rows, fresh.setdefault(family, {})) for family, rows in families)
        self._kept = fresh
        exposition = Exposition(blocks, self._demand, generation)
        exposition.prepare()
        return exposition

    def _block(
        self, family: names.Family, rows: Iterable[tuple[Labels, Value]], fresh: dict[Labels, "_Series"]
    ) -> _Block:
        kept = self._kept.get(family, {})
        kind = _HistogramSeries if family.type == "histogram" else _NumberSeries
        chunks: list[bytes] = []
        exemplars: list[tuple[int, bytes]] = []
        for labels, value in rows:
            series = kept.get(labels) or kind(family, labels)
            fresh[labels] = series
            if isinstance(value, ValueWithExemplar):
                exemplars.append((len(chunks), series.exemplar(value.exemplar)))
                chunks.append(series.render(value.value))
            else:
                chunks.append(series.render(value))
        samples = b"".join(chunks)
        for place, exemplar in exemplars:
            chunks[place] = chunks[place].removesuffix(b"\n") + exemplar
        return _Block(*heads(family), samples, b"".join(chunks) if exemplars else samples)


class _Series:
    """One label set of a family, with what it was last rendered to."""

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
        """Return what ends the line of this series in OpenMetrics."""
        if self._family.type != "counter":
            raise TypeError(f"{self._family.name}: a {self._family.type} has no exemplar here")
        if exemplar != self._exemplar:
            self._exemplar, self._exemplar_text = exemplar, encoded(f"{exemplar_text(exemplar)}\n")
        return self._exemplar_text

    def render(self, value: Value) -> bytes:
        """Return the lines of this series at *value*."""
        raise NotImplementedError

    def _pairs(self) -> list[tuple[str, str]]:
        # The library writes labels by name, whatever their order in the declaration.
        return sorted(zip(self._family.labels, map(escaped, self._labels), strict=True))


class _NumberSeries(_Series):
    __slots__ = ()

    def render(self, value: Value) -> bytes:
        if isinstance(value, Histogram | ValueWithExemplar):
            raise TypeError(f"{self._family.name}: {value!r} does not fit a {self._family.type}")
        self._template = self._template or f"{self._family.sample}{braced(self._pairs())} "
        return encoded(f"{self._template}{number(value)}\n")


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
        # Nothing is kept of a value that is refused.
        self._rendered = encoded(template % self._figures(value))
        self._last, self._template = value, template
        return self._rendered

    def _lines(self, edges: tuple[float, ...]) -> str:
        # A label value may hold a percent sign, which is none of the template's.
        name, pairs = self._family.name, [(label, value.replace("%", "%%")) for label, value in self._pairs()]
        plain = braced(pairs)
        before = "".join(f'{label}="{value}",' for label, value in pairs if label < "le")
        after = "".join(f',{label}="{value}"' for label, value in pairs if label > "le")
        buckets = [f'{name}_bucket{{{before}le="{le}"{after}}} %s\n' for le in (*map(_float, edges), "+Inf")]
        return "".join((*buckets, f"{name}_count{plain} %s\n", f"{name}_sum{plain} %s\n"))

    def _figures(self, value: Histogram) -> tuple[str, ...]:
        counts = value.observed.counts
        if len(counts) != len(value.bounds) + 1:
            raise ValueError(f"{self._family.name}: {len(counts)} counts for {len(value.bounds)} bounds and one above")
        cumulative = [*map(number, accumulate(counts))]
        return (*cumulative, cumulative[-1], _float(value.observed.total))


def heads(family: names.Family) -> tuple[bytes, bytes]:
    """Return what stands before the samples of *family*, in the text format and in OpenMetrics."""
    # Plain text escapes no quotes in a help and calls a counter by its sample; OpenMetrics does, and does not.
    text = family.help.replace("\\", r"\\").replace("\n", r"\n")
    unit = f"# UNIT {family.name} {family.unit}\n" if family.unit else ""
    return (
        encoded(f"# HELP {family.sample} {text}\n# TYPE {family.sample} {family.type}\n"),
        encoded(f"# HELP {family.name} {escaped(family.help)}\n# TYPE {family.name} {family.type}\n{unit}"),
    )


def number(value: float) -> str:
    """Return a number as prometheus_client writes it."""
    if type(value) is int and 0 <= value < _PLAIN_INTEGERS:
        return f"{value}.0"
    return _float(value)


def _float(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call] # the library has it untyped


def _same_sign(one: float, other: float) -> bool:
    # Equal numbers are written alike but for 0.0 and -0.0.
    return copysign(1.0, one) == copysign(1.0, other)


def encoded(text: str) -> bytes:
    """Return *text* as bytes."""
    # Half a surrogate pair has no bytes; a lone one, out of some JSON, must not cost the whole exposition.
    return text.encode("utf-8", "replace")


def _gzip(parts: Iterable[bytes]) -> bytes:
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    return b"".join([*map(packer.compress, parts), packer.flush()])


def _offers(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield what an `Accept` or `Accept-Encoding` header allows, with its parameters."""
    for offer in header.lower().split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        options = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
        if not _REFUSED.fullmatch(options.get("q", "")):
            yield name, options


def _is_openmetrics(offer: tuple[str, dict[str, str]]) -> bool:
    name, options = offer
    # Its drafts, 0.0.1 among them, are not what we write.
    return name == "application/openmetrics-text" and not options.get("version", "").startswith("0")
