"""Laps: which pending runs are requested next."""

import asyncio
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from temporal_slo.exporter.classify.lap import OLDEST_SHARE, Lap
from temporal_slo.ledger.change import Change
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.runs.run import Run
from tests.run_factory import BEGAN, closed

MEMORY = Path("/dev/shm")  # noqa: S108 tempfile creates the folders in it with safe names


class Backlog:
    """A ledger with pending runs, and a lap.

    Attributes:
        waiting: Runs that are pending.
        requested: Ids of the runs requested, in order.
    """

    def __init__(self, folder: str) -> None:
        self.ledger = Ledger(f"sqlite:///{folder}/ledger.db")
        self.waiting: list[Run] = []
        self.requested: list[str] = []
        self.lap = Lap("shop")

    async def add(self, seconds: Sequence[int], status: str) -> None:
        """Add runs that closed at these times."""
        runs = [closed(second, status) for second in seconds]
        self.waiting += runs
        await self.ledger.commit("shop", Change(pending=runs), BEGAN, written=lambda _: None)

    async def request(self, size: int, *, settle: bool = False, oldest_only: bool = False) -> list[Run]:
        """Request the next runs; they no longer wait if they *settle*."""
        rows = await self.ledger.transact(partial(self.lap.next, size=size, oldest_only=oldest_only))
        runs = [row.run for row in rows]
        self.requested += [run.run_id for run in runs]
        if settle:
            self.waiting = [run for run in self.waiting if run not in runs]
            await self.ledger.commit("shop", Change(resolved=runs), BEGAN, written=lambda _: None)
        return runs


moves = st.one_of(
    st.tuples(st.just("add"), st.lists(st.integers(0, 50), max_size=20), st.sampled_from(["failed", "completed"])),
    st.tuples(st.just("request"), st.integers(1, 40), st.tuples(st.booleans(), st.booleans())),
)


async def play(script: list[tuple[str, object, object]]) -> None:
    """Run *script*; then request until nothing is left, and compare."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        backlog = Backlog(folder)
        for kind, what, how in script:
            if kind == "add":
                await backlog.add(what, how)  # type: ignore[arg-type] # as the strategy draws them
            else:
                settle, oldest_only = how  # type: ignore[misc] # as above
                await backlog.request(what, settle=settle, oldest_only=oldest_only)  # type: ignore[arg-type,has-type]
        while await backlog.request(7):
            pass
        assert len(set(backlog.requested)) == len(backlog.requested)
        # A run that closes between two that were requested waits for the next lap.
        backlog.lap = Lap("shop")
        rest = set[str]()
        while runs := await backlog.request(64):
            rest |= {run.run_id for run in runs}
        assert rest == {run.run_id for run in backlog.waiting}
        backlog.ledger.close()


@settings(max_examples=60, deadline=None)
@given(st.lists(moves, max_size=14))
def test_each_run_once(script: list[tuple[str, object, object]]) -> None:
    """A lap requests no run twice, whatever closes and settles meanwhile; the next one reaches every run that waits."""
    asyncio.run(play(script))


async def test_all_in_one_lap(tmp_path: Path) -> None:
    """A lap reaches every run that waited when it began, in requests of any size."""
    for size in (1, 3, 32, 200):
        (tmp_path / str(size)).mkdir()
        backlog = Backlog(str(tmp_path / str(size)))
        await backlog.add(range(90), "failed")
        await backlog.add([*range(50)] * 2, "completed")
        while await backlog.request(size):
            pass
        assert sorted(backlog.requested) == sorted(run.run_id for run in backlog.waiting)
        backlog.ledger.close()


async def test_newest_and_oldest(tmp_path: Path) -> None:
    """Of a long backlog most requests go to the newest runs, and a few to the oldest; half of them to failures."""
    backlog = Backlog(str(tmp_path))
    await backlog.add(range(500), "completed")
    await backlog.add(range(100), "failed")
    runs = await backlog.request(64)
    seconds = {
        status: sorted(int(run.close_time - BEGAN) // 1_000_000 for run in runs if run.status == status)
        for status in ("failed", "completed")
    }
    oldest = 32 // OLDEST_SHARE
    assert seconds == {
        "failed": [*range(oldest), *range(100 - 32 + oldest, 100)],
        "completed": [*range(oldest), *range(500 - 32 + oldest, 500)],
    }
    backlog.ledger.close()


async def test_new_runs_do_not_wait(tmp_path: Path) -> None:
    """A run that closes during a lap is among the next ones requested, in front of the backlog."""
    backlog = Backlog(str(tmp_path))
    await backlog.add(range(300), "completed")
    await backlog.request(64)
    await backlog.add([400], "completed")
    assert (await backlog.request(64))[0].close_time == backlog.waiting[-1].close_time
    backlog.ledger.close()


async def test_only_the_oldest(tmp_path: Path) -> None:
    """While nothing can be classified all requests go to the oldest runs, whose deadline passes first."""
    backlog = Backlog(str(tmp_path))
    await backlog.add(range(300), "completed")
    runs = await backlog.request(64, oldest_only=True)
    assert [run.close_time for run in runs] == [run.close_time for run in backlog.waiting[:64]]
    backlog.ledger.close()
