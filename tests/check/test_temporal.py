"""Errors and warnings about a Temporal namespace."""

import pytest

from temporal_slo.check.temporal import NamespaceInfo, namespace_findings
from temporal_slo.temporal.task_queues import Backlog, TaskQueueInfo

POLLED = TaskQueueInfo(Backlog(0, 0.0, 0.0, 0.0), 2, 1.0)
EMPTY = TaskQueueInfo(Backlog(3, 9.0, 0.0, 0.0), 0, None)
OLD = TaskQueueInfo(None, 0, None)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (NamespaceInfo("shop"), []),
        (
            NamespaceInfo("shop", error="NOT_FOUND: no", missing=True),
            [(True, "Temporal namespace 'shop' does not exist")],
        ),
        (
            NamespaceInfo("shop", error="UNAVAILABLE: refused", unreachable=True),
            [(True, "'shop': UNAVAILABLE: refused")],
        ),
        (NamespaceInfo("shop", queues={"q": (EMPTY, POLLED)}, spec_queues=("q",)), []),
        (
            NamespaceInfo("shop", queues={"q": (EMPTY, EMPTY)}, spec_queues=("q",)),
            [(True, "has no pollers and a backlog of 6 tasks")],
        ),
        (
            NamespaceInfo("shop", queues={"q": (OLD, OLD)}),
            [(False, "task queue 'q' of Temporal namespace 'shop' has no")],
        ),
        (NamespaceInfo("shop", over_limit=3), [(False, "3 workflow types and task queues were not queried")]),
    ],
)
def test_findings(info: NamespaceInfo, expected: list[tuple[bool, str]]) -> None:
    """A missing namespace and a spec's queue without pollers are errors; other queues and limits are warnings."""
    found = list(namespace_findings(info))
    assert [own.error for own in found] == [error for error, _ in expected]
    assert all(what in own.what for own, (_, what) in zip(found, expected, strict=True))
