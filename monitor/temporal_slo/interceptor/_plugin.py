"""The plugin, and the interceptor for workers that need it alone."""

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
from temporal_slo.interceptor._host import DEFAULT_MAX_LABEL_VALUES, Host, Options
from temporal_slo.interceptor._outcomes import OutcomeExpression, OutcomeFunction
from temporal_slo.interceptor._rules import Objective, SpecPath
from temporal_slo.interceptor._runner import is_watching, watching_runner, with_passthrough
from temporal_slo.interceptor._runtime import counter_suffix
from temporal_slo.interceptor._workflow import RUN, WorkflowInbound
from temporal_slo.names.values import EXACT, NO, NONE, REPLAY_SAFE, UNKNOWN

C = TypeVar("C", WorkerConfig, ReplayerConfig)

FLUSH_INTERVAL: Final = 1.0
"""Seconds between flushes of deferred counts."""

PROTOCOL: Final = "protocol"
"""Reason: this library does not know the SDK's internal protocol."""
NO_CACHE: Final = "no_cache"
"""Reason: without a workflow cache every task is followed by an eviction, which says nothing about the task."""
UNSAFE_EVICTION: Final = "unsafe_eviction"
"""Reason: with unsafe eviction, instances do not get evictions."""
RUNNER: Final = "runner"
"""Reason: a later plugin has replaced the workflow runner."""

log = logging.getLogger("temporal_slo.interceptor")


class _Interceptor(client.Interceptor, worker.Interceptor):
    """Adds its hooks to a worker once, however often it is given."""

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
        input.unsafe_extern_functions[RUN] = self.host.intercepted_run
        return WorkflowInbound


