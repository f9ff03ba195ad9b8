"""PostgreSQL as a ledger: the URL in every form that PostgreSQL has, connection parameters, and what is refused."""

import re
from typing import Final
from urllib.parse import unquote

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url

from temporal_slo.errors import UsageError
from temporal_slo.ledger.deadline import Deadline

PROGRAM: Final = "temporal-slo"
CONNECT_TIMEOUT: Final = 5

DEFAULTS: Final[dict[str, str]] = {
    "application_name": PROGRAM,
    "client_encoding": "utf8",
    "connect_timeout": str(CONNECT_TIMEOUT),
    # Detect a lost peer soon: the exporter to reconnect, the server to release the lock.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
    # On: after a crash of the server the ledger must not have less than was exposed.
    "options": "-c synchronous_commit=on -c lock_timeout=5s "
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
}
"""Connection parameters; those in the URL take precedence."""

SEVERAL_HOSTS: Final = re.compile(r"^(?P<start>[^:]+://(?:[^/?#]*@)?)(?P<hosts>[^/?#@]*,[^/?#@]*)(?P<rest>.*)$")
"""A URL with several hosts, as PostgreSQL's own programs accept it."""

ENCODINGS: Final = frozenset({"UTF8", "SQL_ASCII"})
"""Encodings of databases that store every name: SQL_ASCII stores all bytes."""


def parse_url(url: str) -> URL:
    """Return *url* as SQLAlchemy has it, which knows neither `postgres://` nor several hosts before the path.

    Raises:
        ArgumentError: It is not a URL.
        ValueError: A port is not a number.
    """
    if url.startswith("postgres://"):
        url = url.replace("postgres://", "postgresql://", 1)
    several = SEVERAL_HOSTS.match(url) if url.startswith("postgresql") else None
    if not several:
        return make_url(url)
    parsed = make_url(several["start"] + several["rest"])
    hosts = [make_url(f"postgresql://{host}/") for host in several["hosts"].split(",")]
    addresses = {
        "host": ",".join(unquote(host.host or "") for host in hosts),
        "port": ",".join(str(host.port or "") for host in hosts),
    }
    return parsed.update_query_dict(addresses)


def postgres_engine(url: URL, deadline: Deadline | None) -> Engine:
    """Return an engine for a PostgreSQL URL, whose server must keep *deadline*, if there is one.

    Raises:
        UsageError: The URL is of another database.
        ValueError: The URL is not valid.
    """
    if url.get_backend_name() != "postgresql":
        what = f"{url.get_backend_name()} is not supported"
        raise UsageError("--ledger", what, "give the URL of a SQLite file or of a PostgreSQL database")
    if "@" in f"{url.host}{url.database}{url.query.get('host', '')}":
        # An unescaped @ in the password: what follows it would be taken for the host, which messages quote.
        raise ValueError
    defaults = {name: value for name, value in DEFAULTS.items() if name not in url.query}
    if "," in str(url.query.get("host", "")) or isinstance(url.query.get("host"), tuple):
        # Of several hosts one can be written to.
        defaults["target_session_attrs"] = "read-write"
    # The last value of a setting wins.
    options = f"{DEFAULTS['options']} {url.query.get('options', '')}"
    url = url.set(drivername="postgresql+psycopg").update_query_dict({**defaults, **url.query, "options": options})
    # One connection, which holds the lock. If it is lost, the next transaction opens another.
    engine = create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True, hide_parameters=True)
    if deadline:
        deadline.watch(engine)
    return engine


def refuse_unusable(connection: Connection) -> None:
    """Refuse a PostgreSQL database that cannot hold a ledger, before anything is written to it.

    Raises:
        UsageError: It cannot; the message says why.
    """
    if connection.dialect.name != "postgresql":
        return
    if connection.scalar(text("SHOW transaction_read_only")) == "on":
        remedy = "give the URL of the primary server, or all hosts with target_session_attrs=read-write"
        raise UsageError("--ledger", "is read-only, as on a replica", remedy)
    if connection.scalar(text("SELECT current_schema()")) is None:
        path = connection.scalar(text("SHOW search_path"))
        what = f"none of the schemas in its search path ({path}) exists"
        raise UsageError("--ledger", what, "create the schema, or name another one")
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding not in ENCODINGS:
        what = f"has the encoding {encoding}, which cannot store every name"
        raise UsageError("--ledger", what, "give the URL of a database with the encoding UTF8")


def refuse_shared_sessions(engine: Engine) -> None:
    """Refuse a connection pooler that serves several clients by one session: a lock would be held by all of them.

    Raises:
        UsageError: There is such a pooler.
    """
    if engine.dialect.name != "postgresql":
        return
    with engine.connect() as connection:
        session = connection.scalar(text("SELECT pg_backend_pid()"))
        driver: psycopg.Connection[object] = connection.connection.driver_connection  # type: ignore[assignment] # of psycopg
        if session == driver.info.backend_pid:
            return
    # Something between us and the server. Our connection is idle now: only its own session may not serve another.
    if _session_of_another_client(engine) == session:
        raise UsageError(
            "--ledger",
            "is behind a connection pooler that shares sessions, which cannot hold the ledger's lock",
            "give the URL of the database itself, or of a pool in session mode",
        )


def _session_of_another_client(engine: Engine) -> int | None:
    _, parameters = engine.dialect.create_connect_args(engine.url)
    try:
        with psycopg.connect(**parameters, autocommit=True) as other:
            row = other.execute("SELECT pg_backend_pid()").fetchone()
    except psycopg.OperationalError:
        # A pool in session mode, all of whose sessions are taken.
        return None
    return int(row[0]) if row else None


def remedy_of(engine: Engine, reason: str) -> str:
    """Return how to fix it that a database cannot be opened, given the message of the driver."""
    if engine.dialect.name != "postgresql":
        return "give a readable and writable path"
    if "unsupported startup parameter" in reason:
        # A pooler that refuses what sessions of its clients would have to keep.
        return "this is a connection pooler: give the URL of the database itself"
    if "session is read-only" in reason or "read-only transaction" in reason:
        return "give the URL of the primary server"
    return "give the URL of a database that this host reaches and this role may change"
