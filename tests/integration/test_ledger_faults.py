"""A ledger that cannot be written for a while, and files that the exporter refuses to use as one."""

import asyncio
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from temporal_slo import names
from temporal_slo.ledger.ledger import Ledger
from temporal_slo.servers.process import LOOPBACK, free_port, until
from temporal_slo.servers.tools import cli_command
from tests.conftest import Temporal

from .exporter import Exporter, Series
from .test_exporter import becomes_unready, close_one, exporting

LEDGER: Final = "kept.db"
DISK: Final = "1m"
FIGURES: Final = (names.WORKFLOWS_CLOSED, names.WORKFLOWS_STARTED, names.WORKFLOWS_RUNNING, names.WORKFLOW_FAILURES)
HEALTH: Final = (names.EXPORTER_UP, names.EXPORTER_GAP, names.EXPORTER_PENDING_RUNS)

Fault = Callable[[Path, int], AbstractContextManager[None]]
"""Keeps the process of that id from writing the ledger of that path."""


@contextmanager
def full_disk(ledger: Path, _: int) -> Iterator[None]:
    """The disk of the ledger has no byte left."""
    ballast = ledger.with_name("ballast")
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))
    assert os.statvfs(ledger).f_bavail == 0
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def full_quota(ledger: Path, pid: int) -> Iterator[None]:
    """No file may grow beyond what the ledger's log has now, as with a quota."""
    size = ledger.with_name(f"{LEDGER}-wal").stat().st_size
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def read_only(ledger: Path, _: int) -> Iterator[None]:
    """The ledger's files become read-only, even for root and for whoever has them open."""
    files = [ledger, ledger.with_name(f"{LEDGER}-wal")]
    chattr("+i", *files)
    try:
        yield
    finally:
        chattr("-i", *files)


