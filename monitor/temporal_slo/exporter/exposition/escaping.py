"""Escaping of values from outside in the exposition: label values and exemplars."""

import re
from collections.abc import Iterable
from typing import Final

from temporal_slo import names
from temporal_slo.names.samples import Exemplar

EXEMPLAR_LENGTH: Final = 128
"""Maximum number of characters in the names and values of an exemplar's labels together, as OpenMetrics requires."""

_NOT_WRITABLE: Final = re.compile("[\0\ud800-\udfff]")
"""NUL, at which Prometheus stops to parse, and surrogates, which cannot be encoded."""


def escaped(value: str) -> str:
    """Return *value* escaped for use between quotes."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def label_set(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names and escaped values as a label set in braces; an empty string if there are none."""
    inside = ",".join([f'{name}="{value}"' for name, value in pairs])
    return f"{{{inside}}}" if inside else ""


def exemplar_text(exemplar: Exemplar) -> str:
    """Return the text after a value in OpenMetrics, with as many ids as fit; an empty string if none fits.

    An id is written completely or not at all: a cut one would identify another run, or none.
    """
    pairs, room = list[tuple[str, str]](), EXEMPLAR_LENGTH
    # The run id goes first: it identifies a run without the workflow id.
    for name, value in ((names.RUN_ID, exemplar.run_id), (names.WORKFLOW_ID, exemplar.workflow_id)):
        room -= len(name) + len(value)
        if room < 0:
            break
        if value and not _NOT_WRITABLE.search(value):
            pairs.append((name, escaped(value)))
    return f" # {label_set(pairs)} 1.0 {exemplar.timestamp}" if pairs else ""
