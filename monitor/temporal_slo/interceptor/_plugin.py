"""The one line in a worker: the plugin, and the interceptor for those who want no more."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from temporalio import client, worker
from temporalio.common import MetricMeter
from temporalio.converter import DataConverter, PayloadConverter
from temporalio.plugin import SimplePlugin
from temporalio.runtime import Runtime
from temporalio.worker import (
    ActivityInboundInterceptor,
    ReplayerConfig,
    UnsandboxedWorkflowRunner,
    WorkerConfig,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from temporal_slo import names
from temporal_slo.errors import UsageError
from temporal_slo.interceptor import _protocol
from temporal_slo.interceptor._activity import ActivityInbound
from temporal_slo.interceptor._host import VALUES_MAX, Host, Options
from temporal_slo.interceptor._outcomes import OutcomeExpression, OutcomeFunction
from temporal_slo.interceptor._rules import Objective, SpecPath
from temporal_slo.interceptor._runner import is_watching, passing_through, watching
from temporal_slo.interceptor._runtime import counter_suffix
from temporal_slo.interceptor._workflow import RUN, WorkflowInbound
from temporal_slo.names.values import EXACT, NO, NONE, REPLAY_SAFE, UNKNOWN

C = TypeVar("C", WorkerConfig, ReplayerConfig)

SETTLE_INTERVAL: Final = 1.0

log = logging.getLogger("temporal_slo.interceptor")


class _Interceptor(client.Interceptor, worker.Interceptor):
    """Hooks itself in once, however often it is given."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """See base class."""
        inner: object = next
        while inner is not None:
            if isinstance(inner, ActivityInbound):
                return next
            inner = getattr(inner, "next", None)
        return ActivityInbound(next, self.host)

    def workflow_interceptor_class(
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002 the SDK's name
    ) -> type[WorkflowInboundInterceptor] | None:
        """See base class."""
        if RUN in input.unsafe_extern_functions:
            return None
        input.unsafe_extern_functions[RUN] = self.host.intercepted
        return WorkflowInbound


class SLOInterceptor(_Interceptor):
    """The interceptor alone: activities, and workflow ends by the replay-safe path; `SLOPlugin` counts them exactly.

    A final workflow task that is executed again is counted again, failures in converters are not seen, and
    `temporal_slo_activity_ends` stays empty.

    Args:
        runtime: Whose metrics it adds to: that of the client. The default runtime if it is None.
        objectives: As for `SLOPlugin`, like all that follow.
        outcomes: See there. A function gets what the sandbox returned, whose classes are not yours: compare plain
            values.
        spec: See there.
        slos: See there.
        labels: See there.
        max_label_values: See there.

    Raises:
        UsageError: Something of it is not what it must be.
    """

    def __init__(
        self,
        *,
        runtime: Runtime | None = None,
        objectives: Iterable[Objective] = (),
        outcomes: Mapping[str, OutcomeFunction | OutcomeExpression] | None = None,
        spec: SpecPath | None = None,
        slos: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        max_label_values: int = VALUES_MAX,
    ) -> None:
        if not isinstance(runtime, Runtime | None):
            raise UsageError("runtime", f"is a {type(runtime).__name__}", "give the runtime of the client")
        options = Options(
            objectives=objectives,
            outcomes={} if outcomes is None else outcomes,
            spec=spec,
            slos=slos,
            labels={} if labels is None else labels,
            max_label_values=max_label_values,
        )
        super().__init__(
            Host(
                options,
                lambda: (runtime or Runtime.default()).metric_meter,
                lambda: counter_suffix(runtime) if runtime else "",
            )
        )


class SLOPlugin(SimplePlugin):
    """Counts how workflows and activities end, for client, worker and replayer.

    Give it to the client, `Client.connect(…, plugins=[SLOPlugin()])`, or to workers; given to both it counts once.
    A replay counts nothing, and neither does a workflow task whose end the server has not accepted: an end is counted
    when the server has it. Time-outs and terminations never reach a worker, and what it cannot import or decode never
    reaches the plugin. What is counted after the last scrape of a process is lost with it. It sends no command, so it
    may be added to and removed from workers while workflows are running.

    Args:
        objectives: Latencies that are promised; in place of the spec's of the same SLO and workflow.
        outcomes: How the business outcome of completed runs is read, by workflow type: by an expression, or a
            function of the result that only looks at it: no clock, no I/O. It gets what a client would, by the type
            that the workflow's `run` says it returns. If it says none, or the SDK's protocol is unknown, it gets
            what the sandbox returned, whose classes are not yours: compare plain values.
        spec: Spec files or folders with latency objectives and outcomes. Needs the `spec` extra.
        slos: The SLOs of the spec that count here; None for all.
        labels: Constant labels for every metric.
        max_label_values: Distinct values of a label that each metric may have; further ones become `other`. The types
            of workflows and activities that a worker has, or a spec or an argument names, are always kept.

    Raises:
        UsageError: Something of it is not what it must be.
    """

    def __init__(
        self,
        *,
        objectives: Iterable[Objective] = (),
        outcomes: Mapping[str, OutcomeFunction | OutcomeExpression] | None = None,
        spec: SpecPath | None = None,
        slos: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        max_label_values: int = VALUES_MAX,
    ) -> None:
        super().__init__("temporal_slo.SLOPlugin")
        self._options = Options(
            objectives=objectives,
            outcomes={} if outcomes is None else outcomes,
            spec=spec,
            slos=slos,
            labels={} if labels is None else labels,
            max_label_values=max_label_values,
        )
        self._hosts: dict[Runtime, Host] = {}

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """See base class."""
        config = super().configure_worker(config)
        if _is_configured(config):
            return config
        runtime = config["client"].service_client.config.runtime or Runtime.default()
        host = self._hosts.setdefault(
            runtime, Host(self._options, lambda: runtime.metric_meter, lambda: counter_suffix(runtime))
        )
        if runtime.metric_meter is MetricMeter.noop:
            log.warning(
                "the runtime has no telemetry, so that no metric is kept; pass runtime=prometheus_runtime(…) to the"
                " client"
            )
        reason = _obstacle(config)
        converter = config["client"].data_converter.payload_converter
        return _configured(config, host, converter, watch=reason != "protocol", two_phase=reason == NONE)

    async def run_worker(self, worker: worker.Worker, next: Callable[[worker.Worker], Awaitable[None]]) -> None:  # noqa: A002
        """See base class."""
        # Not before: a later plugin may have changed what this one has configured.
        for host in self._hosts.values():
            _announce(host, worker)
        settling = asyncio.ensure_future(self._settle())
        try:
            await super().run_worker(worker, next)
        finally:
            settling.cancel()
            for host in self._hosts.values():
                host.held.settle(over=worker.task_queue)

    async def _settle(self) -> None:
        while True:
            await asyncio.sleep(SETTLE_INTERVAL)
            for host in self._hosts.values():
                host.held.settle()

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """See base class."""
        config = super().configure_replayer(config)
        if _is_configured(config):
            return config
        host = Host(self._options, lambda: MetricMeter.noop)
        converter = (config.get("data_converter") or DataConverter.default).payload_converter
        return _configured(config, host, converter, watch=_protocol.is_known(), two_phase=True)


def _is_configured(config: WorkerConfig | ReplayerConfig) -> bool:
    return any(type(interceptor) is _Interceptor for interceptor in config.get("interceptors") or ())


def _obstacle(config: WorkerConfig) -> str:
    """Return why ends cannot be counted exactly, or none."""
    if not _protocol.is_known():
        return "protocol"
    # Every task is followed by an eviction then, which tells nothing of the task.
    if not config.get("max_cached_workflows", 1):
        return "no_cache"
    # Instances are not told of evictions then.
    return "unsafe_eviction" if config.get("disable_safe_workflow_eviction") else NONE


def _announce(host: Host, worker: worker.Worker) -> None:
    namespace, task_queue = worker.client.namespace, worker.task_queue
    try:
        config = worker.config(active_config=True)
        if not any(type(i) is _Interceptor and i.host is host for i in config.get("interceptors") or ()):
            return
        runners = config["workflow_runner"], config["unsandboxed_workflow_runner"]
        reason = _obstacle(config)
        if reason == NONE and not all(map(is_watching, runners)):
            reason = "runner"
        if reason != NONE:
            log.warning(
                "workflow ends on %s are counted replay-safe, not exactly (%s): a final task that is executed again"
                " counts again",
                task_queue,
                reason,
            )
        host.named.update(_registered(config))
        recorder = host.recorder(namespace)
        recorder.info(names.WORKER_INFO, task_queue, EXACT if reason == NONE else REPLAY_SAFE, reason, _version())
        # A series that begins at 1 has not increased.
        for type_ in host.options.rules.types(namespace):
            for objective in host.options.rules.of(namespace, type_, task_queue).objectives:
                for family in (names.WORKFLOW_OBJECTIVE, names.WORKFLOW_WITHIN_OBJECTIVE):
                    recorder.count(family, type_, task_queue, NO, objective.slo, by=0)
    except Exception as error:  # noqa: BLE001 a worker must start all the same
        host.failed("configure", namespace, error)


def _registered(config: WorkerConfig) -> set[str]:
    """Return the types of workflows and activities that a worker has; a dynamic one has no name."""
    found = [getattr(cls, "__temporal_workflow_definition", None) for cls in config.get("workflows") or ()]
    found += [getattr(function, "__temporal_activity_definition", None) for function in config.get("activities") or ()]
    return {definition.name for definition in found if definition and definition.name}


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 half of all that this library loads

    try:
        return version("temporal-slo")
    except PackageNotFoundError:
        # Vendored, or in a zip: the code is there without its metadata.
        return UNKNOWN


def _configured(config: C, host: Host, converter: PayloadConverter, *, watch: bool, two_phase: bool) -> C:
    def wrapped(runner: WorkflowRunner) -> WorkflowRunner:
        through = passing_through(runner)
        return watching(through, host, converter, two_phase=two_phase) if watch else through

    given: Sequence[worker.Interceptor] = config.get("interceptors", ())
    config["interceptors"] = [*given, _Interceptor(host)]
    config["workflow_runner"] = wrapped(config.get("workflow_runner") or SandboxedWorkflowRunner())
    config["unsandboxed_workflow_runner"] = wrapped(
        config.get("unsandboxed_workflow_runner") or UnsandboxedWorkflowRunner()
    )
    return config
