"""A real server whose pages are larger than a message may be."""

import os
from pathlib import Path

from temporalio.client import Client

from temporal_slo import names
from temporal_slo.servers.process import until
from tests.conftest import Temporal

from .exporter import Exporter

LIMIT = 64 * 1024
"""Largest message that the exporter receives, in bytes."""


async def close_one(client: Client, number: int, memo_bytes: int) -> None:
    """Close a run with a memo that cannot be compressed."""
    memo = {"manifest": os.urandom(memo_bytes)}
    handle = await client.start_workflow("Import", id=f"import-{number}", task_queue="no-workers", memo=memo)
    await handle.terminate()


async def test_pages_too_large(temporal: Temporal, tmp_path: Path) -> None:
    """Pages shrink to what a message may hold; a row that is larger is passed over, counted and logged once."""
    client = await temporal.namespace("large-rows")
    limited = ("env", f"TEMPORAL_MAX_INCOMING_GRPC_BYTES={LIMIT}")
    exporter = Exporter(tmp_path, temporal.address, "large-rows", "--visibility-rate", "100", prefix=limited)
    try:
        await exporter.started()
        await exporter.becomes(names.EXPORTER_UP, 1)
        for number in range(9):
            await close_one(client, number, memo_bytes=2 * LIMIT if number == 4 else LIMIT // 4)

        async def all_counted() -> bool:
            return sum((await exporter.series(names.WORKFLOWS_CLOSED)).values()) >= 8

        await until(all_counted, deadline=60, what="8 counted runs")
        await exporter.becomes(names.EXPORTER_GAP, 0)
        assert sum((await exporter.series(names.WORKFLOWS_CLOSED)).values()) == 8
        assert await exporter.value(names.EXPORTER_UP) == 1
        found = await exporter.series(names.EXPORTER_ROWS_SET_ASIDE)
        aside = {dict(labels)[names.REASON]: value for labels, value in found.items()}
        # The row of the open run, and that of the closed one.
        assert aside["undecodable"] == 0
        assert aside["too_large"] in {1, 2}
        lines = exporter.child.log.read_text().splitlines()
        assert len([line for line in lines if "cannot be received" in line]) == aside["too_large"]
    except BaseException:
        print(exporter.child.tail(60))
        raise
    finally:
        await exporter.stop()
