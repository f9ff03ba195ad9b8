"""A ledger that cannot be written for a while, and files that the exporter rejects as ledger."""

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
from temporal_slo.ledger.schema import VERSION
from temporal_slo.servers.process import LOOPBACK, free_port, until
from temporal_slo.servers.tools import cli_command
from tests.conftest import Temporal

from .exporter import Exporter, Series
from .test_exporter import becomes_unready, close_one, exporting

LEDGER: Final = "kept.db"
DISK: Final = "1m"
WORKFLOW_FAMILIES: Final = (
    names.WORKFLOWS_CLOSED,
    names.WORKFLOWS_STARTED,
    names.WORKFLOWS_RUNNING,
    names.WORKFLOW_FAILURES,
)
HEALTH: Final = (names.EXPORTER_UP, names.EXPORTER_GAP, names.EXPORTER_PENDING_RUNS)

Fault = Callable[[Path, int], AbstractContextManager[None]]
"""Prevents the process with this id from writing the ledger at this path."""


@contextmanager
def full_disk(ledger: Path, _: int) -> Iterator[None]:
    """The disk of the ledger is full."""
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
    """No file can grow beyond the current size of the ledger's WAL, as with a quota."""
    size = ledger.with_name(f"{LEDGER}-wal").stat().st_size
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def read_only(ledger: Path, _: int) -> Iterator[None]:
    """The ledger's files are read-only, even for root and for processes that have them open."""
    files = [ledger, ledger.with_name(f"{LEDGER}-wal")]
    chattr("+i", *files)
    try:
        yield
    finally:
        chattr("-i", *files)


