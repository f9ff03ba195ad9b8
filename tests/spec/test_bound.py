"""SLOs bound to their specs."""

from pathlib import Path
from typing import Any

import pytest

from temporal_slo.spec.bound import (
    BoundSlo,
    LoadedSpecs,
    outcomes,
    task_queues,
    workflow_types,
)
from temporal_slo.spec.load import load, read
from temporal_slo.spec.model import Calendar, Spec

GOOD = Path(__file__).parents[1] / "specs" / "good"
VOLTERYDE = "volteryde-dev"


@pytest.fixture(scope="module")
def volteryde() -> Spec:
    """A spec with one latency SLO of each threshold, and one SLO of overdue runs."""
    return load([GOOD / "volteryde.yaml"])[0]


def spec(*slos: dict[str, Any], **keys: object) -> Spec:
    """A spec of the namespace shop."""
    usual: dict[str, Any] = {"version": "temporal-slo/v1", "service": "shop", "temporal_namespace": "shop"}
    given = [{"name": f"slo-{n}", "workflow": "Ride", "objective": "99", **slo} for n, slo in enumerate(slos)]
    return Spec.model_validate(usual | {"owner": "shop-team", "period": "7d", "slos": given} | keys)


def latency(threshold: str, **keys: object) -> dict[str, Any]:
    """A latency SLO."""
    return {"sli": {"latency": {"threshold": threshold}}, **keys}


def test_bound() -> None:
    """A bound SLO has the values of its own file, and nothing of another file."""
    month = {"calendar": "month", "timezone": "Africa/Accra"}
    specs = LoadedSpecs([spec(latency("3s")), spec(latency("5s"), temporal_namespace="bank", owner="o", period=month)])
    shop, bank = specs.slos
    assert shop.slo is specs[0].slos[0]
    assert (shop.service, shop.temporal_namespace, shop.owner, shop.period) == (
        "shop",
        "shop",
        "shop-team",
        specs[0].period,
    )
    assert (bank.temporal_namespace, bank.owner, bank.period) == ("bank", "o", Calendar.model_validate(month))
    assert specs.of_namespace("bank") == (bank,)
    assert specs.of_namespace("elsewhere") == ()


def test_delegates(volteryde: Spec) -> None:
    """Every property of a bound SLO is that of the SLO as written."""
    renamed = {"workflow_types": "workflow"}
    properties = [name for name, found in vars(BoundSlo).items() if isinstance(found, property)]
    assert len(properties) > 8
    for slo in LoadedSpecs([volteryde]).slos:
        for name in properties:
            assert getattr(slo, name) == getattr(slo.slo, renamed.get(name, name)), name


def test_bound_once() -> None:
    """Loading binds every SLO once, in the order of the files; nothing is bound again when it is read."""
    specs = read([GOOD]).specs
    assert [slo.slo for slo in specs.slos] == [slo for spec_ in specs for slo in spec_.slos]
    assert all(slo in specs.slos for slo in specs.of_namespace(VOLTERYDE))
    assert specs.of_namespace(VOLTERYDE)[0] is specs.slos[len(specs[0].slos)]
    assert LoadedSpecs().slos == ()


def test_outcomes() -> None:
    """An outcome belongs to each workflow type of its SLO."""
    two = spec(latency("3s", workflow=["Ride", "Tour"], outcome={"from": "s", "good": ["OK"]}), latency("3s"))
    (first, _) = slos = LoadedSpecs([two]).slos
    assert outcomes(slos) == {"Ride": first.outcome, "Tour": first.outcome}


def test_types_and_queues() -> None:
    """Workflow types come sorted and task queues in the order of the specs, each once."""
    slos = LoadedSpecs(
        [
            spec(
                latency("3s", workflow=["Z", "A"], task_queue="late"),
                latency("3s", workflow="A"),
                latency("3s", task_queue="early"),
            )
        ]
    ).slos
    assert workflow_types(slos) == ("A", "Ride", "Z")
    assert task_queues(slos) == ("late", "early")
