from collections.abc import Mapping
from datetime import timedelta
from math import inf

from temporalio.api.workflowservice import v1

from temporal_slo.exporter.mirror.store import MirrorStore
from temporal_slo.exporter.sources import registry
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.state import OpenRun, State
from temporal_slo.runs.counted import RunningKey
from temporal_slo.settings import ExporterSettings
from temporal_slo.temporal.gateway import Gateway
from temporal_slo.temporal.rate_limit import RateLimiter
from tests.temporal.fake_service import FakeService


class OneRun:
    """A ledger with one open run."""

    async def transact(self, *_: object) -> Mapping[str, str]:
        """Return its workflow id, by its run id."""
        return {"r": "w"}


def two_schedules(_: v1.ListSchedulesRequest) -> v1.ListSchedulesResponse:
    """A page with two schedules."""
    response = v1.ListSchedulesResponse()
    for schedule_id in ("daily", "weekly"):
        response.schedules.add().schedule_id = schedule_id
    return response


def with_task_problems(_: v1.DescribeNamespaceRequest) -> v1.DescribeNamespaceResponse:
    """A namespace whose server reports task problems."""
    response = v1.DescribeNamespaceResponse()
    response.namespace_info.capabilities.reported_problems_search_attribute = True
    return response


async def test_limiter_of_each_source() -> None:
    """Lists use the rate limiter of visibility, descriptions that of histories, and task queues their own."""
    service = FakeService(list_schedules=two_schedules, describe_namespace=with_task_problems)
    state = State()
    state.open["r"] = OpenRun(RunningKey("Ride", "rides"), 0)
    ledger: Ledger = OneRun()  # type: ignore[assignment] # all of the ledger that these sources use
    expected = {
        "task_queues": {"task_queues": 3},
        "task_problems": {"visibility": 2},
        "schedules": {"visibility": 1, "history": 2},
        "retry_storms": {"history": 1},
    }
    for source, requests in expected.items():
        limiters = {name: RateLimiter(inf, 1) for name in ("visibility", "history", "task_queues")}
        store = MirrorStore("shop", ledger, state)
        context = registry.SourceContext("shop", Gateway(service.client, "shop"), ledger, store, (), limiters)
        await registry.SOURCES[source](context).read(1)
        assert {name: limiter.requests for name, limiter in limiters.items() if limiter.requests} == requests
    assert {**service.methods} == {
        "list_workers": 1,
        "describe_task_queue": 2,
        "describe_namespace": 1,
        "list_workflow_executions": 1,
        "list_schedules": 1,
        "describe_schedule": 2,
        "describe_workflow_execution": 1,
    }


def test_rates() -> None:
    """Rates of visibility and histories are settings; task queues have 10 requests a second."""
    settings = ExporterSettings(
        {"target_host": "localhost:7233", "namespace": "shop"},
        "sqlite:///ledger.db",
        ("127.0.0.1", 0),
        timedelta(seconds=1),
        visibility_rate=7,
        history_rate=13,
    )
    rates = {name: limiter.rate for name, limiter in registry.limiters(settings, 8).items()}
    assert rates == {"visibility": 7, "history": 13, "task_queues": 10}
