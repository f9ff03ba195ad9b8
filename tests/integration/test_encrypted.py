"""Encrypted results: without the converter outcomes are unknown and all else goes on, with it they are read."""

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

SECRET = "Kreditkarte-4711"  # noqa: S105 stands for what a customer wrote
UNKNOWN = ("Booking", "completed", "unknown")
FAILED = ("Failing", "failed", "none")

Counts = Counter[tuple[str, str, str]]


def spec(folder: Path, namespace: str) -> str:
    """Write a spec that reads the outcome of bookings, and return its path."""
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
        """Start so many workflows."""
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
        """Wait until the exporter has counted as many runs, and hold its counts against those expected."""

        async def reached() -> bool:
            return (await self.closed()).total() >= expected.total()

        await until(reached, deadline=60, what=f"{expected.total()} counted runs")
        assert await self.closed() == expected

    async def closed(self) -> Counts:
        """The runs that the exporter counted, by workflow type, status and outcome."""
        counts: Counts = Counter()
        for labels, value in (await self.exporter.series(names.WORKFLOWS_CLOSED)).items():
            row = dict(labels)
            counts[row[names.WORKFLOW_TYPE], row[names.STATUS], row[names.OUTCOME]] += int(value)
        return counts

    async def fetched(self) -> float:
        """How many close events the exporter has asked for."""
        return sum((await self.exporter.series(names.EXPORTER_HISTORY_REQUESTS)).values())

    async def stopped(self) -> float | None:
        """Whether it reads outcomes no longer, as it says itself."""
        return await self.exporter.value(names.EXPORTER_OUTCOMES_STOPPED)

    def warnings(self) -> list[str]:
        """What its log warns of, or worse."""
        lines = self.exporter.child.log.read_text().splitlines()
        return [line for line in lines if re.search("WARNING|ERROR|CRITICAL|Traceback", line)]


@asynccontextmanager
async def scene(temporal: Temporal, folder: Path, namespace: str, *options: str) -> AsyncIterator[Scene]:
    """An exporter with a spec, and a worker that encrypts."""
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
    """Encrypted results make outcomes unknown, stop their fetching after 20 in a row with one warning, and no more."""
    async with scene(temporal, tmp_path, "encrypted") as it:
        await it.start("Waiting", count=2)
        await it.start("Booking", SECRET, count=UNDECODABLE_MAX - 1)
        await it.counts(Counter({UNKNOWN: 19}))
        assert (await it.stopped(), await it.fetched(), it.warnings()) == (0, 19, [])

        await it.start("Booking", SECRET)
        await it.counts(Counter({UNKNOWN: 20}))
        assert (await it.stopped(), await it.fetched()) == (1, 20)

        await it.start("Booking", SECRET, count=30)
        await it.counts(Counter({UNKNOWN: 50}))
        assert await it.fetched() == 20

        await it.start("Failing", count=3)
        await it.start("Booking", SECRET, count=5)
        await it.counts(Counter({UNKNOWN: 55, FAILED: 3}))
        assert (await it.stopped(), await it.fetched()) == (1, 23)
        await goes_on(it.exporter)
        (warning,) = it.warnings()
        assert "decoding 20 consecutive results failed" in warning
        await says_nothing_of_payloads(it.exporter)


async def goes_on(exporter: Exporter) -> None:
    """Hold against the truth what has nothing to do with outcomes."""
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

    async def two_run() -> bool:
        return sum((await exporter.series(names.WORKFLOWS_RUNNING)).values()) == 2

    await until(two_run, deadline=30, what="two open runs")
    assert sum((await exporter.series(names.WORKFLOWS_STARTED)).values()) == 60
    health = (names.EXPORTER_UP, names.EXPORTER_PENDING_RUNS, names.EXPORTER_GAP, names.EXPORTER_MISSING_CLOSE_EVENTS)
    assert [await exporter.value(family) for family in health] == [1, 0, 0, 0]
    assert (await exporter.http.get("/readyz")).status_code == 200


async def says_nothing_of_payloads(exporter: Exporter) -> None:
    """Look for what the customer wrote, as it was written and as it was encrypted."""
    said = exporter.child.log.read_text() + (await exporter.http.get("/metrics")).text
    assert not [text for text in (SECRET, SECRET[::-1]) if text in said]


async def test_with_the_converter(
    temporal: Temporal, tmp_path: Path, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the workers' own converter the outcomes of encrypted results are read rightly, however many there are."""
    # `python -m` finds the converter's module in the folder that it was started in.
    monkeypatch.chdir(pytestconfig.rootpath)
    statuses = {"CONFIRMED": ("good", 15), "FAILED": ("bad", 8), "CANCELLED": ("excluded", 4), SECRET: ("unknown", 1)}
    converter = ("--data-converter", "tests.integration.endings:CONVERTER")
    async with scene(temporal, tmp_path, "decrypted", *converter) as it:
        for status, (_, count) in statuses.items():
            await it.start("Booking", status, count=count)
        await it.counts(Counter({("Booking", "completed", outcome): count for outcome, count in statuses.values()}))
        assert (await it.stopped(), await it.fetched(), it.warnings()) == (0, 28, [])
        await says_nothing_of_payloads(it.exporter)
