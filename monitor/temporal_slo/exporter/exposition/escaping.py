"""The parts of a line of an exposition that come from outside: label values and exemplars."""

import re
from collections.abc import Iterable
from typing import Final

from temporal_slo import names
from temporal_slo.names.samples import Exemplar

EXEMPLAR_LENGTH: Final = 128
"""Characters that the names and values of an exemplar's labels may have together, by OpenMetrics."""

_UNWRITABLE: Final = re.compile("[\0\ud800-\udfff]")
"""What ends a text for Prometheus, or has no bytes."""


def escaped(value: str) -> str:
    """Return *value* as it stands between quotes."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def braced(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names and values, which are escaped already, as a label set; nothing if there are none."""
    inside = ",".join([f'{name}="{value}"' for name, value in pairs])
    return f"{{{inside}}}" if inside else ""


def exemplar_text(exemplar: Exemplar) -> str:
    """Return what stands behind a value in OpenMetrics: as many ids as there is room for; nothing if there are none.

    An id that cannot be written whole is left out, for another one would lead to another run or to none.
    """
    pairs, room = list[tuple[str, str]](), EXEMPLAR_LENGTH
    # By itself a run id finds its run, a workflow id does not.
    for name, value in ((names.RUN_ID, exemplar.run_id), (names.WORKFLOW_ID, exemplar.workflow_id)):
        room -= len(name) + len(value)
        if room < 0:
            break
        if value and not _UNWRITABLE.search(value):
            pairs.append((name, escaped(value)))
    return f" # {braced(pairs)} 1.0 {exemplar.timestamp}" if pairs else ""
