"""Arguments, and the errors for invalid ones."""

import re
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from temporalio.common import MetricMeter

from temporal_slo import names
from temporal_slo.errors import UsageError
from temporal_slo.interceptor import Objective, OutcomeExpression, SLOInterceptor, SLOPlugin, prometheus_runtime
from temporal_slo.interceptor._recorder import Recorder
from temporal_slo.interceptor._rules import make_rules

from .metrics import Metrics

SPEC = Path(__file__).parents[2] / "deploy" / "slos" / "volteryde.yaml"
ANY = cast("Any", None)


def objective(**changes: Any) -> Objective:  # noqa: ANN401 invalid ones too
    """Return an objective."""
    given: dict[str, Any] = {"slo": "fast", "workflow": "BookRide", "threshold": timedelta(seconds=7)}
    return Objective(**given | changes)


def plugin(**options: Any) -> SLOPlugin:  # noqa: ANN401 invalid ones too
    """Return a plugin."""
    return SLOPlugin(**options)


async def asynchronous(result: object) -> str:
    """An outcome function that nothing awaits."""
    del result
    return "good"


WRONG: list[tuple[Callable[[], object], str]] = [
    (lambda: objective(threshold=timedelta()), "Objective fast threshold: .* is not a positive timedelta; write"),
    (lambda: objective(threshold=timedelta(seconds=-1)), "is not a positive timedelta"),
    (lambda: objective(threshold=90), "90 is not a positive timedelta"),
    (lambda: objective(slo=""), "Objective slo: is ''; write"),
    (lambda: objective(workflow=3), "Objective workflow: is 3; write"),
    (
        lambda: plugin(objectives=[objective(), objective()]),
        "'fast' is listed twice for BookRide; keep one",
    ),
    (lambda: plugin(objectives=["fast"]), "objectives: contains a str; write Objective"),
    (lambda: plugin(objectives=3), "objectives: is a int; pass a list"),
    (lambda: plugin(outcomes=[1]), "outcomes: is a list; pass a dict"),
    (lambda: plugin(outcomes={"": len}), "outcomes '': is not the name of a workflow type; write"),
    (lambda: plugin(outcomes={"BookRide": "status"}), "outcomes 'BookRide': is a str; pass an OutcomeExpression"),
    (lambda: plugin(outcomes={"BookRide": asynchronous}), "outcomes 'BookRide': is an async function, .*; define"),
    (lambda: plugin(labels={"user label-1": "x"}), "labels 'user label-1': is not a valid label name; use letters"),
    (lambda: plugin(labels={"__name__": "x"}), "is not a valid label name"),
    (lambda: plugin(labels={"status": "x"}), "labels 'status': is a reserved label name; use another name"),
    (lambda: plugin(labels={"namespace": "x"}), "labels 'namespace': is a reserved label name"),
    (lambda: plugin(labels={"team": 3}), "labels 'team': has no string value; write"),
    (lambda: plugin(max_label_values=0), "max_label_values: 0 is not a positive integer; pass"),
    (lambda: plugin(max_label_values=True), "max_label_values: True is not"),
    (lambda: plugin(slos=["fast"]), "slos: no spec has an SLO 'fast'; pass spec"),
    (lambda: plugin(spec=SPEC, slos=["fast"]), "'fast'; use booking-latency, booking-not-stuck, booking-success"),
    (lambda: plugin(spec=SPEC, slos="booking-latency"), "slos: 'booking-latency' is a string; pass a list"),
    (lambda: plugin(spec="no/such/place"), "no/such/place: does not exist; correct the path"),
    (lambda: plugin(spec=3), "spec: is not a path"),
    (lambda: SLOInterceptor(labels={"le": "x"}), "labels 'le': is a reserved"),
    (lambda: OutcomeExpression(expression="status", good=[]), "has neither good nor bad values; add"),
    (
        lambda: OutcomeExpression(expression="a", good=["A"], bad=["A"]),
        "lists 'A' more than once in .*; keep it once",
    ),
    (lambda: SLOInterceptor(runtime=cast("Any", "x")), "runtime: is a str; pass the runtime of the client"),
    (lambda: OutcomeExpression(expression="a[", good=["OK"]), "'a\\[' is not a JMESPath expression; write"),
    (lambda: OutcomeExpression(expression="a", good="OK"), "OutcomeExpression good: is not a list of strings; write"),
    (lambda: prometheus_runtime(bind_address="9000"), "bind_address: '9000' is not host:port; write"),
]


