import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from temporal_slo.errors import LedgerError, UsageError
from temporal_slo.ledger import lock, opening, postgres, reads, retention
from temporal_slo.ledger.change import MINUTES, Change, Gap, Position
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.ledger.retention import KEEP_SEEN
from temporal_slo.ledger.state import State
from temporal_slo.runs.counted import Classification, ClosedKey, Counted
from temporal_slo.runs.microseconds import MINUTE, SECOND
from tests.conftest import restore_copy
from tests.run_factory import BEGAN, closed, running

RIDE = ClosedKey("Ride", "rides", "completed", "none")


def url(path: Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite:///{path}"


def counting(*runs: float) -> Change:
    """A change that counts runs that closed at these seconds."""
    rows = [closed(at) for at in runs]
    return Change(new_closed=rows, counted=[Counted(run, Classification("completed", "none"), 10_000) for run in rows])


async def test_round_trip(ledger_url: str) -> None:
    """The state of each namespace is the same after a restart."""
    ledger = Ledger(ledger_url)
    before = await ledger.load("shop")
    opened = running(3)
    first = counting(1, 2)
    first.new_open, first.gaps, first.positions = [opened, running(4)], (Gap(5, 7),), {"closed": Position(11, 13)}
    for change in (first, Change(no_longer_open=[opened.run_id]), counting(3)):
        await ledger.commit("shop", change, BEGAN)
        before.apply(change)
    await ledger.commit("other", counting(9), BEGAN)
    ledger.close()
    again = Ledger(ledger_url)
    assert await again.load("shop") == before
    assert before.closed[RIDE].count == 3
    assert (await again.load("other")).closed[RIDE].count == 1
    again.close()


async def test_unseen(ledger_url: str) -> None:
    """The id of a closed run is kept for two hours, and longer if the run can still be listed."""
    ledger = Ledger(ledger_url)
    change = counting(1, 50)
    await ledger.commit("shop", change, BEGAN)
    old, young = (run.run_id for run in change.new_closed)
    assert await ledger.transact(reads.unseen, "shop", [old, young, "new"]) == {"new"}
    await ledger.transact(retention.expire, "shop", ledger.epoch, BEGAN + 20 * SECOND, BEGAN + KEEP_SEEN)
    assert await ledger.transact(reads.unseen, "shop", [old, young]) == set()
    await ledger.transact(retention.expire, "shop", ledger.epoch, BEGAN + 20 * SECOND, BEGAN + KEEP_SEEN + 1)
    assert await ledger.transact(reads.unseen, "shop", [old, young]) == {old}
    ledger.close()


async def test_many_ids(ledger_url: str) -> None:
    """Lookups of more ids than one query can take find all of them, in their own namespace only."""
    ledger, opened = Ledger(ledger_url), [running(at) for at in range(reads.CHUNK + 1)]
    change = counting(*range(reads.CHUNK + 1))
    change.new_open = opened
    await ledger.commit("shop", change, BEGAN)
    closed_ids, open_ids = [run.run_id for run in change.new_closed], [run.run_id for run in opened]
    for namespace, found in (("shop", reads.CHUNK + 1), ("other", 0)):
        unseen = await ledger.transact(reads.unseen, namespace, closed_ids)
        workflow_ids = await ledger.transact(reads.workflow_ids, namespace, open_ids)
        assert len(closed_ids) - len(unseen) == len(workflow_ids) == found
    ledger.close()


async def test_closed_counts(ledger_url: str) -> None:
    """Counted and pending runs of a range of close times include its begin and exclude its end."""
    ledger, begin = Ledger(ledger_url), BEGAN // MINUTE * MINUTE
    offset = (begin - BEGAN) / SECOND
    change = counting(offset - 1e-6, offset, offset + 60 - 1e-6, offset + 60)
    change.pending = [closed(offset + second) for second in (-1e-6, 1, 60)]
    await ledger.commit("shop", change, BEGAN)
    await ledger.commit("other", counting(offset), BEGAN)
    assert await ledger.transact(reads.closed_counts, "shop", begin, begin + MINUTE) == (3, 2)
    ledger.close()


async def test_evaluated_minutes(ledger_url: str) -> None:
    """Overdue runs that closed before the evaluated minutes end, or as they end, are removed from ledger and memory."""
    ledger, state = Ledger(ledger_url), State()
    end = Change(positions={MINUTES: Position(BEGAN, BEGAN + 60 * SECOND)})
    for change in (Change(closed_overdue=[closed(59), closed(60), closed(61)]), end):
        await ledger.commit("shop", change, BEGAN)
        state.apply(change)
    assert await ledger.load("shop") == state
    assert [run.close_time for run in state.closed_overdue.values()] == [BEGAN + 61 * SECOND]
    ledger.close()


async def test_same_run_id(ledger_url: str) -> None:
    """A run that is paused or removed in one namespace does not change in another namespace with the same run id."""
    ledger, run = Ledger(ledger_url), running(1)
    waiting = closed(1, run_id=run.run_id)
    for namespace in ("shop", "other"):
        await ledger.commit(namespace, Change(new_open=[run], pending=[waiting]), BEGAN)
    before = await ledger.load("other")
    for change in (Change(paused={run.run_id: True}), Change(no_longer_open=[run.run_id], resolved=[waiting])):
        await ledger.commit("shop", change, BEGAN)
        assert await ledger.load("other") == before
    assert await ledger.load("shop") == State()
    ledger.close()


async def test_restored_copy(ledger_url: str) -> None:
    """A restored copy starts a new epoch with totals at 0, and keeps the ids of the runs that it has counted."""
    ledger = Ledger(ledger_url)
    change = counting(1, 2)
    await ledger.commit("shop", change, BEGAN)
    await ledger.mark_released("shop", ["series"])
    ledger.close()
    restore_copy(ledger_url)
    restored = Ledger(ledger_url)
    assert (await restored.load("shop")).closed == {}
    assert await restored.released("shop") == set()
    assert await restored.transact(reads.unseen, "shop", [run.run_id for run in change.new_closed]) == set()
    restored.close()


@contextmanager
def locked(ledger: str) -> Iterator[None]:
    """Another connection holds a lock that blocks writes."""
    if ledger.startswith("sqlite"):
        with closing(sqlite3.connect(ledger.removeprefix("sqlite:///"))) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
    else:
        with psycopg.connect(ledger) as other:
            other.execute("LOCK TABLE seen IN EXCLUSIVE MODE")
            yield


async def test_locked(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write to a locked ledger raises LedgerError and writes nothing; the next write succeeds."""
    monkeypatch.setattr(opening, "BUSY_TIMEOUT", 0.1)
    monkeypatch.setitem(postgres.DEFAULTS, "options", "-c lock_timeout=100ms")
    ledger = Ledger(ledger_url)
    with locked(ledger_url), pytest.raises(LedgerError, match=r"^ledger: (database is locked$|.* lock timeout)"):
        await ledger.commit("shop", counting(1), BEGAN)
    assert (await ledger.load("shop")).closed == {}
    await ledger.commit("shop", counting(1), BEGAN)
    assert (await ledger.load("shop")).closed[RIDE].count == 1
    ledger.close()


def test_second_exporter(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second exporter is refused a ledger that is in use, until the first one closes it."""
    first = Ledger(ledger_url)
    with monkeypatch.context() as patch:
        patch.setattr(lock, "ACQUIRE_TIMEOUT", 0.1)
        for _ in range(2):
            with pytest.raises(
                UsageError, match="is in use by another exporter; stop the other exporter, or use a different ledger"
            ):
                Ledger(ledger_url)
    first.close()
    Ledger(ledger_url).close()


def test_killed_exporter(ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of an exporter ends when it is killed, and the next exporter starts."""
    code = (
        "import sys; from temporal_slo.ledger.ledger import Ledger; ledger = Ledger(sys.argv[1]); "
        "print('locked', flush=True); input()"
    )
    command = [sys.executable, "-c", code, ledger_url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"locked\n"
        with monkeypatch.context() as patch:
            patch.setattr(lock, "ACQUIRE_TIMEOUT", 0.1)
            with pytest.raises(UsageError, match="is in use by another exporter"):
                Ledger(ledger_url)
        other.kill()
        other.wait()
        Ledger(ledger_url).close()


async def test_many_namespaces(ledger_url: str) -> None:
    """Twenty namespaces that write at the same time have separate, complete states."""
    ledger = Ledger(ledger_url)

    async def work(name: str, count: int) -> tuple[int, int]:
        for at in range(count):
            await ledger.commit(name, counting(at + 1), BEGAN)
        state = await ledger.load(name)
        return count, state.closed[RIDE].count

    found = await asyncio.gather(*(work(f"shop-{number}", number % 5 + 1) for number in range(20)))
    assert all(wanted == got for wanted, got in found)
    ledger.close()


def other_program(path: Path) -> None:
    """Create a database of another program."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def newer(path: Path) -> None:
    """Create a ledger whose schema is newer than this program's."""
    Ledger(url(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE ledger SET value = '99' WHERE key = 'schema'")
    connection.close()


def without_schema(path: Path) -> None:
    """Create a ledger without a schema version."""
    Ledger(url(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM ledger WHERE key = 'schema'")
    connection.close()


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "another program's": (
        other_program,
        (
            "--ledger {path}: is a database of another program; "
            "give the path of a ledger, or of a file that does not exist yet"
        ),
    ),
    "no database": (
        lambda path: path.write_text("hello " * 1000),
        (
            "--ledger {path}: is not a ledger: file is not a database; "
            "give the path of a ledger, or of a file that does not exist yet"
        ),
    ),
    "no schema": (
        without_schema,
        ("--ledger {path}: has no schema version; give the path of a ledger, or of a file that does not exist yet"),
    ),
    "newer": (
        newer,
        (
            "--ledger: has schema 99, newer than schema 5 of this program; "
            "use the newer temporal-slo, or a different ledger"
        ),
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_refused(tmp_path: Path, kind: str) -> None:
    """A file that is not a ledger is refused with its path, and left unchanged."""
    make, message = BAD[kind]
    path = tmp_path / "ledger"
    make(path)
    before = path.read_bytes()
    with pytest.raises(UsageError) as caught:
        Ledger(url(path))
    assert str(caught.value) == message.format(path=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("address", "start"),
    [
        ("ledger.db", "--ledger: is not a database URL; "),
        ("postgresql://slo:hunter2@host:hunter2/db", "--ledger: is not a database URL; "),
        ("mysql://x", "--ledger: mysql is not supported; "),
        ("sqlite:////nowhere/at/all/ledger.db", "--ledger: cannot be opened: unable to open database file; "),
    ],
)
def test_bad_url(address: str, start: str) -> None:
    """An invalid URL is refused with one line that does not contain the password."""
    with pytest.raises(UsageError) as caught:
        Ledger(address)
    assert str(caught.value).startswith(start)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value) + repr(caught.value)
    assert caught.value.__suppress_context__ or "hunter2" not in address
