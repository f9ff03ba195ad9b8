"""Calls of the worker library that must type-check, and calls that must not: mypy reports unused ignores."""

from datetime import timedelta

from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.worker import Replayer, Worker

from temporal_slo.interceptor import (
    Objective,
    OutcomeExpression,
    OutcomeFunction,
    SLOInterceptor,
    SLOPlugin,
    prometheus_runtime,
)

outcome_of: OutcomeFunction = lambda result: "good" if result else "bad"  # noqa: E731 as users may write it


async def valid_calls(workflows: list[type]) -> None:
    """Pass plugin and interceptor everywhere that they are accepted."""
    objective = Objective(slo="fast", workflow="BookRide", threshold=timedelta(seconds=9))
    outcomes: dict[str, OutcomeFunction | OutcomeExpression] = {
        "BookRide": OutcomeExpression(expression="status", good=["OK"]),
        "Other": outcome_of,
    }
    plugin = SLOPlugin(
        objectives=[objective], outcomes=outcomes, spec="slos", slos=["a"], labels={"team": "x"}, max_label_values=9
    )
    runtime: Runtime = prometheus_runtime(bind_address="127.0.0.1:9000", objectives=(objective,), spec=["a", "b"])
    interceptor = SLOInterceptor(runtime=runtime)
    client = await Client.connect("localhost:7233", plugins=[plugin], interceptors=[interceptor], runtime=runtime)
    Worker(client, task_queue="q", workflows=workflows, plugins=[plugin], interceptors=[interceptor])
    Replayer(workflows=workflows, plugins=[plugin], interceptors=[interceptor])


def invalid_calls() -> None:
    """Each of these calls is a type error."""
    SLOPlugin("slos")  # type: ignore[call-arg, arg-type]
    SLOPlugin(spec=3)  # type: ignore[arg-type]
    SLOPlugin(objectives=["fast"])  # type: ignore[list-item]
    SLOPlugin(outcomes={"BookRide": "status"})  # type: ignore[dict-item]
    SLOPlugin(labels={"team": 3})  # type: ignore[dict-item]
    SLOPlugin(max_label_values="many")  # type: ignore[arg-type]
    SLOPlugin(slo="fast")  # type: ignore[call-arg]
    SLOInterceptor(runtime="default")  # type: ignore[arg-type]
    Objective(slo="fast", workflow="BookRide", threshold=90)  # type: ignore[arg-type]
    Objective("fast", "BookRide", timedelta(seconds=9))  # type: ignore[call-arg]
    OutcomeExpression(good=["OK"])  # type: ignore[call-arg]
    prometheus_runtime("127.0.0.1:9000")  # type: ignore[call-arg]
