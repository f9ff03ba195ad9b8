"""What a database must be like to be opened as our ledger; what is not is left as it was."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, insert, inspect, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from temporal_slo.errors import UsageError
from temporal_slo.exporter import schema
from temporal_slo.exporter.upgrades import upgrade

PROGRAM: Final = "temporal-slo"
BUSY_TIMEOUT: Final = 5.0
CONNECT_TIMEOUT: Final = 5


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
        return _server(parsed)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError):
        # Without the cause, which may quote the URL and so a password.
        raise UsageError("--ledger", "is not a database URL", "write for example sqlite:///ledger.db") from None


def _server(url: URL) -> Engine:
    if url.get_backend_name() != "postgresql":
        kind = url.get_backend_name()
        raise UsageError("--ledger", f"cannot be kept in {kind}", "give the URL of a SQLite file or of PostgreSQL")
    # A connection that broke is replaced at the next transaction; a server that does not answer stops no poll for long.
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"connect_timeout": CONNECT_TIMEOUT},
    )


def refuse_foreign(connection: Connection) -> None:
    """Refuse a database of a server, before anything is written into it, if another program's tables are there.

    Raises:
        UsageError: They are.
    """
    if connection.dialect.name == "sqlite":
        return
    found = set(inspect(connection).get_table_names())
    ours = {table.name for table in schema.metadata.sorted_tables}
    about = schema.ledger.name in found and {row.key: row.value for row in connection.execute(select(schema.ledger))}
    if (found and not about) or (about and about.get("program") != PROGRAM) or (found and not found & ours):
        raise UsageError("--ledger", "is a database of another program", "give the URL of an empty database")
    if about:
        _check_version(about["schema"])


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


def check_about(connection: Connection) -> int:
    """Return the epoch to count in; writes what a new ledger says about itself.

    A SQLite file that is not the one it was is a restored copy: it may know less than was exposed. Values that fell a
    little would be read as a whole new count, so a new epoch begins, at 0.
    """
    table, inode = schema.ledger, identity(connection)
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


def identity(connection: Connection) -> str:
    """Return what tells a store from a copy that was put in its place.

    For a SQLite file its inode. For PostgreSQL the server's own identity, the database, and the timeline, which is new
    after a recovery to a point in time and after a replica took over, both of which may know less than was exposed.
    """
    if connection.dialect.name == "sqlite":
        path = connection.engine.url.database
        return str(Path(path).stat().st_ino) if path and Path(path).exists() else ""
    row = connection.exec_driver_sql(
        "SELECT (pg_control_system()).system_identifier, oid, (pg_control_checkpoint()).timeline_id "
        "FROM pg_database WHERE datname = current_database()"
    ).one()
    return "/".join(map(str, row))


class Hold:
    """Keeps a second exporter from counting into the same ledger; the end of this process, however, lets it go.

    Args:
        engine: Of the ledger.

    Raises:
        UsageError: Another process holds it.
    """

    def __init__(self, engine: Engine) -> None:
        self._file: int | None = None
        self._connection: Connection | None = None
        if engine.dialect.name == "sqlite":
            self._file = os.open(str(engine.url.database), os.O_RDONLY)
            free = self._lock_file(self._file)
        else:
            # One that stays open, outside of any transaction.
            self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            free = bool(self._connection.scalar(select(func.pg_try_advisory_lock(schema.APPLICATION_ID))))
        if not free:
            self.close()
            raise UsageError("--ledger", "is in use by another exporter", "stop that one, or give another ledger")

    @staticmethod
    def _lock_file(file: int) -> bool:
        try:
            # Not the kind of lock that SQLite uses, so that they do not meet.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Let it go; the ledger is no longer used."""
        if self._file is not None:
            os.close(self._file)
        if self._connection is not None:
            self._connection.close()
