"""What a database must be like to be opened as our ledger; what is not is left as it was."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, insert, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from temporal_slo.errors import UsageError
from temporal_slo.exporter import schema
from temporal_slo.exporter.upgrades import upgrade

PROGRAM: Final = "temporal-slo"
BUSY_TIMEOUT: Final = 5.0


def open_engine(url: str) -> Engine:
    """Return an engine for *url*, a SQLite file only if it is a ledger of ours or new.

    Raises:
        UsageError: It is no such thing.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            _check_file(parsed.database or "")
            engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT})
            event.listen(engine, "connect", _tune)
            return engine
        return create_engine(parsed)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise UsageError(
            "--ledger", f"is not a database URL: {error}", "write for example sqlite:///ledger.db"
        ) from error


def _tune(connection: sqlite3.Connection, _: object) -> None:
    # FULL: after a power cut the ledger must not know less than was exposed.
    connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")


def _check_file(path: str) -> None:
    """Refuse a SQLite file that is not a ledger of ours, before anything is written into it."""
    remedy = "give the path of a ledger, or of a file that does not exist yet"
    try:
        with _reading(path) as connection:
            if connection is None:
                return
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if application == schema.APPLICATION_ID:
                row = connection.execute("SELECT value FROM ledger WHERE key = 'schema'").fetchone()
                if row is None or not str(row[0]).isdecimal():
                    raise UsageError(f"--ledger {path}", "does not tell its schema", remedy)
                _check_version(row[0])
    except sqlite3.Error as error:
        raise UsageError(f"--ledger {path}", f"is not a ledger: {error}", remedy) from error
    if tables and application != schema.APPLICATION_ID:
        raise UsageError(f"--ledger {path}", "is a database of another program", remedy)


@contextmanager
def _reading(path: str) -> Iterator[sqlite3.Connection | None]:
    try:
        # Without a log beside it the file is all there is, and reading it as unchangeable makes no file of its own.
        alone = "" if Path(f"{path}-wal").exists() else "&immutable=1"
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro{alone}", uri=True, timeout=BUSY_TIMEOUT)
    except sqlite3.OperationalError:
        # It does not exist yet, or is not to be read: opening it for writing will tell.
        yield None
        return
    try:
        yield connection
    finally:
        connection.close()


def check_about(connection: Connection, inode: str) -> int:
    """Return the epoch to count in; writes what a new ledger says about itself.

    A SQLite file that is not the one it was is a restored copy: it may know less than was exposed. Values that fell a
    little would be read as a whole new count, so a new epoch begins, at 0.
    """
    table = schema.ledger
    about = {row.key: row.value for row in connection.execute(select(table))}
    if not about:
        about = {"program": PROGRAM, "schema": str(schema.VERSION), "epoch": "0", "inode": inode}
        connection.execute(insert(table), [{"key": key, "value": value} for key, value in about.items()])
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    _check_version(about["schema"])
    if int(about["schema"]) < schema.VERSION:
        upgrade(connection, int(about["schema"]))
        newest = str(schema.VERSION)
        connection.execute(update(table).where(table.c.key == "schema").values(value=newest))
    if about["inode"] != inode:
        about |= {"inode": inode, "epoch": str(int(about["epoch"]) + 1)}
        for key in ("inode", "epoch"):
            connection.execute(update(table).where(table.c.key == key).values(value=about[key]))
    return int(about["epoch"])


def _check_version(found: str) -> None:
    if int(found) > schema.VERSION:
        raise UsageError(
            "--ledger",
            f"its schema is {found}, newer than the {schema.VERSION} of this program",
            "use the newer temporal-slo, or give another ledger",
        )


def inode_of(engine: Engine) -> str:
    """Return what tells a SQLite file from a copy that was put in its place; empty for other stores."""
    path = engine.url.database if engine.dialect.name == "sqlite" else None
    return str(Path(path).stat().st_ino) if path and Path(path).exists() else ""
