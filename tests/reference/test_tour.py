import asyncio
import re
import shutil
from itertools import chain
from pathlib import Path

import pytest

from temporal_slo.demo.application import API_PORT, DEMO_KEY, SERVICES_PORT
from temporal_slo.reference.activities.booking import BookingActivities
from temporal_slo.reference.activities.fleet import FleetActivities
from temporal_slo.reference.activities.payment import PaymentActivities
from temporal_slo.reference.workflows.booking import BookRideWorkflow
from temporal_slo.reference.workflows.fleet import BusServiceWorkflow
from temporal_slo.reference.workflows.schedules import OpenManifestsWorkflow
from temporal_slo.reference.workflows.wallet import WalletTopUpWorkflow
from temporal_slo.servers.process import LOOPBACK, until
from tests.conftest import Temporal

from . import tour
from .application import application_with_api
from .services_process import SECRET
from .tour import README, Example

DEADLINE = 30.0
TEXT = README.read_text()
missing = [program for program in ("bash", "curl", "openssl") if not shutil.which(program)]


async def output_of(script: str) -> str:
    """Run a shell script and return what it prints."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", script), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await asyncio.wait_for(process.communicate(), DEADLINE)
    return tour.normalised(output.decode().strip())


async def printed(example: Example, script: str) -> str:
    """Run a command and return what it prints; one that only reads is repeated while it prints something else."""
    output = await output_of(script)
    expected = tour.normalised(example.output)

    async def as_shown() -> bool:
        nonlocal output
        output = await output_of(script)
        return output == expected

    if example.reads and output != expected:
        try:
            await until(as_shown, deadline=DEADLINE, what=example.command)
        except TimeoutError:
            return output
    return output


@pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")
async def test_tour(temporal: Temporal, tmp_path: Path) -> None:
    """Each command of the README, run one after the other, prints what the README shows."""
    found = tour.commands(TEXT)
    assert len(found) > 30, "hardly a command was found: this test is blind"
    async with application_with_api(await temporal.namespace("tour"), tmp_path) as (services, api):
        values = {"API": f"{api}/api/v1", "SERVICES": services.url, "PAYSTACK_SECRET_KEY": SECRET}
        for number, example in enumerate(found, 1):
            output = await printed(example, tour.script(found[:number], values))
            assert output == tour.normalised(example.output), example.command


def test_files() -> None:
    """Every file that the README names exists."""
    named = set(re.findall(r"`([a-z_]+/[a-z_]+\.py)`", TEXT))
    assert len(named) > 12, "hardly a file was found: this test is blind"
    assert [path for path in sorted(named) if not (README.parent / path).exists()] == []


def test_names() -> None:
    """The README names every workflow and every activity of the application."""
    activities = (vars(owner).values() for owner in (BookingActivities, PaymentActivities, FleetActivities))
    workflows = (BookRideWorkflow, WalletTopUpWorkflow, BusServiceWorkflow, OpenManifestsWorkflow)
    defined = {name for name in map(name_in_temporal, (*chain(*activities), *workflows)) if name}
    assert len(defined) > 20, "hardly a name was found: this test is blind"
    # Those that remind of an approval, and close it, are left out.
    assert {name for name in defined if f"`{name}`" not in TEXT} == {"remindApprover", "closeApproval"}


def name_in_temporal(of: object) -> str | None:
    """Return the name that the SDK registers an activity or a workflow under; None for anything else."""
    for kind in ("activity", "workflow"):
        if definition := getattr(of, f"__temporal_{kind}_definition", None):
            return str(definition.name)
    return None


def test_settings() -> None:
    """The README sets the ports and the key of the demo."""
    settings = tour.settings(TEXT)
    assert settings["API"] == f"http://{LOOPBACK}:{API_PORT}/api/v1"
    assert settings["SERVICES"] == f"http://{LOOPBACK}:{SERVICES_PORT}"
    assert settings["PAYSTACK_SECRET_KEY"] == DEMO_KEY
