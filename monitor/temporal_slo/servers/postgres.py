"""A PostgreSQL server as a child process: found in PATH or where Debian has it, else fetched from Debian."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from temporal_slo.errors import PartError
from temporal_slo.servers.process import LOOPBACK, STOP_DEADLINE, UNPRIVILEGED, Child, free_port, until
from temporal_slo.servers.tools import Say, depends, unpack

START_DEADLINE = 60.0
USER: Final = "slo"
DATABASE: Final = "postgres"
PACKAGE: Final = "postgresql"
READY: Final = "database system is ready to accept connections"
REMAINS: Final = ("pre-existing shared memory block", "lock file")
"""What is left of a server that was killed: its own children take a moment to notice."""

PLACES: Final = "usr/lib/postgresql/*/bin"
NEEDLESS: Final = ("libllvm", "libc6", "libc-", "libperl")
"""Packages that the server works without, or that no system is without."""


def programs(folder: Path, say: Say) -> Path:
    """Return the folder with PostgreSQL's programs, fetching Debian's packages into *folder* if there is none.

    Raises:
        UsageError: There is none, and the packages can't be fetched.
    """
    found = _find(folder)
    if not found:
        unpack(folder / "postgres", _packages, "PostgreSQL (20 MB)", say)
        found = _find(folder)
    if not found:
        raise PartError("PostgreSQL", f"Debian's packages hold no {PLACES}")
    return found


def _find(folder: Path) -> Path | None:
    places = [*_installed(), *(folder / "postgres").absolute().glob(PLACES)]
    return next((place for place in places if (place / "initdb").exists()), None)


def _installed() -> list[Path]:
    program = shutil.which("postgres")
    return [*([Path(program).resolve().parent] if program else []), *Path("/").glob(PLACES)]


def _packages(state: Path) -> Sequence[str]:
    """The server, and the libraries that it needs and this system lacks."""
    wanted = depends(state, PACKAGE)
    query = ["dpkg-query", "-W", "-f", "${Package}\n"]
    listed = subprocess.run(query, check=False, capture_output=True, text=True)
    libraries = {name for name in wanted if name.startswith("lib") and not name.startswith(NEEDLESS)}
    servers = [name for name in wanted if re.fullmatch(rf"{PACKAGE}-\d+", name)]
    return [*servers, *sorted(libraries - set(listed.stdout.split()))]


class Postgres:
    """A PostgreSQL server on loopback, with a database and a user of its own whose password is random.

    As nobody if we are root: PostgreSQL refuses to run as root.

    Args:
        programs: The folder with its programs.
        fsync: Whether it waits for the disk, so that a power cut loses nothing; the end of a process never does.

    Attributes:
        child: The server.
    """

    def __init__(self, programs: Path, *, fsync: bool = True) -> None:
        self._programs = programs
        self._fsync = fsync
        self._folder = Path(tempfile.mkdtemp(prefix="temporal-slo-postgres-"))
        self._password = secrets.token_urlsafe()
        self.port = free_port()
        self._log = self._folder / "postgres.log"
        try:
            self._prepare()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self.child = self._start()

    def url(self, database: str = DATABASE) -> str:
        """The URL of one of its databases."""
        return f"postgresql://{USER}:{self._password}@{LOOPBACK}:{self.port}/{database}"

    def restart(self) -> None:
        """Start it again after it ended, on the same port with the same data."""
        self.child = self._start()

    async def revive(self) -> None:
        """Start it again if it has ended, and wait until it lets clients in; raises as `ready` does."""
        if self.child.exit_code is not None:
            self.restart()
        await self.ready()

    async def ready(self) -> None:
        """Wait until it lets clients in.

        Raises:
            PartError: It ended instead.
            TimeoutError: It did not let them in in time.
        """

        async def lets_in() -> bool:
            if self.child.exit_code and any(text in self._said() for text in REMAINS):
                self.restart()
            self.child.check()
            return READY in self._said() and _listens(self.port)

        await until(lets_in, deadline=START_DEADLINE, what=f"PostgreSQL on port {self.port}")

    def stop(self) -> None:
        """Stop it in order, ending its sessions instead of waiting for them, as `pg_ctl stop -m fast` does."""
        self._signal(signal.SIGINT)

    def abandon(self) -> None:
        """Stop it at once, as `pg_ctl stop -m immediate` does: the next start has to recover."""
        self._signal(signal.SIGQUIT)

    def request_recovery(self) -> None:
        """Let its next start be that of a restored copy, which begins a new timeline."""
        (self._folder / "data" / "recovery.signal").touch()

    def _signal(self, number: int) -> None:
        if self.child.exit_code is None:
            os.kill(self.child.pid, number)
            self.child.wait(STOP_DEADLINE)

    def _said(self) -> str:
        """Return its log since it was last started."""
        with self.child.log.open(errors="replace") as text:
            text.seek(self._begin)
            return text.read()

    def close(self) -> None:
        """Stop it and remove its data and its log."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _prepare(self) -> None:
        secret = self._folder / "password"
        secret.write_text(self._password)
        if os.geteuid() == 0:
            for path in (self._folder, secret):
                shutil.chown(path, "nobody", "nogroup")
        command = (f"--pgdata={self._folder / 'data'}", f"--username={USER}", f"--pwfile={secret}")
        initdb = self._child("initdb", *command, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")
        if code := initdb.wait(START_DEADLINE):
            raise PartError("initdb", f"ended with exit code {code}\n{initdb.tail()}")
        secret.unlink()

    def _start(self) -> Child:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "on" if self._fsync else "off",
            "jit": "off",  # a fetched server has no LLVM
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._begin = self._log.stat().st_size
        return self._child("postgres", "-D", str(self._folder / "data"), *options)

    def _child(self, program: str, *arguments: str) -> Child:
        # A fetched one has its libraries beside it.
        libraries = ":".join(str(path) for path in self._programs.parents[3].glob("lib/*-linux-*"))
        environment = {**os.environ, "LD_LIBRARY_PATH": libraries, "LC_ALL": "C"}
        own = UNPRIVILEGED if os.geteuid() == 0 else ()
        command = [str(self._programs / program), *arguments]
        return Child(program, command, self._log, environment, own)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0
