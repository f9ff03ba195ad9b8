"""What a database must be like to be opened as our ledger; what is not is left as it was."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, inspect, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from temporal_slo.errors import UsageError
from temporal_slo.ledger import schema
from temporal_slo.ledger.migrations import upgrade

PROGRAM: Final = "temporal-slo"
BUSY_TIMEOUT: Final = 5.0

SERVER: Final[dict[str, str]] = {
    "application_name": PROGRAM,
    "client_encoding": "utf8",
    "connect_timeout": "5",
    # Either side is to notice soon that the other is gone: ours to try again, the server to let go of the lock.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
    # On: after a crash the ledger must not know less than was exposed.
    "options": "-c synchronous_commit=on -c lock_timeout=5s "
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
}
"""How to connect to PostgreSQL; a URL may say otherwise."""

IDENTITY: Final = (
    ("pg_control_system()", "system_identifier FROM pg_control_system()"),
    # As it is now: that of the last checkpoint lags behind a promotion.
    ("pg_walfile_name(pg_lsn)", "left(pg_walfile_name(pg_current_wal_lsn()), 8)"),
    ("", "oid FROM pg_database WHERE datname = current_database()"),
    ("", "'ledger'::regclass::oid"),
)
"""A server's own, the timeline, the database's, the table's: the function that must be allowed, and what is asked."""


def open_engine(url: str) -> Engine:
    """Return an engine for *url*, a SQLite file only if it is a ledger of ours or new.

    Raises:
        UsageError: It is no such thing.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            if parsed.database in {None, "", ":memory:"}:
                raise UsageError("--ledger", "names no file", "write for example sqlite:///ledger.db")
            _check_file(str(parsed.database))
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
    if "@" in f"{url.host}{url.database}":
        # One in the password that is not written as %40 makes a part of the password the host, which messages quote.
        raise ValueError
    defaults = {name: value for name, value in SERVER.items() if name not in url.query}
    # Of the same setting the server takes the last.
    options = f"{SERVER['options']} {url.query.get('options', '')}"
    url = url.set(drivername="postgresql+psycopg").update_query_dict({**defaults, "options": options})
    # One connection, which has the lock; where it broke another takes its place at the next transaction.
    return create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True, hide_parameters=True)


def told(engine: Engine, error: SQLAlchemyError) -> str:
    """Return what the database said, in one line and without any password."""
    said, url = " ".join(str(getattr(error, "orig", None) or error).split()), engine.url
    for secret in (url.password, url.query.get("password"), url.query.get("sslpassword")):
        said = said.replace(str(secret), "***") if secret else said
    return said


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

    For a SQLite file its inode. For PostgreSQL the server's own identity; the timeline, which is new after a recovery
    to a point in time and after a replica took over, both of which may know less than was exposed; the database; and
    the table, which is new after a dump was played back. Whatever of that the role may not read is left out.
    """
    if connection.dialect.name == "sqlite":
        path = connection.engine.url.database
        return str(Path(path).stat().st_ino) if path and Path(path).exists() else ""
    may = text("SELECT has_function_privilege(:name, 'EXECUTE')")
    readable = [what for function, what in IDENTITY if not function or connection.scalar(may, {"name": function})]
    return "/".join(str(connection.scalar(text(f"SELECT {what}"))) for what in readable)