@contextmanager
def locked(ledger: Path, _: int) -> Iterator[None]:
    """Another process, this one, holds the ledger for longer than the exporter waits for it."""
    with closing(sqlite3.connect(ledger, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


FAULTS: Final[dict[str, Fault]] = {
    "full disk": full_disk,
    "read-only": read_only,
    "locked": locked,
}


def chattr(flag: str, *files: Path) -> None:
    """Change a flag of files."""
    subprocess.run(["chattr", flag, *map(str, files)], check=True, capture_output=True)  # noqa: S607 Debian's


def immutable_files(folder: Path) -> bool:
    """Whether files here can be made read-only for those who have them open already, which takes root and ext4."""
    probe = folder / "probe"
    with probe.open("wb", buffering=0) as file:
        try:
            chattr("+i", probe)
        except (OSError, subprocess.CalledProcessError):
            return False
        try:
            file.write(b"x")
        except PermissionError:
            return True
        finally:
            chattr("-i", probe)
    return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path | None]:
    """A small disk of its own; None if this machine lets us mount none."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if not mount or subprocess.run(command, check=False, capture_output=True).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607 Debian's, as mount


def possible(kind: str, folder: Path, disk: Path | None) -> tuple[Fault, Path]:
    """The fault as this machine lets us make it, and where the ledger is to lie; skips the test if it does not."""
    fault = FAULTS[kind]
    if fault is full_disk:
        return (full_disk, disk / LEDGER) if disk else (full_quota, folder / LEDGER)
    if fault is read_only and not immutable_files(folder):
        pytest.skip("`chattr +i` fails here, or does not stop who has the file open")
    return fault, folder / LEDGER


async def figures(exporter: Exporter) -> dict[str, Series]:
    """What the exporter says of workflows."""
    return {family.name: await exporter.series(family) for family in FIGURES}


async def total(exporter: Exporter, family: names.Family) -> float:
    """The sum of a family's values."""
    return sum((await exporter.series(family)).values())


async def close(temporal: Temporal, namespace: str, count: int) -> None:
    """Close so many runs."""
    client = await temporal.namespace(namespace)
    await asyncio.gather(*(close_one(client) for _ in range(count)))


async def counts_exactly(exporter: Exporter, count: int) -> None:
    """Wait until so many runs are counted and further polls have found nothing more; hold all counts against it."""

    async def counted() -> bool:
        health = [await exporter.value(family) for family in HEALTH]
        return health == [1, 0, 0] and await total(exporter, names.WORKFLOWS_CLOSED) >= count

    await until(counted, deadline=30, what=f"{count} counted runs")
    for _ in range(2):
        before = await exporter.value(names.EXPORTER_LAST_SUCCESS)

        async def polled(before: float | None = before) -> bool:
            return await exporter.value(names.EXPORTER_LAST_SUCCESS) != before

        await until(polled, deadline=30, what="another poll")
    counters = (names.WORKFLOWS_CLOSED, names.WORKFLOWS_STARTED, names.WORKFLOW_FAILURES)
    assert [await total(exporter, family) for family in counters] == [count] * 3
    assert await total(exporter, names.WORKFLOWS_RUNNING) == 0


async def keeps_failing(exporter: Exporter) -> None:
    """Wait for another poll that fails."""
    before = await exporter.value(names.EXPORTER_POLL_DURATION)

    async def failed_again() -> bool:
        assert await exporter.value(names.EXPORTER_UP) == 0
        return await exporter.value(names.EXPORTER_POLL_DURATION) != before

    await until(failed_again, deadline=30, what="another failed poll")


def is_sound(ledger: Path, count: int) -> None:
    """Check the whole file, and that it has so many runs counted, whatever is waiting to be written."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for table in ("closed_totals", "closed_minutes", "failure_totals"):
            assert connection.execute(f"SELECT sum(count) FROM {table}").fetchone() == (count,)  # noqa: S608 no input
        assert connection.execute("SELECT count(*) FROM seen").fetchone() == (count,)


@pytest.mark.parametrize("kind", FAULTS)
async def test_cannot_be_written(temporal: Temporal, tmp_path: Path, disk: Path | None, kind: str) -> None:
    """While its ledger cannot be written the exporter says so and keeps its figures; then it counts all runs once."""
    namespace = kind.replace(" ", "-")
    fault, ledger = possible(kind, tmp_path, disk)
    await temporal.namespace(namespace)
    fast = ("--visibility-rate", "100", "--history-rate", "1000")
    async with exporting(tmp_path, temporal.address, namespace, "--ledger", f"sqlite:///{ledger}", *fast) as exporter:
        await exporter.becomes(names.EXPORTER_UP, 1)
        await close(temporal, namespace, 3)
        await counts_exactly(exporter, 3)
        good = await figures(exporter)
        with fault(ledger, exporter.child.pid):
            await close(temporal, namespace, 5)
            await exporter.becomes(names.EXPORTER_UP, 0)
            stood_at = await exporter.value(names.EXPORTER_LAST_SUCCESS)
            await becomes_unready(exporter, "ledger")
            if fault is not locked:  # one such poll takes as long as the exporter waits for a lock
                await keeps_failing(exporter)
            assert await figures(exporter) == good
            assert await exporter.value(names.EXPORTER_LAST_SUCCESS) == stood_at
            is_sound(ledger, 3)
        await exporter.becomes(names.EXPORTER_UP, 1)
        assert (await exporter.http.get("/readyz")).status_code == 200
        await close(temporal, namespace, 1)
        await counts_exactly(exporter, 9)
        is_sound(ledger, 9)
        exporter.child.check()
        log = exporter.child.log.read_text()
        assert (log.count("poll failed"), log.count("poll succeeded"), log.count("Traceback")) == (1, 2, 0)


def ours(path: Path) -> None:
    """Make a ledger."""
    Ledger(f"sqlite:///{path}").close()


def script(path: Path, statements: str) -> None:
    """Run SQL in a database."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(statements)


def newer(path: Path) -> None:
    """Make a ledger of a later version, which has no use for one of our tables."""
    ours(path)
    script(path, "UPDATE ledger SET value = '99' WHERE key = 'schema'; DROP TABLE exposed;")


def smashed(path: Path, root_of: str) -> None:
    """Make a ledger, and overwrite the first page of one of its tables."""
    ours(path)
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [root_of]).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def halved(path: Path) -> None:
    """Make a ledger, and lose its second half."""
    ours(path)
    os.truncate(path, path.stat().st_size // 2)


CONVERTER: Final = ("--data-converter", "tests.integration.endings:CONVERTER")
REFUSED: Final[dict[str, tuple[Callable[[Path], object], tuple[str, ...], str]]] = {
    "another program's": (lambda path: script(path, "CREATE TABLE theirs (x)"), (), "database of another program"),
    "another program's, in use": (
        lambda path: script(path, "PRAGMA journal_mode = WAL; CREATE TABLE theirs (x)"),
        (),
        "database of another program",
    ),
    "no database": (lambda path: path.write_text("hello " * 1000), (), "file is not a database"),
    "corrupt about itself": (lambda path: smashed(path, "ledger"), (), "malformed"),
    "corrupt in its counts": (lambda path: smashed(path, "closed_totals"), (), "malformed"),
    "cut off": (halved, (), "malformed"),
    "newer": (newer, (), "has schema 99, newer than schema 3 of this program"),
    "two codecs": (
        ours,
        (*CONVERTER, "--codec-endpoint", "http://127.0.0.1:9"),
        "conflicts with the codec of the data converter",
    ),
}


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """The bytes of every file, and when it was last written."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def refusal(ledger: Path, root: Path, *options: str) -> str:
    """Run the exporter, which is to end with exit code 2 and one line, and return that line."""
    nowhere = ("--temporal-address", f"{LOOPBACK}:9", "--listen", f"{LOOPBACK}:{free_port()}")
    command = cli_command("exporter", "--ledger", f"sqlite:///{ledger}", *nowhere, *options)
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.endswith("\n")
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(tmp_path: Path, pytestconfig: pytest.Config, kind: str) -> None:
    """What is no usable ledger, or options that contradict each other: exit code 2, one line, no file touched."""
    make, options, reason = REFUSED[kind]
    make(tmp_path / LEDGER)
    before = contents(tmp_path)
    line = refusal(tmp_path / LEDGER, pytestconfig.rootpath, *options)
    assert line.startswith("temporal-slo: --")
    assert reason in line
    assert contents(tmp_path) == before
