"""PgBouncer, a connection pooler, as a child process; downloaded from Debian if not in PATH."""

import os
import shutil
from pathlib import Path

from sqlalchemy import make_url

from temporal_slo.servers.postgres import Postgres
from temporal_slo.servers.process import LOOPBACK, UNPRIVILEGED, Child, free_port
from temporal_slo.servers.tools import missing, unpack

PACKAGE = "pgbouncer"


def program(folder: Path) -> Path:
    """Return the path of PgBouncer; download it into *folder* if it is not installed.

    Raises:
        UsageError: Not installed, and the download failed.
    """
    place = (folder / PACKAGE).absolute()
    found = shutil.which(PACKAGE) or shutil.which(PACKAGE, path=str(place / "usr/sbin"))
    if not found:
        unpack(place, _packages, "PgBouncer (1 MB)", lambda _: None)
    return Path(found or place / "usr/sbin" / PACKAGE)


def _packages(state: Path) -> list[str]:
    # The rest of its dependencies is for a service of the system.
    wanted = ("pgbouncer", "libcares2", "libc-ares2", "libevent-2.1-7", "libevent-2.1-7t64")
    return [name for name in missing(state, PACKAGE) if name in wanted]


class PgBouncer:
    """A pooler in front of *server*, with its users and databases.

    Args:
        program: Its program.
        folder: Directory for its configuration and its log.
        server: The PostgreSQL server.
        mode: When a session is returned to the pool: `session` or `transaction`.
        ignores: Startup parameters that it accepts and drops; it rejects those that it does not know.
    """

    def __init__(self, program: Path, folder: Path, server: Postgres, mode: str, ignores: str) -> None:
        self.port = free_port()
        self._server = server
        address = make_url(server.url())
        (folder / "users.txt").write_text(f'"{address.username}" "{address.password}"\n')
        settings = {
            "listen_addr": LOOPBACK,
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": folder / "users.txt",
            "pool_mode": mode,
            "ignore_startup_parameters": ignores,
        }
        lines = [f"[databases]\n* = host={LOOPBACK} port={server.port}\n[pgbouncer]\n"]
        lines += [f"{name} = {value}\n" for name, value in settings.items()]
        (folder / "pgbouncer.ini").write_text("".join(lines))
        libraries = ":".join(str(path) for path in program.parents[1].glob("lib/*-linux-*"))
        # It refuses to run as root.
        options = UNPRIVILEGED if os.geteuid() == 0 else ()
        environment = {**os.environ, "LD_LIBRARY_PATH": libraries}
        command = [str(program), str(folder / "pgbouncer.ini")]
        self.child = Child("PgBouncer", command, folder / "pgbouncer.log", environment, options)

    def url(self, url: str) -> str:
        """Return the URL of a database of the server, through the pooler."""
        return url.replace(f":{self._server.port}/", f":{self.port}/")
