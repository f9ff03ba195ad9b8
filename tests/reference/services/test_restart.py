"""The services as a process: what a kill leaves, and how it stops."""

from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from tests.reference.services.steps import STEPS, credit, perform
from tests.reference.services_process import ServicesUnderTest, services_process


async def lose_response(services: ServicesUnderTest, path: str, body: Mapping[str, object], key: str) -> None:
    """Call a step that takes effect, but whose response never arrives."""
    await services.put_fault("lost", endpoint="*", kind="no_response", seconds=600)
    async with httpx.AsyncClient(base_url=services.url, timeout=0.5) as impatient:
        with pytest.raises(httpx.ReadTimeout):
            await impatient.post(f"/api/v1/{path}", json=body, headers={"X-Activity-ID": key})


async def test_killed_before_response(tmp_path: Path) -> None:
    """A kill between commit and response changes nothing: after the restart each key gets the lost response."""
    async with services_process(tmp_path) as (process, services):
        for step in STEPS:
            await lose_response(services, step.path, step.body, f"key-{step.path}")
        stored = {row["key"]: row["body"] for row in services.rows("SELECT key, body FROM keys WHERE status = 200")}
        tables = {table: services.rows(f"SELECT * FROM {table}") for table in ("charges", "credits", "payments")}  # noqa: S608
        process.kill()
        await process.start()
        await services.delete_fault("lost")
        for step in STEPS:
            response = await services.send(step.path, step.body, f"key-{step.path}")
            assert (response.status_code, response.text) == (200, stored[f"key-{step.path}"]), step
        assert tables == {table: services.rows(f"SELECT * FROM {table}") for table in tables}  # noqa: S608


async def test_killed_under_load(tmp_path: Path) -> None:
    """Whatever was answered before a kill is in the books after it, and repeated calls credit everything once."""
    async with services_process(tmp_path) as (process, services):
        answered = 0
        for round_ in range(3):
            for number in range(100 * round_, 100 * round_ + 30):
                await services.post("wallets/credit", credit(f"trx-{number}", amount=100), f"key-{number}")
                answered += 1
            process.kill()
            await process.start()
            assert (await services.get("wallets/bob-1"))["balance"] == 100 * answered
            for number in range(100 * round_, 100 * round_ + 30):
                await services.post("wallets/credit", credit(f"trx-{number}", amount=100), f"key-{number}")
        assert (await services.totals())["wallets"]["credited"] == 100 * answered


async def test_stop(tmp_path: Path) -> None:
    """SIGTERM ends the process with exit code 0, although a call is delayed; the books stay readable."""
    async with services_process(tmp_path) as (process, services):
        await perform(services, "seats/reserve")
        await services.put_fault("slow", endpoint="payments/charge", kind="latency", seconds=600)
        async with httpx.AsyncClient(base_url=services.url, timeout=0.3) as impatient:
            with pytest.raises(httpx.ReadTimeout):
                await impatient.post("/api/v1/payments/charge", json=STEPS[1].body, headers={"X-Activity-ID": "k"})
        assert process.stop() == 0
        assert len(services.rows("SELECT * FROM reservations")) == 1
