import asyncio
import subprocess
from pathlib import Path

from temporal_slo.servers.tools import cli_command
from tests.conftest import Temporal

from .services_process import running_services


async def run(temporal: Temporal, services: str, *options: str) -> tuple[int, str, str]:
    """Run `temporal-slo load` to its end, and return exit code, output and the last line of the log."""
    client = await temporal.namespace("load-command")
    where = ("--temporal-address", temporal.address, "--temporal-namespace", client.namespace)
    command = cli_command("load", *where, "--services", services, *options)
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    stdout, stderr = await process.communicate()
    return process.returncode or 0, stdout.decode(), (stderr.decode().splitlines() or [""])[-1]


async def test_load(temporal: Temporal, tmp_path: Path) -> None:
    """The command installs its fault rules, starts as many workflows as were asked for, and prints its totals."""
    async with running_services(tmp_path) as services:
        options = ("--count", "4", "--rate", "50", "--mix", "booking.timed_out=3,topup.expired=1")
        code, output, _ = await run(temporal, services.url, *options)
        faults = (await services.http.get("/faults")).json()["faults"]
    assert (code, output) == (0, "started 4: booking.timed_out 3, topup.expired 1; errors 0, abandoned 0\n")
    assert {fault["name"]: fault["rule"]["kind"] for fault in faults} == {
        "load-declined": "decline",
        "load-hesitant": "latency",
        "load-refundless": "reject",
        "load-unconfirmed": "reject",
        "load-uncreditable": "reject",
        "load-unreachable": "outage",
    }


async def test_services_unreachable(temporal: Temporal) -> None:
    """Without services the command exits with code 2 and says what to start."""
    url = "http://127.0.0.1:1"
    error = f"--services {url}: /faults/load-declined: no response: ConnectError"
    message = f"temporal-slo: {error}; start temporal-slo services, or correct the URL"
    assert await run(temporal, url) == (2, "", message)
