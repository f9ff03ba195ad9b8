"""What is wrong with what Temporal has."""

import pytest

from temporal_slo.check.temporal import Namespace, findings
from temporal_slo.temporal.task_queues import Backlog, TaskQueueInfo

SERVED = TaskQueueInfo(Backlog(0, 0.0, 0.0, 0.0), 2, 1.0)
EMPTY = TaskQueueInfo(Backlog(3, 9.0, 0.0, 0.0), 0, None)
OLD = TaskQueueInfo(None, 0, None)


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Namespace("shop"), []),
        (Namespace("shop", trouble="NOT_FOUND: no", missing=True), [(True, "Temporal has no namespace 'shop'")]),
        (Namespace("shop", trouble="UNAVAILABLE: away", away=True), [(True, "'shop': UNAVAILABLE: away")]),
        (Namespace("shop", queues={"q": (EMPTY, SERVED)}, named=("q",)), []),
        (Namespace("shop", queues={"q": (EMPTY, EMPTY)}, named=("q",)), [(True, "has no pollers, and 6 tasks wait")]),
        (Namespace("shop", queues={"q": (OLD, OLD)}), [(False, "task queue 'q' of Temporal namespace 'shop' has no")]),
        (Namespace("shop", left_out=3), [(False, "3 workflow types and task queues were not asked about")]),
    ],
)
def test_findings(found: Namespace, told: list[tuple[bool, str]]) -> None:
    """A missing namespace and a named queue that nobody serves are faults; another queue and a bound are told."""
    seen = list(findings(found))
    assert [own.fault for own in seen] == [fault for fault, _ in told]
    assert all(what in own.what for own, (_, what) in zip(seen, told, strict=True))
