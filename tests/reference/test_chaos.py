import logging
from pathlib import Path

import pytest
from temporalio.client import Client

from temporal_slo.errors import UsageError
from temporal_slo.reference.services.faults import Chaos, ChaosFile
from temporal_slo.reference.services.simulated import OUTAGES
from temporal_slo.reference.workflows.booking import (
    PROCESS_PAYMENT,
    REFUND_PAYMENT,
    RELEASE_SEAT,
    RESERVE_SEAT,
    BookingResult,
)

from .shop import ending, open_shop


async def test_payments_down(client: Client, tmp_path: Path) -> None:
    """While payments are down a booking is undone and fails, Completed to Temporal; before and after all is well."""
    file = tmp_path / "chaos"
    async with open_shop(client, chaos=ChaosFile(file)) as shop:
        assert (await shop.book("ok-before")).status == "CONFIRMED"
        file.write_text("payments-down\n")
        handle = await shop.start("ok-amid")
        assert await handle.result() == BookingResult("", "FAILED", "processPayment refused")
        assert (await ending(handle))[0] == "completed"
        undone = [RESERVE_SEAT, PROCESS_PAYMENT, REFUND_PAYMENT, RELEASE_SEAT]
        assert shop.record("ok-amid").calls == dict.fromkeys(undone, 1)
        assert shop.nothing_left("ok-amid")
        file.unlink()
        assert (await shop.book("ok-after")).status == "CONFIRMED"


def test_every_kind_does_something() -> None:
    """There is no chaos that has no effect."""
    assert all(OUTAGES[kind] for kind in Chaos)


def test_unknown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What the file names wrongly asks for nothing and is logged once; what it names rightly counts all the same."""
    chaos = ChaosFile(tmp_path / "chaos")
    assert chaos() == frozenset()
    (tmp_path / "chaos").write_text("payment-down payments-down")
    with caplog.at_level(logging.WARNING):
        assert [chaos(), chaos()] == [{Chaos.PAYMENTS_DOWN}] * 2
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'chaos'} asks for payment-down; there is payments-down"
    ]


@pytest.mark.parametrize("content", [b"\xff", None])
def test_unreadable(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None) -> None:
    """A file that is no text, or a folder in its place, asks for nothing, and the log says why."""
    path = tmp_path / "chaos"
    path.write_bytes(content) if content else path.mkdir()
    assert ChaosFile(path)() == frozenset()
    assert "cannot be read" in caplog.text


def test_folder_is_missing(tmp_path: Path) -> None:
    """A file in a folder that is not there is a mistake, told at once."""
    with pytest.raises(UsageError, match=r"--chaos-file: .*nowhere is not a folder"):
        ChaosFile(tmp_path / "nowhere" / "chaos")
