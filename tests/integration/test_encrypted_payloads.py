"""Encrypted results: outcomes are unknown without the data converter, and read with it."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio.client import Client

from temporal_slo import names
from temporal_slo.exporter.classify.outcome import UNDECODABLE_MAX
from temporal_slo.servers.process import until
from tests.conftest import Temporal

from .endings import CONVERTER, OUTCOMES, serving
from .exporter import Exporter

SECRET = "Kreditkarte-4711"  # noqa: S105 stands for customer data
UNKNOWN = ("Booking", "completed", "unknown")
FAILED = ("Failing", "failed", "none")

Counts = Counter[tuple[str, str, str]]


def spec(folder: Path, namespace: str) -> str:
    """Write a spec with the outcome rules of bookings, and return its path."""
    success = {"bad": ["failed", "bad_outcome"], "excluded": ["canceled"]}
    slo = {"name": "booking", "workflow": "Booking", "objective": "99.5", "sli": {"success": success}}
    slo["outcome"] = OUTCOMES["Booking"]
    about = {"version": "temporal-slo/v1", "service": "encrypted", "temporal_namespace": namespace, "owner": "tests"}
    # JSON is YAML.
    (folder / "spec.yaml").write_text(json.dumps({**about, "period": "30d", "slos": [slo]}))
    return str(folder / "spec.yaml")


class Scene:
    """An exporter, and a client whose payloads are encrypted."""

    def __init__(self, exporter: Exporter, client: Client) -> None:
        self.exporter = exporter
        self.client = client
        self._started = 0

    async def start(self, workflow_type: str, *arguments: str, count: int = 1) -> None:
        """Start *count* workflows."""
        numbers = range(self._started, self._started + count)
        self._started += count
        queue = self.client.namespace
        await asyncio.gather(
            *(
                self.client.start_workflow(workflow_type, args=arguments, id=f"run-{number}", task_queue=queue)
                for number in numbers
            )
        )

    async def counts(self, expected: Counts) -> None:
        """Wait until the exporter has counted as many runs as expected, and compare the counts."""

        async def reached() -> bool:
            return (await self.closed()).total() >= expected.total()

        await until(reached, deadline=60, what=f"{expected.total()} counted runs")
        assert await self.closed() == expected

    async def closed(self) -> Counts:
        """Return the counted closed runs by workflow type, status and outcome."""
        counts: Counts = Counter()
        for labels, value in (await self.exporter.series(names.WORKFLOWS_CLOSED)).items():
            row = dict(labels)
            counts[row[names.WORKFLOW_TYPE], row[names.STATUS], row[names.OUTCOME]] += int(value)
        return counts

    async def fetched(self) -> float:
        """Return the number of close event requests."""
        return sum((await self.exporter.series(names.EXPORTER_HISTORY_REQUESTS)).values())

    async def stopped(self) -> float | None:
        """Return the metric that is 1 after the exporter stopped reading outcomes."""
        return await self.exporter.value(names.EXPORTER_OUTCOMES_STOPPED)

    def warnings(self) -> list[str]:
        """Return the lines of the log with a warning, an error or a traceback."""
        lines = self.exporter.child.log.read_text().splitlines()
        return [line for line in lines if re.search("WARNING|ERROR|CRITICAL|Traceback", line)]


@asynccontextmanager
async def scene(temporal: Temporal, folder: Path, namespace: str, *options: str) -> AsyncIterator[Scene]:
    """An exporter with a spec, and a worker with encrypted payloads."""
    plain = await temporal.namespace(namespace)
    client = Client(plain.service_client, namespace=namespace, data_converter=CONVERTER)
    rates = ("--history-rate", "1000", "--visibility-rate", "100")
    exporter = Exporter(folder, temporal.address, namespace, "--spec", spec(folder, namespace), *rates, *options)
    try:
        await exporter.started()
        await exporter.becomes(names.EXPORTER_UP, 1)
        async with serving(client, namespace):
            yield Scene(exporter, client)
    except BaseException:
        print(exporter.child.tail(60))
        raise
    finally:
        await exporter.stop()


async def test_without_the_converter(temporal: Temporal, tmp_path: Path) -> None:
    """With encrypted results outcomes are unknown; after 20 in a row they are no longer fetched, with one warning."""
    async with scene(temporal, tmp_path, "encrypted") as runs:
        await runs.start("Waiting", count=2)
        await runs.start("Booking", SECRET, count=UNDECODABLE_MAX - 1)
        await runs.counts(Counter({UNKNOWN: 19}))
        assert (await runs.stopped(), await runs.fetched(), runs.warnings()) == (0, 19, [])

        await runs.start("Booking", SECRET)
        await runs.counts(Counter({UNKNOWN: 20}))
        assert (await runs.stopped(), await runs.fetched()) == (1, 20)

        await runs.start("Booking", SECRET, count=30)
        await runs.counts(Counter({UNKNOWN: 50}))
        assert await runs.fetched() == 20

        await runs.start("Failing", count=3)
        await runs.start("Booking", SECRET, count=5)
        await runs.counts(Counter({UNKNOWN: 55, FAILED: 3}))
        assert (await runs.stopped(), await runs.fetched()) == (1, 23)
        await counts_everything_else(runs.exporter)
        (warning,) = runs.warnings()
        assert "decoding 20 consecutive results failed" in warning
        await exposes_no_payloads(runs.exporter)


async def counts_everything_else(exporter: Exporter) -> None:
    """Check all values that do not depend on outcomes."""
    assert await exporter.series(names.WORKFLOW_FAILURES) == {
        frozenset(
            {
                (names.NAMESPACE, "encrypted"),
                (names.WORKFLOW_TYPE, "Failing"),
                (names.STATUS, "failed"),
                (names.FAILURE_TYPE, "CardDeclined"),
            }
        ): 3
    }

    async def two_running() -> bool:
        return sum((await exporter.series(names.WORKFLOWS_RUNNING)).values()) == 2

    await until(two_running, deadline=30, what="two open runs")
    assert sum((await exporter.series(names.WORKFLOWS_STARTED)).values()) == 60
    health = (names.EXPORTER_UP, names.EXPORTER_PENDING_RUNS, names.EXPORTER_GAP, names.EXPORTER_MISSING_CLOSE_EVENTS)
    assert [await exporter.value(family) for family in health] == [1, 0, 0, 0]
    assert (await exporter.http.get("/readyz")).status_code == 200


async def exposes_no_payloads(exporter: Exporter) -> None:
    """Assert that neither logs nor metrics contain customer data, in plain text or encrypted."""
    output = exporter.child.log.read_text() + (await exporter.http.get("/metrics")).text
    assert not [text for text in (SECRET, SECRET[::-1]) if text in output]


async def test_with_the_converter(
    temporal: Temporal, tmp_path: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the workers' data converter every outcome of an encrypted result is read correctly."""
    # `python -m` imports the converter's module from the working directory.
    monkeypatch.chdir(pytestconfig.rootpath)
    statuses = {"CONFIRMED": ("good", 15), "FAILED": ("bad", 8), "CANCELLED": ("excluded", 4), SECRET: ("unknown", 1)}
    converter = ("--data-converter", "tests.integration.endings:CONVERTER")
    async with scene(temporal, tmp_path, "decrypted", *converter) as runs:
        for status, (_, count) in statuses.items():
            await runs.start("Booking", status, count=count)
        await runs.counts(Counter({("Booking", "completed", outcome): count for outcome, count in statuses.values()}))
        assert (await runs.stopped(), await runs.fetched(), runs.warnings()) == (0, 28, [])
        await exposes_no_payloads(runs.exporter)
