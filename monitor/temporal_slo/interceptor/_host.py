"""State that a worker's hooks share outside the workflow sandbox: rules, recorders, deferred counts."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import MetricMeter

from temporal_slo.errors import UsageError
from temporal_slo.interceptor._deferred import DeferredCounts
from temporal_slo.interceptor._labels import constant_labels
from temporal_slo.interceptor._outcomes import OutcomeExpression, OutcomeFunction
from temporal_slo.interceptor._recorder import Recorder
from temporal_slo.interceptor._rules import Objective, Rules, SpecPath, make_rules
from temporal_slo.interceptor._run import InterceptedRun, WorkflowRun
from temporal_slo.interceptor._watched import WatchedRun

R = TypeVar("R", bound=WorkflowRun)

DEFAULT_MAX_LABEL_VALUES: Final = 50

log = logging.getLogger("temporal_slo.interceptor")


class Options:
    """Validated options of the plugin or the interceptor.

    Raises:
        UsageError: An option is invalid.
    """

    def __init__(
        self,
        *,
        objectives: Iterable[Objective],
        outcomes: Mapping[str, OutcomeFunction | OutcomeExpression],
        spec: SpecPath | None,
        slos: Sequence[str] | None,
        labels: Mapping[str, str],
        max_label_values: int,
    ) -> None:
        for name, value, kind in (("outcomes", outcomes, Mapping), ("labels", labels, Mapping)):
            if not isinstance(value, kind):
                raise UsageError(name, f"is a {type(value).__name__}", "pass a dict")
        if not isinstance(objectives, Iterable):
            raise UsageError("objectives", f"is a {type(objectives).__name__}", "pass a list of Objective")
        if type(max_label_values) is not int or max_label_values < 1:
            raise UsageError("max_label_values", f"{max_label_values!r} is not a positive integer", "pass e.g. 50")
        self.rules: Rules = make_rules(objectives, outcomes, spec, slos)
        self.labels = constant_labels(labels)
        self.max_label_values = max_label_values


class Host:
    """State that the hooks of workers on one runtime share, outside every workflow sandbox.

    Args:
        options: Validated options.
        meter: Returns the runtime's meter; called on first use.
        suffix: Returns the suffix to append to counter names; called on first use.

    Attributes:
        deferred: Counts of tasks that the server may still have rejected.
        known_types: Workflow and activity types that user code or specs name; they are exempt from the limit.
    """

    def __init__(self, options: Options, meter: Callable[[], MetricMeter], suffix: Callable[[], str] = str) -> None:
        self.options = options
        self._meter = meter
        self._suffix = suffix
        self.deferred = DeferredCounts()
        self.known_types = set(options.rules.known_types)
        self._recorders: dict[str, Recorder] = {}
        self._lock = threading.Lock()

    def recorder(self, namespace: str) -> Recorder:
        """Return the recorder of *namespace*."""
        found = self._recorders.get(namespace)
        if found is None:
            with self._lock:
                options = self.options
                new = Recorder(
                    self._meter(),
                    namespace,
                    options.labels,
                    options.max_label_values,
                    suffix=self._suffix(),
                    known_types=self.known_types,
                )
                found = self._recorders.setdefault(namespace, new)
        return found

    def intercepted_run(self, info: workflow.Info) -> WorkflowRun | None:
        """Return a run that is counted by the interceptor alone; None if that fails."""
        return self._new_run(lambda: InterceptedRun(info, self.options.rules, self.recorder(info.namespace)), info)

    def watched_run(
        self, info: workflow.Info, *, two_phase: bool, decode: Callable[[Payload], object] | None = None
    ) -> WatchedRun | None:
        """Return a run that is counted from its activations and completions; None if that fails.

        Args:
            info: The run's info.
            two_phase: Whether evictions show which tasks the server has accepted.
            decode: Decodes a result's payload into the classes of this process; None if the result type is unknown.
        """
        rules, deferred = self.options.rules, self.deferred if two_phase else None
        return self._new_run(lambda: WatchedRun(info, rules, self.recorder(info.namespace), deferred, decode), info)

    def _new_run(self, make: Callable[[], R], info: workflow.Info) -> R | None:
        try:
            return make()
        except Exception as error:  # noqa: BLE001 the workflow must run whatever fails here
            self.record_error("start", info.namespace, error)
            return None

    def record_error(self, hook: str, namespace: str, error: Exception) -> None:
        """Count an error of this library; never raises."""
        try:
            self.recorder(namespace).error(hook, error)
        except Exception:  # noqa: BLE001 as above
            log.warning("%s failed in %s, and the error could not be counted", hook, type(error).__name__)