@pytest.mark.parametrize(("build", "message"), WRONG, ids=[message for _, message in WRONG])
def test_invalid_arguments(build: Callable[[], object], message: str) -> None:
    """An invalid argument raises a UsageError with place and remedy at construction, not in a worker."""
    with pytest.raises(UsageError, match=re.compile(message)):
        build()


@pytest.mark.parametrize(
    ("build", "module"),
    [
        (lambda: OutcomeExpression(expression="a", good=["OK"]), "jmespath"),
        (lambda: SLOPlugin(spec=SPEC), "temporal_slo.spec.load"),
    ],
)
def test_missing_extra_is_named(build: Callable[[], object], module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the spec extra the error names the command that installs it."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=re.escape("pip install 'temporal-slo[spec]'")):
        build()


def test_arguments_override_the_spec() -> None:
    """An objective replaces that of the spec for the same SLO and workflow, and no other."""
    where = ("volteryde-dev", "BookRideWorkflow", "queue")
    given = objective(slo="booking-latency", workflow="BookRideWorkflow", threshold=timedelta(seconds=3))
    elsewhere = objective(slo="booking-latency", workflow="Another", threshold=timedelta(seconds=3))
    (own,) = make_rules([elsewhere], {}, SPEC, None).rule(*where).objectives
    assert (own.slo, own.workflow) == (given.slo, given.workflow), "the spec has no such SLO: the test proves nothing"
    assert make_rules([given], {}, SPEC, None).rule(*where).objectives == (given,)


def test_values_are_bounded(queue: str) -> None:
    """Above the limit a value becomes `other`, which is counted; an empty value is `none`."""
    metrics = Metrics()
    recorder = Recorder(metrics.runtime.metric_meter, "ns", {}, 2)
    for type_ in ("A", "B", "C", "A", "none", "", "D"):
        recorder.count(names.WORKFLOW_TASK_FAILURES, "T", queue, type_)
    assert metrics.counts(names.WORKFLOW_TASK_FAILURES, queue) == {
        ("T", "A"): 2,
        ("T", "B"): 1,
        ("T", "other"): 2,
        ("T", "none"): 2,
    }
    assert metrics.counts(names.WORKER_VALUES_OVER_LIMIT) == {("failure_type",): 2}


def test_known_types_are_exempt(queue: str) -> None:
    """Types that an SLO or an argument names are exempt from the limit; failure types of the same name are not."""
    known_types = make_rules([objective(workflow="Booked")], {"Classified": str}, SPEC, None).known_types
    assert {"Booked", "Classified", "BookRideWorkflow"} <= known_types
    metrics = Metrics()
    recorder = Recorder(metrics.runtime.metric_meter, "ns", {}, 1, known_types=known_types)
    for type_ in ("A", "B", "Booked", "Classified", "A"):
        recorder.count(names.WORKFLOW_TASK_FAILURES, type_, queue, "E")
    recorder.count(names.WORKFLOW_TASK_FAILURES, "A", queue, "Booked")
    assert metrics.counts(names.WORKFLOW_TASK_FAILURES, queue) == {
        ("A", "E"): 2,
        ("other", "E"): 1,
        ("Booked", "E"): 1,
        ("Classified", "E"): 1,
        ("A", "other"): 1,
    }


def test_number_of_labels() -> None:
    """A missing label value raises, instead of a sample with wrong labels."""
    with pytest.raises(ValueError, match="argument"):
        Recorder(MetricMeter.noop, "ns", {}, 3).count(names.WORKER_ERRORS)
