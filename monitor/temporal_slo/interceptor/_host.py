"""What a worker's hooks share: rules, recorders, and how a run is begun."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import MetricMeter

from temporal_slo.errors import UsageError
from temporal_slo.interceptor._held import Held
from temporal_slo.interceptor._labels import constant_labels
from temporal_slo.interceptor._outcomes import OutcomeExpression, OutcomeFunction
from temporal_slo.interceptor._recorder import Recorder
from temporal_slo.interceptor._rules import Objective, Rules, SpecPath, rules
from temporal_slo.interceptor._run import InterceptedRun, Run
from temporal_slo.interceptor._watched import WatchedRun

R = TypeVar("R", bound=Run)

VALUES_MAX: Final = 50

log = logging.getLogger("temporal_slo.interceptor")


class Options:
    """What the user gave, checked.

    Raises:
        UsageError: Something of it is not what it must be.
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
                raise UsageError(name, f"is a {type(value).__name__}", "give a dict")
        if not isinstance(objectives, Iterable):
            raise UsageError("objectives", f"is a {type(objectives).__name__}", "give a list of Objective")
        if type(max_label_values) is not int or max_label_values < 1:
            raise UsageError("max_label_values", f"{max_label_values!r} is not a whole number above 0", "give 50")
        self.rules: Rules = rules(objectives, outcomes, spec, slos)
        self.labels = constant_labels(labels)
        self.max_label_values = max_label_values


class Host:
    """The side of a worker's hooks that stands outside every sandbox.

    Args:
        options: What the user gave.
        meter: Returns the runtime's meter; called at the first use.
        suffix: Returns what the names of counters lack; called then too.

    Attributes:
        held: What may yet turn out to be rejected.
        named: Types of workflows and activities that the user's own code or spec names, which are few.
    """

    def __init__(self, options: Options, meter: Callable[[], MetricMeter], suffix: Callable[[], str] = str) -> None:
        self.options = options
        self._meter = meter
        self._suffix = suffix
        self.held = Held()
        self.named = set(options.rules.named)
        self._recorders: dict[str, Recorder] = {}
        self._lock = threading.Lock()

    def recorder(self, namespace: str) -> Recorder:
        """Return where *namespace* is recorded."""
        found = self._recorders.get(namespace)
        if found is None:
            with self._lock:
                options = self.options
                limit, suffix = options.max_label_values, self._suffix()
                new = Recorder(self._meter(), namespace, options.labels, limit, suffix=suffix, named=self.named)
                found = self._recorders.setdefault(namespace, new)
        return found

    def intercepted(self, info: workflow.Info) -> Run | None:
        """Begin a run that nobody watches; None if that fails."""
        return self._begun(lambda: InterceptedRun(info, self.options.rules, self.recorder(info.namespace)), info)

    def watched(
        self, info: workflow.Info, *, two_phase: bool, decode: Callable[[Payload], object] | None = None
    ) -> WatchedRun | None:
        """Begin a run that is watched from outside; None if that fails.

        Args:
            info: What the SDK says of it.
            two_phase: Whether evictions tell what the server has accepted.
            decode: Makes what the host's own classes know of a result's payload; None if its type is not known.
        """
        rules, held = self.options.rules, self.held if two_phase else None
        return self._begun(lambda: WatchedRun(info, rules, self.recorder(info.namespace), held, decode), info)

    def _begun(self, make: Callable[[], R], info: workflow.Info) -> R | None:
        try:
            return make()
        except Exception as error:  # noqa: BLE001 whatever it is, the workflow must run
            self.failed("start", info.namespace, error)
            return None

    def failed(self, hook: str, namespace: str, error: Exception) -> None:
        """Count an error of ours; never raises."""
        try:
            self.recorder(namespace).error(hook, error)
        except Exception:  # noqa: BLE001 as above
            log.warning("%s failed in %s, and could not be counted", hook, type(error).__name__)
