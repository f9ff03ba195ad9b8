"""Load generator: starts bookings, top-ups and bus services at a constant rate with a given mix of outcomes."""

from temporal_slo.reference.load.mix import DEFAULT_MIX, Mix, plan
from temporal_slo.reference.load.model import Load, Start, Tally
from temporal_slo.reference.load.outcomes import ENDINGS, Ending, Outcome
from temporal_slo.reference.load.run import run

__all__ = ["DEFAULT_MIX", "ENDINGS", "Ending", "Load", "Mix", "Outcome", "Start", "Tally", "plan", "run"]