@contextmanager
def locked(ledger: Path, _: int) -> Iterator[None]:
    """Another process locks the ledger for longer than the exporter waits."""
    with closing(sqlite3.connect(ledger, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


FAULTS: Final[dict[str, Fault]] = {
    "full disk": full_disk,
    "read-only": read_only,
    "locked": locked,
}


def chattr(flag: str, *files: Path) -> None:
    """Change an attribute of files."""
    subprocess.run(["chattr", flag, *map(str, files)], check=True, capture_output=True)  # noqa: S607 Debian's


def immutable_files(folder: Path) -> bool:
    """Return whether open files can be made read-only here, which requires root and ext4."""
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
    """A small disk; None if mounting is not allowed here."""
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


def fault_on(kind: str, folder: Path, disk: Path | None) -> tuple[Fault, Path]:
    """Return a fault that is fault_on on this machine, and the path for the ledger; skip the test if none is."""
    fault = FAULTS[kind]
    if fault is full_disk:
        return (full_disk, disk / LEDGER) if disk else (full_quota, folder / LEDGER)
    if fault is read_only and not immutable_files(folder):
        pytest.skip("`chattr +i` fails here, or does not affect open files")
    return fault, folder / LEDGER


async def workflow_series(exporter: Exporter) -> dict[str, Series]:
    """Return the exporter's workflow series."""
    return {family.name: await exporter.series(family) for family in WORKFLOW_FAMILIES}


async def total(exporter: Exporter, family: names.Family) -> float:
    """Return the sum of a family's values."""
    return sum((await exporter.series(family)).values())


async def close(temporal: Temporal, namespace: str, count: int) -> None:
    """Start and terminate *count* runs."""
    client = await temporal.namespace(namespace)
    await asyncio.gather(*(close_one(client) for _ in range(count)))


async def counts_exactly(exporter: Exporter, count: int) -> None:
    """Wait until *count* runs are counted and two more polls have ended; then check that all counts are exact."""

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


async def another_failed_poll(exporter: Exporter) -> None:
    """Wait for another failed poll."""
    before = await exporter.value(names.EXPORTER_POLL_DURATION)

    async def failed_again() -> bool:
        assert await exporter.value(names.EXPORTER_UP) == 0
        return await exporter.value(names.EXPORTER_POLL_DURATION) != before

    await until(failed_again, deadline=30, what="another failed poll")


def check_ledger(ledger: Path, count: int) -> None:
    """Check the integrity of the file, and that it has *count* counted runs."""
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for table in ("closed_totals", "closed_minutes", "failure_totals"):
            assert connection.execute(f"SELECT sum(count) FROM {table}").fetchone() == (count,)  # noqa: S608 no input
        assert connection.execute("SELECT count(*) FROM seen").fetchone() == (count,)


@pytest.mark.parametrize("kind", FAULTS)
async def test_cannot_be_written(temporal: Temporal, tmp_path: Path, disk: Path | None, kind: str) -> None:
    """While its ledger cannot be written the exporter is down and keeps its values; then it counts all runs once."""
    namespace = kind.replace(" ", "-")
    fault, ledger = fault_on(kind, tmp_path, disk)
    await temporal.namespace(namespace)
    fast = ("--visibility-rate", "100", "--history-rate", "1000")
    async with exporting(tmp_path, temporal.address, namespace, "--ledger", f"sqlite:///{ledger}", *fast) as exporter:
        await exporter.becomes(names.EXPORTER_UP, 1)
        await close(temporal, namespace, 3)
        await counts_exactly(exporter, 3)
        good = await workflow_series(exporter)
        with fault(ledger, exporter.child.pid):
            await close(temporal, namespace, 5)
            await exporter.becomes(names.EXPORTER_UP, 0)
            last_success = await exporter.value(names.EXPORTER_LAST_SUCCESS)
            await becomes_unready(exporter, "ledger")
            if fault is not locked:  # each poll waits for the lock until its timeout
                await another_failed_poll(exporter)
            assert await workflow_series(exporter) == good
            assert await exporter.value(names.EXPORTER_LAST_SUCCESS) == last_success
            check_ledger(ledger, 3)
        await exporter.becomes(names.EXPORTER_UP, 1)
        assert (await exporter.http.get("/readyz")).status_code == 200
        await close(temporal, namespace, 1)
        await counts_exactly(exporter, 9)
        check_ledger(ledger, 9)
        exporter.child.check()
        log = exporter.child.log.read_text()
        assert (log.count("poll failed"), log.count("poll succeeded"), log.count("Traceback")) == (1, 2, 0)


def new_ledger(path: Path) -> None:
    """Create a ledger."""
    Ledger(f"sqlite:///{path}").close()


def script(path: Path, statements: str) -> None:
    """Execute SQL in a database."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(statements)


def newer_schema(path: Path) -> None:
    """Create a ledger of a later version, which has dropped a table."""
    new_ledger(path)
    script(path, "UPDATE ledger SET value = '99' WHERE key = 'schema'; DROP TABLE exposed;")


def corrupt(path: Path, root_of: str) -> None:
    """Create a ledger and overwrite the first page of one of its tables."""
    new_ledger(path)
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [root_of]).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


def truncated(path: Path) -> None:
    """Create a ledger and truncate it to half its size."""
    new_ledger(path)
    os.truncate(path, path.stat().st_size // 2)


CONVERTER: Final = ("--data-converter", "tests.integration.endings:CONVERTER")
REFUSED: Final[dict[str, tuple[Callable[[Path], object], tuple[str, ...], str]]] = {
    "another program's": (lambda path: script(path, "CREATE TABLE theirs (x)"), (), "database of another program"),
    "another program's, in use": (
        lambda path: script(path, "PRAGMA journal_mode = WAL; CREATE TABLE theirs (x)"),
        (),
        "database of another program",
    ),
    "not a database": (lambda path: path.write_text("hello " * 1000), (), "file is not a database"),
    "corrupt metadata": (lambda path: corrupt(path, "ledger"), (), "malformed"),
    "corrupt counts": (lambda path: corrupt(path, "closed_totals"), (), "malformed"),
    "truncated": (truncated, (), "malformed"),
    "newer schema": (newer_schema, (), f"has schema 99, newer than schema {VERSION} of this program"),
    "two codecs": (
        new_ledger,
        (*CONVERTER, "--codec-endpoint", "http://127.0.0.1:9"),
        "conflicts with the codec of the data converter",
    ),
}


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return the content and the modification time of every file."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def refusal(ledger: Path, root: Path, *options: str) -> str:
    """Run the exporter, which must exit with code 2 and one line on stderr; return the line."""
    unreachable = ("--temporal-address", f"{LOOPBACK}:9", "--listen", f"{LOOPBACK}:{free_port()}")
    command = cli_command("exporter", "--ledger", f"sqlite:///{ledger}", *unreachable, *options)
    done = subprocess.run(command, cwd=root, check=False, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.endswith("\n")
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(tmp_path: Path, pytestconfig: pytest.Config, kind: str) -> None:
    """An unusable ledger or conflicting options: exit code 2, one line, and no file is changed."""
    make, options, reason = REFUSED[kind]
    make(tmp_path / LEDGER)
    before = contents(tmp_path)
    line = refusal(tmp_path / LEDGER, pytestconfig.rootpath, *options)
    assert line.startswith("temporal-slo: --")
    assert reason in line
    assert contents(tmp_path) == before
