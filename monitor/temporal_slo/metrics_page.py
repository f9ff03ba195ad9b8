"""METRICS.md, made of `names.py`: `python -m temporal_slo.metrics_page` prints it, `make format` writes it."""

from collections.abc import Iterable

from temporal_slo import names

HEAD = """\
# Metrics

Made from `monitor/temporal_slo/names.py` by `make format`; do not edit. Every metric but the build info has the label
`temporal_namespace`, which is never called `namespace`: a Kubernetes scrape owns that one.

`status` is Temporal's in lower case (`completed`, `failed`, `timed_out`, `canceled`, `terminated`,
`continued_as_new`), or `retried` for a failed or timed-out attempt that a further run follows, or `reset` for a run
that a reset replaced. `outcome` is `good`, `bad`, `excluded` or `unknown` for workflow types whose outcome the spec
names, else `none`; only completed runs have one.

## Of the exporter

"""

WORKER = """
## Of the worker library

Through the SDK's own metrics, under these names if the runtime comes from `prometheus_runtime`. `child` is `yes` for
workflows that another workflow started: leave them out to count what customers asked for. `outcome` of an activity is
`completed`, `failed`, `timed_out` or `canceled`, of an attempt also `pending` if it is completed from elsewhere.
`failure_type` is the type of the innermost cause, or `none`. Workflow types, task queues, activity types and failure
types become `other` when a metric has too many of them.

"""

TABLE = """\
| metric | type | further labels | meaning |
|---|---|---|---|
"""


def page() -> str:
    """Return the page as Markdown."""
    return HEAD + _table(names.EXPORTER_FAMILIES) + WORKER + _table(names.INTERCEPTOR_FAMILIES)


def _table(families: Iterable[names.Family]) -> str:
    return TABLE + "".join(map(_row, families))


def _row(family: names.Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels if label != names.NAMESPACE)
    return f"| `{family.sample}` | {family.type} | {labels or 'none'} | {family.help} |\n"


if __name__ == "__main__":
    print(page(), end="")
