import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("argv", [("schema",), ("validate", "deploy/slos")])
def test_full_disk(argv: tuple[str, ...]) -> None:
    """A full disk under standard output is reported in one line, for short and for long output."""
    command = [sys.executable, "-m", "temporal_slo", *argv]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    reason = "write failed: No space left on device; free disk space, or write to another disk"
    assert (done.returncode, done.stderr) == (1, f"temporal-slo: output: {reason}\n")
