"""The progress of a backfill in the ledger, and the run ids that it keeps."""

from collections.abc import Iterator

import pytest

from temporal_slo.ledger.backfill import BackfillChange, BackfillStore, Progress
from temporal_slo.ledger.ledger import Ledger
from tests.run_factory import BEGAN, closed


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A new ledger."""
    ledger = Ledger(ledger_url)
    yield ledger
    ledger.close()


async def test_progress(ledger: Ledger) -> None:
    """Progress starts at the end of the close times, and adds up what each change reports."""
    store, run = BackfillStore(ledger, "shop", BEGAN), closed(-5)
    assert await store.progress() == Progress(BEGAN - 1)
    read = BackfillChange(new_closed=[run], pending=[run], unknown_status=2, position=BEGAN - 7)
    assert await store.commit(read, BEGAN) == Progress(BEGAN - 7, runs=1, unknown_status=2, pending=1)
    counted = BackfillChange(resolved=[run.run_id], without_event=1, unknown_status=3, rescanned=True)
    assert await store.commit(counted, BEGAN) == Progress(
        BEGAN - 7, runs=1, without_event=1, unknown_status=5, rescanned=True
    )
    assert await BackfillStore(ledger, "other", BEGAN).progress() == Progress(BEGAN - 1)


async def test_known(ledger: Ledger) -> None:
    """Ids are kept for runs at the position, and for the newest runs until they were read again, by namespace."""
    newest, old, oldest = closed(-1), closed(-1000), closed(-2000)
    ids = [run.run_id for run in (newest, old, oldest)]
    shop, other = (BackfillStore(ledger, namespace, BEGAN) for namespace in ("shop", "other"))
    await other.commit(BackfillChange(new_closed=[old], position=old.close_time), BEGAN)
    await shop.commit(BackfillChange(new_closed=[newest, old], position=old.close_time), BEGAN)
    assert await shop.known(ids) == {newest.run_id, old.run_id}
    await shop.commit(BackfillChange(new_closed=[oldest], position=oldest.close_time), BEGAN)
    assert await shop.known(ids) == {newest.run_id, oldest.run_id}
    await shop.commit(BackfillChange(rescanned=True), BEGAN)
    assert await shop.known(ids) == {oldest.run_id}
    assert await other.known(ids) == {old.run_id}
