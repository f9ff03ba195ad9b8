"""METRICS.md, generated from `names`: `python -m temporal_slo.metrics_page` prints it, `make format` writes it."""

from collections.abc import Iterable
from typing import Final

from temporal_slo import names
from temporal_slo.names import values


def _code(*words: str) -> str:
    return ", ".join(f"`{word}`" for word in words)


ENDED: Final = _code(values.COMPLETED, values.FAILED, values.TIMED_OUT, values.CANCELED)
CLOSED: Final = f"{ENDED}, {_code(values.TERMINATED, values.CONTINUED_AS_NEW)}"

HEAD: Final = f"""\
# Metrics

Generated from `monitor/temporal_slo/names/` by `make format`; do not edit. Metrics of a Temporal namespace have the
label `{names.NAMESPACE}`. It is not called `namespace`, because Kubernetes scrape configurations set that label.

| label | values |
|---|---|
| `{names.STATUS}` | Status in Temporal, in lower case: {CLOSED}; \
`{values.RETRIED}`: failed or timed-out run that its workflow retry policy retries; \
`{values.RESET}`: run replaced by a reset. |
| `{names.STATUS_GROUP}` | Status of a closed run as far as it is known before classification: \
`{values.FAILED}` includes `{values.TIMED_OUT}` and `{values.RETRIED}`, `{values.TERMINATED}` includes \
`{values.RESET}`. |
| `{names.OUTCOME}` | Business outcome of a completed run, if the SLO spec defines outcomes for its workflow type: \
{_code(values.GOOD, values.BAD, values.EXCLUDED, values.UNKNOWN)}; otherwise `{values.NONE}`. |

## Exporter

"""

WORKER: Final = f"""
## Worker library

Recorded through the metrics of the Temporal SDK; these names require `prometheus_runtime`, or a `PrometheusConfig`
with `counters_total_suffix`, `unit_suffix` and `durations_as_seconds`.

| label | values |
|---|---|
| `{names.CHILD}` | `{values.YES}` for child workflows, else `{values.NO}`; exclude child workflows to count only what \
clients started. |
| `{names.OUTCOME}` | Of an activity: {ENDED}; of an activity attempt also `{values.PENDING}`, \
if it is completed asynchronously, outside the worker. |
| `{names.FAILURE_TYPE}` | Failure type of the innermost cause, or `{values.NONE}`. |

Workflow types, task queues, activity types and failure types become `{values.OTHER}` once a metric has reached its
limit of label values.

"""

TABLE: Final = """\
| metric | type | other labels | meaning |
|---|---|---|---|
"""


def page() -> str:
    """Return the page as Markdown."""
    return HEAD + _table(names.EXPORTER_FAMILIES) + WORKER + _table(names.INTERCEPTOR_FAMILIES)


def _table(families: Iterable[names.Family]) -> str:
    return TABLE + "".join(map(_row, families))


def _row(family: names.Family) -> str:
    labels = _code(*(label for label in family.labels if label != names.NAMESPACE))
    return f"| `{family.sample}` | {family.type} | {labels or 'none'} | {family.help} |\n"


if __name__ == "__main__":
    print(page(), end="")
