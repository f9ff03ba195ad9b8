import logging
from pathlib import Path

import pytest
from temporalio.client import Client

from temporal_slo.errors import UsageError
from temporal_slo.reference.services.faults import Fault, FaultFile
from temporal_slo.reference.services.simulated import OUTAGES
from temporal_slo.reference.workflows.booking import BookingResult
from temporal_slo.reference.workflows.booking_steps import PROCESS_PAYMENT, REFUND_PAYMENT, RELEASE_SEAT, RESERVE_SEAT

from .simulated_shop import ending, open_shop


async def test_payments_down(client: Client, tmp_path: Path) -> None:
    """While payments are down a booking is compensated and completes with FAILED; not before or after."""
    file = tmp_path / "faults"
    async with open_shop(client, faults=FaultFile(file)) as shop:
        assert (await shop.book("ok-before")).status == "CONFIRMED"
        file.write_text("payments-down\n")
        handle = await shop.start("ok-during")
        assert await handle.result() == BookingResult("", "FAILED", "processPayment refused")
        assert (await ending(handle))[0] == "completed"
        compensated = [RESERVE_SEAT, PROCESS_PAYMENT, REFUND_PAYMENT, RELEASE_SEAT]
        assert shop.record("ok-during").calls == dict.fromkeys(compensated, 1)
        assert shop.nothing_left("ok-during")
        file.unlink()
        assert (await shop.book("ok-after")).status == "CONFIRMED"


def test_every_fault_has_an_effect() -> None:
    """Every fault has a failure mode."""
    assert all(OUTAGES[fault] for fault in Fault)


def test_unknown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An unknown name in the file is ignored and logged once; known names in it are active."""
    faults = FaultFile(tmp_path / "faults")
    assert faults() == frozenset()
    (tmp_path / "faults").write_text("payment-down payments-down")
    with caplog.at_level(logging.WARNING):
        assert [faults(), faults()] == [{Fault.PAYMENTS_DOWN}] * 2
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'faults'}: unknown faults payment-down; use payments-down"
    ]


@pytest.mark.parametrize("content", [b"\xff", None])
def test_unreadable(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None) -> None:
    """If the file is not text, or is a directory, no fault is active, and the error is logged."""
    path = tmp_path / "faults"
    path.write_bytes(content) if content else path.mkdir()
    assert FaultFile(path)() == frozenset()
    assert "cannot be read" in caplog.text


def test_missing_directory(tmp_path: Path) -> None:
    """A file in a missing directory is a usage error at start."""
    with pytest.raises(UsageError, match=r"--chaos-file: .*nowhere is not a directory"):
        FaultFile(tmp_path / "nowhere" / "faults")
