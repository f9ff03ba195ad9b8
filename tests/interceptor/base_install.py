"""A worker in an environment with the SDK alone: `python -I base_install.py ADDRESS NAMESPACE TASK_QUEUE`."""

import asyncio
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

SDK = {"temporalio", "google", "nexusrpc", "typing_extensions"}
"""The SDK and its dependencies."""
PACKAGE = "temporal_slo"


class OnlyTheSdk:
    """Import hook that finds only the standard library, the SDK and this package."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise for every other module."""
        del path, target
        if name.split(".", maxsplit=1)[0] not in sys.stdlib_module_names | SDK | {PACKAGE, "__temporal_main__"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


if __name__ == "__main__":
    sys.meta_path.insert(0, OnlyTheSdk())

from temporalio import workflow  # noqa: E402 the hook comes first
from temporalio.client import Client  # noqa: E402
from temporalio.runtime import MetricBuffer, Runtime, TelemetryConfig  # noqa: E402
from temporalio.worker import Worker  # noqa: E402

from temporal_slo.errors import UsageError  # noqa: E402
from temporal_slo.interceptor import OutcomeExpression, SLOPlugin  # noqa: E402


@workflow.defn
class Greets:
    """Completes at once."""

    @workflow.run
    async def run(self) -> str:
        """Return a greeting."""
        return "hello"


async def main(address: str, namespace: str, task_queue: str) -> None:
    """Run a workflow; print what was counted, and the errors for arguments that require an extra."""
    buffer = MetricBuffer(10_000)
    runtime = Runtime(telemetry=TelemetryConfig(metrics=buffer))
    plugin = SLOPlugin(outcomes={"Greets": lambda result: "good" if result == "hello" else "bad"})
    client = await Client.connect(address, namespace=namespace, runtime=runtime, plugins=[plugin])
    async with Worker(client, task_queue=task_queue, workflows=[Greets]):
        await client.execute_workflow(Greets.run, id=task_queue, task_queue=task_queue)
    for update in buffer.retrieve_updates():
        if update.metric.name == "temporal_slo_workflow_ends":
            print("counted", update.value, update.attributes["status"], update.attributes["outcome"])
    for build in (lambda: OutcomeExpression(expression="a", good=["b"]), lambda: SLOPlugin(spec="slos")):
        try:
            build()
        except UsageError as error:
            print(error)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
    sys.stdout.flush()
    os._exit(0)