class SLOInterceptor(_Interceptor):
    """The interceptor alone: counts activity attempts, and workflow ends replay-safe. `SLOPlugin` counts them exactly.

    A final workflow task that is executed again is counted again, failures in converters are not seen, and
    `temporal_slo_activity_ends` has no series.

    Args:
        runtime: The client's runtime, whose metrics it adds to; None for the default runtime.
        objectives: As for `SLOPlugin`, like all that follow.
        outcomes: See there. A function gets the object that the workflow returned in the sandbox, whose classes are
            not those of your module: compare plain values.
        spec: See there.
        slos: See there.
        labels: See there.
        max_label_values: See there.

    Raises:
        UsageError: An argument or a spec is invalid.
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
        max_label_values: int = DEFAULT_MAX_LABEL_VALUES,
    ) -> None:
        if not isinstance(runtime, Runtime | None):
            raise UsageError("runtime", f"is a {type(runtime).__name__}", "pass the runtime of the client")
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
    """Counts how workflows and activities end. A plugin for clients, workers and replayers.

    Pass it to the client, `Client.connect(…, plugins=[SLOPlugin()])`, or to workers; with both it counts once.
    An end is counted when the server has accepted it: replays count nothing, and neither do workflow tasks whose
    end the server has not accepted. Not seen: timeouts and terminations, which never reach a worker, and tasks that
    the worker cannot decode. Counts recorded after the last scrape of a process are lost. The plugin issues no
    commands and adds nothing to workflow histories: add or remove it while workflows are running.

    Args:
        objectives: Latency objectives; each replaces the spec's objective of the same SLO and workflow.
        outcomes: How to read the business outcome of completed runs, by workflow type: an expression, or a function
            of the result that only looks at it, without clock or I/O. The function gets what a client would get,
            decoded to the return type of the workflow's `run`. Without a return type, or if the SDK's protocol is
            unknown, it gets the object that the workflow returned in the sandbox, whose classes are not those of
            your module: compare plain values.
        spec: Spec files or folders with latency objectives and outcomes. Requires the `spec` extra.
        slos: Names of the SLOs of the spec to count; None for all.
        labels: Constant labels of every metric.
        max_label_values: Maximum number of distinct values per label and metric; further values become `other`.
            Exempt are the workflow and activity types that the worker has registered, or that a spec or an argument
            names.

    Raises:
        UsageError: An argument or a spec is invalid.
    """

    def __init__(
        self,
        *,
        objectives: Iterable[Objective] = (),
        outcomes: Mapping[str, OutcomeFunction | OutcomeExpression] | None = None,
        spec: SpecPath | None = None,
        slos: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        max_label_values: int = DEFAULT_MAX_LABEL_VALUES,
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
                "the client's runtime has no telemetry, no metrics are recorded; pass runtime=prometheus_runtime(…) to"
                " the client"
            )
        reason = _inexact_reason(config)
        converter = config["client"].data_converter.payload_converter
        return _configured(config, host, converter, watch=reason != PROTOCOL, two_phase=reason == NONE)

    async def run_worker(self, worker: worker.Worker, next: Callable[[worker.Worker], Awaitable[None]]) -> None:  # noqa: A002
        """See base class."""
        # Only now: a later plugin may have changed what this one configured.
        for host in self._hosts.values():
            _report_worker(host, worker)
        flushing = asyncio.ensure_future(self._flush_periodically())
        try:
            await super().run_worker(worker, next)
        finally:
            flushing.cancel()
            for host in self._hosts.values():
                host.deferred.flush(stopped_queue=worker.task_queue)

    async def _flush_periodically(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_INTERVAL)
            for host in self._hosts.values():
                host.deferred.flush()

    def configure_replayer(self, config: ReplayerConfig) -> ReplayerConfig:
        """See base class."""
        config = super().configure_replayer(config)
        if _is_configured(config):
            return config
        host = Host(self._options, lambda: MetricMeter.noop)
        converter = (config.get("data_converter") or DataConverter.default).payload_converter
        return _configured(config, host, converter, watch=_protocol.is_supported(), two_phase=True)


def _is_configured(config: WorkerConfig | ReplayerConfig) -> bool:
    return any(type(interceptor) is _Interceptor for interceptor in config.get("interceptors") or ())


def _inexact_reason(config: WorkerConfig) -> str:
    """Return the reason why ends cannot be counted exactly, or none."""
    if not _protocol.is_supported():
        return PROTOCOL
    if not config.get("max_cached_workflows", 1):
        return NO_CACHE
    return UNSAFE_EVICTION if config.get("disable_safe_workflow_eviction") else NONE


def _report_worker(host: Host, worker: worker.Worker) -> None:
    namespace, task_queue = worker.client.namespace, worker.task_queue
    try:
        config = worker.config(active_config=True)
        if not any(type(i) is _Interceptor and i.host is host for i in config.get("interceptors") or ()):
            return
        runners = config["workflow_runner"], config["unsandboxed_workflow_runner"]
        reason = _inexact_reason(config)
        if reason == NONE and not all(map(is_watching, runners)):
            reason = RUNNER
        if reason != NONE:
            log.warning(
                "workflow ends on task queue %s are counted replay-safe, not exactly (%s): a final workflow task that"
                " is executed again is counted again",
                task_queue,
                reason,
            )
        host.known_types.update(_registered(config))
        recorder = host.recorder(namespace)
        recorder.info(names.WORKER_INFO, task_queue, EXACT if reason == NONE else REPLAY_SAFE, reason, _version())
        # Prometheus sees no increase in a series whose first sample is 1.
        for type_ in host.options.rules.workflow_types(namespace):
            for objective in host.options.rules.rule(namespace, type_, task_queue).objectives:
                for family in (names.WORKFLOW_OBJECTIVE, names.WORKFLOW_WITHIN_OBJECTIVE):
                    recorder.count(family, type_, task_queue, NO, objective.slo, by=0)
    except Exception as error:  # noqa: BLE001 the worker must start whatever fails here
        host.record_error("configure", namespace, error)


def _registered(config: WorkerConfig) -> set[str]:
    """Return the workflow and activity types that a worker has registered; dynamic ones have no name."""
    found = [getattr(cls, "__temporal_workflow_definition", None) for cls in config.get("workflows") or ()]
    found += [getattr(function, "__temporal_activity_definition", None) for function in config.get("activities") or ()]
    return {definition.name for definition in found if definition and definition.name}


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 would double the import time of this library

    try:
        return version("temporal-slo")
    except PackageNotFoundError:
        # Vendored, or in a zip: the package has no metadata.
        return UNKNOWN


def _configured(config: C, host: Host, converter: PayloadConverter, *, watch: bool, two_phase: bool) -> C:
    def wrapped(runner: WorkflowRunner) -> WorkflowRunner:
        passed_through = with_passthrough(runner)
        return watching_runner(passed_through, host, converter, two_phase=two_phase) if watch else passed_through

    given: Sequence[worker.Interceptor] = config.get("interceptors", ())
    config["interceptors"] = [*given, _Interceptor(host)]
    config["workflow_runner"] = wrapped(config.get("workflow_runner") or SandboxedWorkflowRunner())
    config["unsandboxed_workflow_runner"] = wrapped(
        config.get("unsandboxed_workflow_runner") or UnsandboxedWorkflowRunner()
    )
    return config
