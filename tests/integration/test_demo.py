"""The demo as a child process, as users run it."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from temporal_slo.servers.process import LOOPBACK, until
from tests.conftest import Temporal
from tests.reference import tour

# The inner deadlines, whose errors say what is missing, are shorter.
pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]
KINDS = ("server", "exporter", "prometheus", "alertmanager", "services", "api", "booking", "payment", "fleet", "load")
APPLICATION = {"services", "api", "booking", "payment", "fleet", "load"}
"""Processes of the reference application; workers are known by their names."""
PORT = re.compile(rf"{LOOPBACK}:(\d+)")


class Demo:
    """A running `temporal-slo demo`, and its output."""

    def __init__(self, log: Path, *options: str) -> None:
        self.log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "temporal_slo", "demo", *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """The output so far."""
        return self.log.read_text()

    async def printed(self, text: str) -> None:
        """Wait until the output contains *text*."""

        async def found() -> bool:
            assert text in self.output or self.process.poll() is None, self.output
            return text in self.output

        await until(found, deadline=90, what=repr(text))

    def children(self) -> dict[str, int]:
        """Return the process ids of its children by kind."""
        pids = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in pids}
        # The name of the program without its folder, then its arguments.
        commands = {pid: [Path(program).name, *arguments] for pid, (program, *arguments) in commands.items()}
        # Debian packages use a longer name.
        commands = {pid: [words[0].removeprefix("prometheus-"), *words[1:]] for pid, words in commands.items()}
        return {kind: pid for pid, command in commands.items() for kind in KINDS if kind in command}

    def ports(self) -> set[int]:
        """Return the ports in the output."""
        return {int(port) for port in PORT.findall(self.output)}


@contextmanager
def demo(tmp_path: Path, *options: str) -> Iterator[Demo]:
    """A running demo, killed at the end of the test."""
    running = Demo(tmp_path / "output", *options)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Listen on a port, unless it is in use already."""
    try:
        listener = socket.create_server((LOOPBACK, port))
    except OSError:
        yield
        return
    with listener:
        yield


def assert_nothing_left(children: dict[str, int], ports: set[int]) -> None:
    """Assert that no child still runs and that all ports are free."""
    for name, pid in children.items():
        assert not Path(f"/proc/{pid}").exists(), f"{name} still runs"
    for port in ports:
        with socket.create_server((LOOPBACK, port)):
            pass


async def test_duration(tmp_path: Path) -> None:
    """With --duration the demo exits with code 0 after Temporal and Prometheus report the same counts."""
    with demo(tmp_path, "--duration", "8s", "--rate", "12") as running:
        await running.printed("Workflows start")
        children = running.children()
        assert set(children) == APPLICATION | {"server", "exporter", "prometheus"}
        assert running.process.wait(timeout=90) == 0, running.output
        assert "Temporal and Prometheus count the same closed runs:" in running.output
        for workflow_type in ("BookRideWorkflow", "WalletTopUpWorkflow"):
            assert re.search(rf"^  {workflow_type} +\d+ completed", running.output, re.MULTILINE), running.output
        for line in tour.demo_lines(tour.README.read_text()):
            # Another port is used if the default one is taken.
            assert PORT.sub("", line) in PORT.sub("", running.output), line
        assert len(running.ports()) == 9
        assert_nothing_left(children, running.ports())


async def test_interrupt(tmp_path: Path, temporal: Temporal) -> None:
    """Ctrl-C stops every child and frees every port; a server that was already running is used and keeps running."""
    with demo(tmp_path, "--temporal-address", temporal.address) as running:
        await running.printed("Workflows start")
        children = running.children()
        assert set(children) == APPLICATION | {"exporter", "prometheus"}
        assert rules(running)
        os.kill(running.process.pid, signal.SIGINT)
        assert running.process.wait(timeout=60) == 0, running.output
        assert_nothing_left(children, running.ports() - {temporal.server.port})
        assert await temporal.client.count_workflows() is not None


def rules(running: Demo) -> list[str]:
    """Return the names of the rule groups in the demo's Prometheus."""
    url = re.search(r"Prometheus +(http://[\d.:]+)", running.output)
    assert url
    groups = httpx.get(f"{url[1]}/api/v1/rules", timeout=30).json()["data"]["groups"]
    return [group["name"] for group in groups]


@pytest.mark.sized
@pytest.mark.timeout(1200)
async def test_chaos(tmp_path: Path, temporal: Temporal, *, full_size: bool) -> None:
    """With --chaos it prints when the fault starts and what it waits for, then the page and its resolution."""
    limit = () if full_size else ("--duration", "28s")
    with demo(tmp_path, "--temporal-address", temporal.address, "--chaos", "payments-down", *limit) as running:
        await running.printed("Workflows start")
        children = running.children()
        assert set(children) == APPLICATION | {"exporter", "prometheus", "alertmanager"}
        await running.printed("FAULT    payments-down")
        assert running.process.wait(timeout=1000 if full_size else 90) == 0, running.output
        assert_nothing_left(children, running.ports() - {temporal.server.port})
    if not full_size:
        assert "The duration is over; still waiting for the page" in running.output
        return
    for line in (
        r"s  PAGE     booking-success \(volteryde\): .*of events were bad",
        r"s  RESOLVED booking-success \(volteryde\): ",
    ):
        assert re.search(line, running.output), running.output


async def test_ports_taken(tmp_path: Path, temporal: Temporal) -> None:
    """If a default port is in use, a free one is used and printed; Ctrl-C works during the start."""
    with (
        taken(9464),
        demo(tmp_path, "--temporal-address", temporal.address) as running,
    ):
        await running.printed("/metrics")
        children = running.children()
        os.kill(running.process.pid, signal.SIGINT)
        assert running.process.wait(timeout=60) == 0, running.output
        assert "127.0.0.1:9464/" not in running.output
        assert_nothing_left(children, running.ports() - {temporal.server.port})


@pytest.mark.parametrize(("part", "name"), [("exporter", "exporter"), ("prometheus", "Prometheus")])
async def test_part_crashes(tmp_path: Path, temporal: Temporal, part: str, name: str) -> None:
    """When a part crashes, the demo prints its name, stops the other parts and exits with code 1."""
    with demo(tmp_path, "--temporal-address", temporal.address) as running:
        await running.printed("Workflows start")
        children = running.children()
        os.kill(children[part], signal.SIGKILL)
        assert running.process.wait(timeout=60) == 1
        assert f"temporal-slo: {name}: exited with code -9" in running.output
        assert_nothing_left(children, running.ports() - {temporal.server.port})
