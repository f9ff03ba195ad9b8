"""The users of specs handle every kind of SLI."""

from pathlib import Path

import pytest

from temporal_slo.interceptor._rules import make_rules
from temporal_slo.spec.events import bad_run_predicate
from temporal_slo.spec.load import load
from temporal_slo.spec.model import Latency, Overdue, SliKinds, Spec, Success, WorkerSli

GOOD = Path(__file__).parents[1] / "specs" / "good"


@pytest.fixture(scope="module")
def shop() -> Spec:
    """A spec with every kind of SLI."""
    return load([GOOD / "everything.yaml"])[0]


def test_every_kind_is_there(shop: Spec) -> None:
    """The example has every kind of SLI, so that the other tests cover each."""
    assert {slo.sli.kind for slo in shop.slos} == set(SliKinds.model_fields)


def test_bad_run_predicate(shop: Spec) -> None:
    """Only SLIs of workflow runs have a predicate for bad runs; those of minutes and workers have none."""
    for slo in shop.slos:
        assert isinstance(slo.sli, Success | Latency | Overdue | WorkerSli)
        assert (bad_run_predicate(slo.sli) is not None) == isinstance(slo.sli, Success | Latency), slo.name


def test_workers_time_only_latencies() -> None:
    """The worker library takes objectives from latency SLIs, not from schedule-to-start SLIs."""
    found = make_rules([], {}, GOOD / "everything.yaml", None)
    assert [scoped.objective.slo for scoped in found.objectives] == ["orders-quick"]
    assert found.rule("shop-test", "Order", "orders").objectives
