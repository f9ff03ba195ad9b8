from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from temporal_slo.spec import model, problems
from temporal_slo.spec.base import Part
from temporal_slo.spec.load import load
from temporal_slo.spec.model import (
    Calendar,
    Latency,
    Overdue,
    Slo,
    Spec,
    Success,
)

GOOD = Path(__file__).parents[1] / "specs" / "good" / "volteryde.yaml"


def slo(**keys: object) -> dict[str, Any]:
    """An SLO as in a spec, with *keys* in place of the defaults."""
    return {"name": "slo", "workflow": "Ride", "objective": "99", "sli": {"latency": {"threshold": "3s"}}} | keys


def spec(*slos: dict[str, Any], **keys: object) -> Spec:
    """A spec of *slos*."""
    header = {"version": "temporal-slo/v1", "service": "shop", "temporal_namespace": "shop-test", "owner": "shop-team"}
    return Spec.model_validate(header | {"period": "7d", "slos": slos} | keys)


@pytest.fixture(scope="module")
def volteryde() -> tuple[Spec, ...]:
    """The example spec."""
    return load([GOOD])


def test_example(volteryde: tuple[Spec, ...]) -> None:
    """Every value of the example is loaded."""
    (found,) = volteryde
    assert (found.service, found.owner, found.period) == ("volteryde", "bookings-team", timedelta(days=30))
    success, latency, overdue = found.slos
    assert success.sli == Success(bad=("failed", "timed_out", "bad_outcome"), excluded=("canceled", "terminated"))
    assert success.outcome is not None
    assert (success.outcome.from_, success.outcome.excluded) == ("status", ("CANCELLED",))
    assert success.alerting.low_traffic == model.LowTraffic(mode="confidence")
    assert latency.sli == Latency(threshold=timedelta(minutes=2))
    assert (overdue.sli, overdue.workflow) == (Overdue(max_age=timedelta(minutes=15)), ("WalletTopUpWorkflow",))


def test_defaults() -> None:
    """By default an SLO covers every task queue, has no outcome, and pages and opens tickets."""
    (found,) = spec(slo()).slos
    assert (found.description, found.task_queue, found.outcome) == ("", None, None)
    assert (found.alerting.page, found.alerting.ticket, found.alerting.low_traffic) == (True, True, None)


@pytest.mark.parametrize("written", ["99.50", "0.000000001", "99.999999999", "50"])
def test_objective_as_written(written: str) -> None:
    """An objective keeps the digits that were written, and never was a float."""
    assert f"{Slo.model_validate(slo(objective=written)).objective:f}" == written
    assert Slo.model_validate(slo(objective=Decimal(written))).objective == Decimal(written)
    with pytest.raises(ValidationError):
        Slo.model_validate(slo(objective=float(written)))


def test_frozen(volteryde: tuple[Spec, ...]) -> None:
    """A spec cannot be changed, and equal specs have one hash."""
    with pytest.raises(ValidationError, match="frozen"):
        volteryde[0].slos[0].objective = Decimal(1)
    assert {*volteryde, *load([GOOD])} == {*volteryde}


def test_calendar() -> None:
    """A period may be a calendar month in a time zone."""
    found = spec(slo(), period={"calendar": "month", "timezone": "Africa/Accra"})
    assert found.period == Calendar(calendar="month", timezone="Africa/Accra")


@pytest.mark.parametrize(("written", "accepted"), [("59m59s", False), ("1h", True), ("400d", True), ("401d", False)])
def test_period_limits(written: str, accepted: bool) -> None:  # noqa: FBT001 - a column of the table
    """A rolling period is at least an hour and at most the retention of the ledger."""
    if accepted:
        assert spec(slo(), period=written).slos
    else:
        with pytest.raises(ValidationError, match="between 1h and 400d"):
            spec(slo(), period=written)


@pytest.mark.parametrize("name", ["a", "a-1-", "a" * 63])
def test_names(name: str) -> None:
    """A name has lower-case letters, digits and hyphens, and starts with a letter."""
    assert Slo.model_validate(slo(name=name)).name == name


@pytest.mark.parametrize("name", ["", "1a", "-a", "A", "a_b", "a b", "a\n", "é", "a" * 64])
def test_invalid_names(name: str) -> None:
    """Every other name is rejected."""
    with pytest.raises(ValidationError, match="is not a valid name"):
        Slo.model_validate(slo(name=name))


@pytest.mark.parametrize("expression", ["status", "a.b[0].c", "items[?bad].code | [0]", "!" * 199 + "a", '"from"'])
def test_expressions(expression: str) -> None:
    """Every JMESPath expression of a length that can be evaluated is accepted."""
    found = Slo.model_validate(slo(outcome={"from": expression, "bad": ["FAILED"]}))
    assert found.outcome is not None
    assert found.outcome.from_ == expression


@pytest.mark.parametrize("expression", ["", "a.", "[", "a b", "a || sum2(b)", "items[*].upper(@)", "a" * 201])
def test_invalid_expressions(expression: str) -> None:
    """An expression that JMESPath cannot parse or evaluate is rejected at load."""
    with pytest.raises(ValidationError, match="JMESPath"):
        Slo.model_validate(slo(outcome={"from": expression, "bad": ["FAILED"]}))


def test_every_model_is_explained() -> None:
    """Error messages know each model, each key has an example, and each model rejects unknown keys."""
    models = set(Part.__subclasses__())
    assert len(models) > 15
    assert models == set(problems.MODELS.values())
    for found in models:
        assert found.model_config == {"frozen": True, "extra": "forbid"}
        assert all(field.examples for field in found.model_fields.values())
