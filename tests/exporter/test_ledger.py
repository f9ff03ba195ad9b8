import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from temporal_slo.errors import LedgerError, UsageError
from temporal_slo.exporter import opening
from temporal_slo.exporter.ledger import Ledger
from temporal_slo.exporter.retention import KEEP_SEEN
from temporal_slo.exporter.snapshot import ClosedKey
from temporal_slo.exporter.state import SECOND, Change, Counted, Gap, Position, Verdict

from .runs import BEGAN, closed, running

RIDE = ClosedKey("Ride", "rides", "completed", "none")


def url(path: Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite:///{path}"


def counting(*runs: float) -> Change:
    """A change that counts runs that closed at these seconds."""
    rows = [closed(at) for at in runs]
    return Change(seen=rows, counted=[Counted(run, Verdict("completed", "none"), 10_000) for run in rows])


async def test_round_trip(tmp_path: Path) -> None:
    """What is committed is known after a restart as it was before it, for each namespace alone."""
    ledger = Ledger(url(tmp_path / "ledger"))
    before = await ledger.load("shop")
    opened = running(3)
    first = counting(1, 2)
    first.opened, first.gaps, first.positions = [opened, running(4)], (Gap(5, 7),), {"closed": Position(11, 13)}
    for change in (first, Change(left=[opened.run_id]), counting(3)):
        await ledger.commit("shop", change, BEGAN)
        before.apply(change)
    await ledger.commit("other", counting(9), BEGAN)
    ledger.close()
    again = Ledger(url(tmp_path / "ledger"))
    assert await again.load("shop") == before
    assert before.closed[RIDE].count == 3
    assert (await again.load("other")).closed[RIDE].count == 1
    again.close()


async def test_unseen(tmp_path: Path) -> None:
    """A closed run is known until two hours have passed and it cannot be read again."""
    ledger = Ledger(url(tmp_path / "ledger"))
    change = counting(1, 50)
    await ledger.commit("shop", change, BEGAN)
    old, young = (run.run_id for run in change.seen)
    assert await ledger.unseen("shop", [old, young, "new"]) == {"new"}
    await ledger.expire("shop", BEGAN + 20 * SECOND, BEGAN + KEEP_SEEN)
    assert await ledger.unseen("shop", [old, young]) == set()
    await ledger.expire("shop", BEGAN + 20 * SECOND, BEGAN + KEEP_SEEN + 1)
    assert await ledger.unseen("shop", [old, young]) == {old}
    ledger.close()


async def test_restored_copy(tmp_path: Path) -> None:
    """A copy that is put in place of the ledger counts from 0 in a new epoch, and still knows which runs it counted."""
    ledger = Ledger(url(tmp_path / "ledger"))
    change = counting(1, 2)
    await ledger.commit("shop", change, BEGAN)
    await ledger.mark_exposed("shop", ["series"])
    ledger.close()
    shutil.copy(tmp_path / "ledger", tmp_path / "copy")
    (tmp_path / "copy").rename(tmp_path / "ledger")
    restored = Ledger(url(tmp_path / "ledger"))
    assert (await restored.load("shop")).closed == {}
    assert await restored.exposed("shop") == set()
    assert await restored.unseen("shop", [run.run_id for run in change.seen]) == set()
    restored.close()


async def test_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that cannot be written raises LedgerError, has nothing of the change, and works again afterwards."""
    monkeypatch.setattr(opening, "BUSY_TIMEOUT", 0.1)
    ledger = Ledger(url(tmp_path / "ledger"))
    with sqlite3.connect(tmp_path / "ledger") as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match=r"^ledger: database is locked$"):
            await ledger.commit("shop", counting(1), BEGAN)
    other.close()
    assert (await ledger.load("shop")).closed == {}
    await ledger.commit("shop", counting(1), BEGAN)
    assert (await ledger.load("shop")).closed[RIDE].count == 1
    ledger.close()


def test_second_exporter(tmp_path: Path) -> None:
    """A ledger that an exporter uses is refused to another one, until the first is gone."""
    first = Ledger(url(tmp_path / "ledger"))
    with pytest.raises(UsageError, match="is in use by another exporter; stop that one, or give another ledger"):
        Ledger(url(tmp_path / "ledger"))
    first.close()
    Ledger(url(tmp_path / "ledger")).close()


def other_program(path: Path) -> None:
    """Make the database of another program."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()


def newer(path: Path) -> None:
    """Make a ledger whose schema is newer than ours."""
    Ledger(url(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE ledger SET value = '99' WHERE key = 'schema'")
    connection.close()


def without_schema(path: Path) -> None:
    """Make a ledger that does not tell its schema."""
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
        ("--ledger {path}: does not tell its schema; give the path of a ledger, or of a file that does not exist yet"),
    ),
    "newer": (
        newer,
        (
            "--ledger: its schema is 99, newer than the 2 of this program; "
            "use the newer temporal-slo, or give another ledger"
        ),
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_refused(tmp_path: Path, kind: str) -> None:
    """A file that is no ledger of ours is refused by name, and left as it was."""
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
        ("mysql://x", "--ledger: cannot be kept in mysql; "),
        ("sqlite:////nowhere/at/all/ledger.db", "--ledger: cannot be opened: unable to open database file; "),
    ],
)
def test_bad_url(address: str, start: str) -> None:
    """A URL that leads to no database is refused in one line."""
    with pytest.raises(UsageError) as caught:
        Ledger(address)
    assert str(caught.value).startswith(start)
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value) + repr(caught.value)
    assert caught.value.__suppress_context__ or "hunter2" not in address
