"""Opens a database as a ledger; a database that is not a ledger is refused and left unchanged."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from temporal_slo.errors import UsageError
from temporal_slo.ledger import schema, upserts
from temporal_slo.ledger.deadline import Deadline
from temporal_slo.ledger.migrations import upgrade
from temporal_slo.ledger.postgres import PROGRAM, parse_url, postgres_engine

BUSY_TIMEOUT: Final = 5.0

IDENTITY_QUERIES: Final = (
    ("pg_control_system()", "system_identifier FROM pg_control_system()"),
    # Of the current WAL position: the timeline of the last checkpoint lags behind a promotion.
    ("pg_walfile_name(pg_lsn)", "left(pg_walfile_name(pg_current_wal_lsn()), 8)"),
    ("", "oid FROM pg_database WHERE datname = current_database()"),
    ("", "'ledger'::regclass::oid"),
)
"""Identity of the server, timeline, database and table: the function that the role must be allowed, and the query."""


def open_engine(url: str, deadline: Deadline | None = None) -> Engine:
    """Return an engine for *url*. A SQLite file must be a ledger, or not exist yet.

    Args:
        url: See `Ledger`.
        deadline: For the responses of a server; None for no deadline.

    Raises:
        UsageError: The URL is invalid, of an unsupported database, or of a file that is not a ledger.
    """
    try:
        parsed = parse_url(url)
        if parsed.get_backend_name() == "sqlite":
            if parsed.database in {None, "", ":memory:"}:
                raise UsageError("--ledger", "names no file", "write for example sqlite:///ledger.db")
            _check_file(str(parsed.database))
            engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT})
            event.listen(engine, "connect", _set_pragmas)
            return engine
        return postgres_engine(parsed, deadline)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError):
        # Without the cause, which may quote the URL with its password.
        raise UsageError("--ledger", "is not a database URL", "write for example sqlite:///ledger.db") from None


def redacted_message(engine: Engine, error: SQLAlchemyError) -> str:
    """Return the error message of the database, on one line and without passwords."""
    message, url = " ".join(str(getattr(error, "orig", None) or error).split()), engine.url
    for secret in (url.password, url.query.get("password"), url.query.get("sslpassword")):
        message = message.replace(str(secret), "***") if secret else message
    return message


def refuse_foreign(connection: Connection) -> None:
    """Refuse a PostgreSQL database with tables of another program, before anything is written to it.

    Raises:
        UsageError: It has such tables, or the schema of the ledger is newer than this program's.
    """
    if connection.dialect.name == "sqlite":
        return
    found = set(inspect(connection).get_table_names())
    ours = {table.name for table in schema.metadata.sorted_tables}
    metadata = _metadata(connection) if schema.ledger.name in found else {}
    if (found and not metadata) or (metadata and metadata.get("program") != PROGRAM) or (found and not found & ours):
        raise UsageError("--ledger", "is a database of another program", "give the URL of an empty database")
    if metadata:
        _check_version(metadata["schema"])


def _set_pragmas(connection: sqlite3.Connection, _: object) -> None:
    # FULL: after a power failure the ledger must not have less than was exposed.
    connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")


def _check_file(path: str) -> None:
    """Refuse a SQLite file that is not a ledger, before anything is written to it."""
    remedy = "give the path of a ledger, or of a file that does not exist yet"
    try:
        with _open_read_only(path) as connection:
            if connection is None:
                return
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if application == schema.APPLICATION_ID:
                row = connection.execute("SELECT value FROM ledger WHERE key = 'schema'").fetchone()
                if row is None or not str(row[0]).isdecimal():
                    raise UsageError(f"--ledger {path}", "has no schema version", remedy)
                _check_version(row[0])
    except sqlite3.Error as error:
        raise UsageError(f"--ledger {path}", f"is not a ledger: {error}", remedy) from error
    if tables and application != schema.APPLICATION_ID:
        raise UsageError(f"--ledger {path}", "is a database of another program", remedy)


@contextmanager
def _open_read_only(path: str) -> Iterator[sqlite3.Connection | None]:
    try:
        # Without a write-ahead log the file is complete; reading it as immutable creates no other files.
        immutable = "" if Path(f"{path}-wal").exists() else "&immutable=1"
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro{immutable}", uri=True, timeout=BUSY_TIMEOUT)
    except sqlite3.OperationalError:
        # The file does not exist or cannot be read: opening it for writing creates it or reports the error.
        yield None
        return
    try:
        yield connection
    finally:
        connection.close()


def initialize(connection: Connection) -> int:
    """Write the metadata of a new ledger, upgrade an old one, and return the epoch of totals.

    A ledger whose identity has changed is a restored copy, which may have less than was exposed. Prometheus would read
    a slight decrease as a counter reset and add the whole value again, so a copy begins a new epoch, with totals at 0.

    Raises:
        UsageError: The schema is newer than this program's.
    """
    current, metadata = identity(connection), _metadata(connection)
    if not metadata:
        metadata = {"program": PROGRAM, "schema": str(schema.VERSION), "epoch": "0", "inode": current}
        _store(connection, metadata)
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    _check_version(metadata["schema"])
    if int(metadata["schema"]) < schema.VERSION:
        upgrade(connection, int(metadata["schema"]))
        _store(connection, {"schema": str(schema.VERSION)})
    epoch = int(metadata["epoch"])
    if metadata["inode"] != current:
        epoch += 1
        _store(connection, {"inode": current, "epoch": str(epoch)})
    return epoch


def _metadata(connection: Connection) -> dict[str, str]:
    return {row.key: row.value for row in connection.execute(select(schema.ledger))}


def _store(connection: Connection, metadata: Mapping[str, str]) -> None:
    rows = [{"key": key, "value": value} for key, value in metadata.items()]
    upserts.replace(connection, schema.ledger, rows, "value")


def _check_version(found: str) -> None:
    if int(found) > schema.VERSION:
        raise UsageError(
            "--ledger",
            f"has schema {found}, newer than schema {schema.VERSION} of this program",
            "use the newer temporal-slo, or a different ledger",
        )


def identity(connection: Connection) -> str:
    """Return an identity of the database that a restored copy does not share.

    SQLite: the inode of the file. PostgreSQL: the system identifier of the server; the timeline, which changes with a
    point-in-time recovery and with the promotion of a replica, both of which may lose commits; the database; and the
    table, which changes when a dump is restored. Values that the role may not read are left out.
    """
    if connection.dialect.name == "sqlite":
        path = connection.engine.url.database
        return str(Path(path).stat().st_ino) if path and Path(path).exists() else ""
    allowed = text("SELECT has_function_privilege(:name, 'EXECUTE')")
    queries = [query for name, query in IDENTITY_QUERIES if not name or connection.scalar(allowed, {"name": name})]
    return "/".join(str(connection.scalar(text(f"SELECT {query}"))) for query in queries)
