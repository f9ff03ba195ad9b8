"""The mix of outcomes of a load: how often each occurs, in batches that match it exactly."""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from temporal_slo.errors import UsageError
from temporal_slo.reference.load.outcomes import Outcome

MAX_WEIGHT: Final = 1000
_EXAMPLE: Final = "use e.g. booking.confirmed=80,topup.credited=20"


@dataclass(frozen=True)
class Mix:
    """Relative frequency of each outcome, as whole numbers."""

    weights: Mapping[Outcome, int]

    @classmethod
    def parse(cls, text: str) -> "Mix":
        """Parse for example `booking.confirmed=80,topup.credited=20`; outcomes that are not listed do not occur.

        Raises:
            UsageError: *text* is malformed, or every weight is 0.
        """
        weights: dict[Outcome, int] = {}
        for term in text.split(","):
            outcome, weight = _parse_term(term)
            if outcome in weights:
                raise UsageError("--mix", f"duplicate outcome {outcome}", "list each outcome once")
            weights[outcome] = weight
        if not any(weights.values()):
            raise UsageError("--mix", "all weights are 0", "set at least one weight above 0")
        return cls(weights)

    def __str__(self) -> str:
        return ",".join(f"{outcome}={weight}" for outcome, weight in self.weights.items())


def _parse_term(term: str) -> tuple[Outcome, int]:
    name, equals, weight = (part.strip() for part in term.partition("="))
    if not equals:
        raise UsageError("--mix", f"{term!r} is not workflow.outcome=weight", _EXAMPLE)
    if name not in list(Outcome):
        raise UsageError("--mix", f"unknown outcome {name!r}", f"use {', '.join(Outcome)}")
    if not weight.isdecimal() or int(weight) > MAX_WEIGHT:
        raise UsageError("--mix", f"invalid weight {weight!r} of {name}", f"use a whole number from 0 to {MAX_WEIGHT}")
    return Outcome(name), int(weight)


DEFAULT_MIX: Final = Mix.parse(
    "booking.confirmed=64,booking.declined=5,booking.cancelled_by_user=3,booking.canceled=2,booking.terminated=2,"
    "booking.timed_out=2,booking.failed=2,topup.credited=8,topup.paid_twice=1,topup.approved=1,topup.rejected=1,"
    "topup.declined=2,topup.expired=1,topup.failed=1,bus.arrived=4,bus.stuck=1"
)


def outcomes(mix: Mix, seed: int) -> Iterator[Outcome]:
    """Yield outcomes endlessly, in shuffled batches of 100 (if the weights sum to 100) that match the mix exactly."""
    rng = random.Random(seed)  # noqa: S311 - repeatable load, no secret
    common = math.gcd(*mix.weights.values())
    batch = [outcome for outcome in Outcome for _ in range(mix.weights.get(outcome, 0) // common)]
    while True:
        rng.shuffle(batch)
        yield from batch


def plan(count: int, mix: Mix, seed: int) -> list[Outcome]:
    """Return the first *count* outcomes of a load with this mix and seed."""
    return list(islice(outcomes(mix, seed), count))
