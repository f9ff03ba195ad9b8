import subprocess
import sys
from pathlib import Path

from temporalio.client import Client

from .conftest import NAMESPACE

SCRIPT = Path(__file__).with_name("base_install.py")


def test_runs_with_nothing_but_the_sdk(temporal_address: str, plain: Client, queue: str) -> None:
    """A worker with the SDK alone counts; arguments that require an extra raise an error that names it."""
    del plain  # which has registered the namespace
    command = [sys.executable, "-I", str(SCRIPT), temporal_address, NAMESPACE, queue[-40:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "counted 1 completed good",
        "OutcomeExpression: requires the package jmespath; pip install 'temporal-slo[spec]'",
        "spec: requires the package pydantic; pip install 'temporal-slo[spec]'",
    ]
