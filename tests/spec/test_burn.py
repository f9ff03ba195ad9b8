"""Burn-rate tiers and thresholds, and the texts of durations and numbers."""

from datetime import timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from temporal_slo.spec.burn import DEFAULT_TIERS, MONTH_LENGTH, burn_rate_threshold, period_length, tiers_of
from temporal_slo.spec.formatting import duration_text, normalized, number_text
from temporal_slo.spec.load import load
from temporal_slo.spec.model import Calendar, Slo, Tier

GOOD = Path(__file__).parents[1] / "specs" / "good"
MONTHLY = Calendar(calendar="month", timezone="Africa/Accra")


def slo(**keys: object) -> Slo:
    """An SLO with *keys* in place of the defaults."""
    usual: dict[str, Any] = {"name": "slo", "workflow": "Ride", "objective": "99"}
    return Slo.model_validate(usual | {"sli": {"latency": {"threshold": "3s"}}} | keys)


def tier(long: str, budget: str) -> Tier:
    """A tier with this long window."""
    return Tier.model_validate({"name": "own", "severity": "page", "long": long, "short": "1ms", "budget": budget})


@pytest.mark.parametrize(
    ("days", "factors"),
    [
        (30, ["14.4", "6", "3", "1"]),
        (28, ["13.44", "5.6", "2.8", "0.933333333"]),
        (7, ["3.36", "1.4", "0.7", "0.233333333"]),
        (90, ["43.2", "18", "9", "3"]),
    ],
)
def test_thresholds(days: int, factors: list[str]) -> None:
    """Burn-rate thresholds follow from the period, and have no trailing zeros."""
    assert [f"{burn_rate_threshold(tier, timedelta(days=days))}" for tier in DEFAULT_TIERS] == factors


def test_months_are_thirty_days() -> None:
    """A calendar month has the burn-rate thresholds of 30 days, in every month."""
    assert period_length(MONTHLY) == MONTH_LENGTH == timedelta(days=30)
    assert [burn_rate_threshold(tier, MONTHLY) for tier in DEFAULT_TIERS] == [
        burn_rate_threshold(tier, MONTH_LENGTH) for tier in DEFAULT_TIERS
    ]


def test_thresholds_are_exact() -> None:
    """A threshold is exact to nine digits, whatever the precision of the caller's decimals."""
    with localcontext(prec=2):
        for long, budget in [("1h", "2"), ("7h", "13.75"), ("3d1h7m11s13ms", "0.000000001"), ("2ms", "100")]:
            found = burn_rate_threshold(tier(long, budget), timedelta(days=17, seconds=3))
            seconds = tier(long, budget).long / timedelta(milliseconds=1)
            true = Fraction(budget) / 100 * (17 * 86400 + 3) * 1000 / Fraction(seconds)
            assert abs(Fraction(found) / true - 1) < Fraction(1, 10**8), (long, budget)


def test_tiers() -> None:
    """An SLO has the tiers of its spec, without those whose severity or name it disables."""
    specs = load([GOOD])
    paid, _, any_activity, *_, quick, _ = specs.of_namespace("shop-test")
    assert [tier.name for tier in paid.tiers] == ["fast"]
    assert [tier.name for tier in any_activity.tiers] == ["fast"]
    assert [tier.name for tier in quick.tiers] == ["slow"]
    assert specs.of_namespace("volteryde-dev")[0].tiers == DEFAULT_TIERS
    off = slo(alerting={"ticket": "false", "tiers": {"page-slow": {"enabled": "false"}}})
    assert [tier.name for tier in tiers_of(specs[1], off)] == ["page-quick"]


def test_tier_alerts() -> None:
    """Overrides of a tier are loaded, immutable, and compared by value."""
    found = slo(alerting={"tiers": {"page-quick": {"for": "2m"}}})
    alert = found.alerting.tiers["page-quick"]
    assert (alert.enabled, alert.for_) == (True, timedelta(minutes=2))
    assert {found, slo(alerting={"tiers": {"page-quick": {"for": "120s"}}})} == {found}
    assert not hasattr(found.alerting.tiers, "__setitem__")


@pytest.mark.parametrize(
    ("objective", "budget"), [("99.5", "0.005"), ("99.999999999", "0.00000000001"), ("0.1", "0.999"), ("33", "0.67")]
)
def test_budget(objective: str, budget: str) -> None:
    """The error budget is the complement of the objective, exact, whatever the precision of the caller's decimals."""
    with localcontext(prec=1):
        assert f"{slo(objective=objective).error_budget:f}" == budget


@pytest.mark.parametrize(
    ("written", "rate"), [("20/h", "1/180"), ("1.5/s", "3/2"), ("7/m", "7/60"), ("0.000000001/d", "1/86400000000000")]
)
def test_rates(written: str, rate: str) -> None:
    """A rate is events per second, exact."""
    assert slo(expected_rate=written).expected_rate == Fraction(rate)
    assert slo(expected_rate=Fraction(rate)).expected_rate == Fraction(rate)


@pytest.mark.parametrize("written", ["", "20", "/h", "20/", "-1/h", "20 / h", "20/H", "1e3/h", "20/ms", "0/s", 20])
def test_invalid_rates(written: object) -> None:
    """Every other rate is rejected."""
    with pytest.raises(ValidationError, match=r"is not a rate|is a rate of zero"):
        slo(expected_rate=written)


def test_numbers() -> None:
    """Numbers have three significant digits, or are integers, and never have an exponent."""
    shown = {Fraction(1, 3): "0.333", Fraction(2): "2", Fraction(10): "10", Fraction(1, 10**7): "0.0000001"}
    shown |= {Fraction(1996, 20): "99.8", Fraction(1234567, 2): "617284", Fraction(100): "100", Fraction(0): "0"}
    assert {number: number_text(number) for number in shown} == shown
    assert [f"{normalized(Decimal(text))}" for text in ("14.40", "100", "1E+3", "0.50")] == [
        "14.4",
        "100",
        "1000",
        "0.5",
    ]


def test_durations() -> None:
    """Whole days stay days: 30d, not 4w2d."""
    spans = [timedelta(days=30), timedelta(hours=36), timedelta(minutes=90), timedelta(days=7)]
    assert [duration_text(span) for span in spans] == ["30d", "1d12h", "1h30m", "7d"]
