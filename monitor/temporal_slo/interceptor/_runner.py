"""Workflow runners that watch their instances; each is a subclass of the runner that it replaces."""

import dataclasses
from collections.abc import Callable
from typing import Any, Final

from temporalio.api.common.v1 import Payload
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import PayloadConverter, WithSerializationContext, WorkflowSerializationContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from temporal_slo.interceptor._host import Host
from temporal_slo.interceptor._watched import WatchedRun
from temporal_slo.interceptor._workflow import RUN

PASSTHROUGH_MODULES: Final = (
    "temporal_slo.errors",
    "temporal_slo.interceptor",
    "temporal_slo.names",
    "temporal_slo.runs",
)
"""Not the whole package: the workflows of the reference application must stay in the sandbox."""

WATCHES: Final = "__temporal_slo_watches__"


def with_passthrough(runner: WorkflowRunner) -> WorkflowRunner:
    """Return a copy of *runner* whose sandbox, if any, passes this library through."""
    if isinstance(runner, SandboxedWorkflowRunner):
        restrictions = runner.restrictions.with_passthrough_modules(*PASSTHROUGH_MODULES)
        return _copy(runner, type(runner), restrictions=restrictions)
    return runner


def watching_runner(
    runner: WorkflowRunner, host: Host, converter: PayloadConverter, *, two_phase: bool
) -> WorkflowRunner:
    """Return a runner that does what *runner* does and watches its instances.

    It is a subclass rather than a wrapper, because other plugins check the class and replace fields.
    """
    base = type(runner)

    def create_instance(self: WorkflowRunner, det: WorkflowInstanceDetails) -> WorkflowInstance:
        run = host.watched_run(det.info, two_phase=two_phase, decode=_decoder(det, converter))
        if run is None:
            return base.create_instance(self, det)
        det = dataclasses.replace(det, extern_functions={**det.extern_functions, RUN: lambda _: run})
        return _watch(base.create_instance(self, det), run)

    return _copy(runner, type(f"Watching{base.__name__}", (base,), {"create_instance": create_instance, WATCHES: True}))


def is_watching(runner: WorkflowRunner) -> bool:
    """Return whether the class of *runner* comes from `watching_runner`, directly or by inheritance."""
    return hasattr(type(runner), WATCHES)


def _decoder(det: WorkflowInstanceDetails, converter: PayloadConverter) -> Callable[[Payload], object] | None:
    # By the class that the worker was given, not by the one that the sandbox imports again.
    info, hint = det.info, getattr(det.defn, "ret_type", None)
    if hint is None or hint is Any:
        return None

    def decode(payload: Payload) -> object:
        with_context = converter
        if isinstance(converter, WithSerializationContext):
            context = WorkflowSerializationContext(namespace=info.namespace, workflow_id=info.workflow_id)
            with_context = converter.with_context(context)
        return with_context.from_payload(payload, hint)

    return decode


def _copy(runner: WorkflowRunner, as_: type[WorkflowRunner], **changes: object) -> WorkflowRunner:
    # Without the constructor, whose arguments a user's subclass may have changed.
    copy: WorkflowRunner = object.__new__(as_)
    copy.__dict__.update(vars(runner), **changes)
    return copy


def _watch(instance: WorkflowInstance, run: WatchedRun) -> WorkflowInstance:
    inner: Callable[[WorkflowActivation], WorkflowActivationCompletion] = instance.activate

    def activate(act: WorkflowActivation) -> WorkflowActivationCompletion:
        run.before(act)
        completion = inner(act)
        run.after(act, completion)
        if run.is_evicted:
            # The hook refers to the instance; without this only a full garbage collection would free the instance.
            vars(instance).pop("activate", None)
        return completion

    # Set on the instance: a wrapper would have to follow the instance's class through every version of the SDK.
    instance.activate = activate  # type: ignore[method-assign]
    return instance
