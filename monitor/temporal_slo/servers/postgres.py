"""A PostgreSQL server as a child process; downloaded from Debian if neither in PATH nor in Debian's directory."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from temporal_slo.errors import PartError
from temporal_slo.servers.process import LOOPBACK, STOP_DEADLINE, UNPRIVILEGED, Child, free_port, until
from temporal_slo.servers.tools import Print, depends, unpack

START_DEADLINE = 60.0
USER: Final = "slo"
DATABASE: Final = "postgres"
PACKAGE: Final = "postgresql"
READY: Final = "database system is ready to accept connections"
STALE_LOCK_ERRORS: Final = ("pre-existing shared memory block", "lock file")
"""Log messages while children of a killed server are still exiting."""

PROGRAM_FOLDERS: Final = "usr/lib/postgresql/*/bin"
UNNEEDED: Final = ("libllvm", "libc6", "libc-", "libperl")
"""Prefixes of packages that the server does not need, or that every system has."""


def programs(folder: Path, output: Print) -> Path:
    """Return the directory of PostgreSQL's programs; download Debian's packages into *folder* if not installed.

    Raises:
        UsageError: Not installed, and the download failed.
    """
    found = _find(folder)
    if not found:
        unpack(folder / "postgres", _packages, "PostgreSQL (20 MB)", output)
        found = _find(folder)
    if not found:
        raise PartError("PostgreSQL", f"Debian's packages do not contain {PROGRAM_FOLDERS}")
    return found


def _find(folder: Path) -> Path | None:
    places = [*_installed(), *(folder / "postgres").absolute().glob(PROGRAM_FOLDERS)]
    return next((place for place in places if (place / "initdb").exists()), None)


def _installed() -> list[Path]:
    program = shutil.which("postgres")
    return [*([Path(program).resolve().parent] if program else []), *Path("/").glob(PROGRAM_FOLDERS)]


def _packages(state: Path) -> Sequence[str]:
    """Return the server package, and those of the libraries it needs that are not installed."""
    wanted = depends(state, PACKAGE)
    query = ["dpkg-query", "-W", "-f", "${Package}\n"]
    listed = subprocess.run(query, check=False, capture_output=True, text=True)
    libraries = {name for name in wanted if name.startswith("lib") and not name.startswith(UNNEEDED)}
    servers = [name for name in wanted if re.fullmatch(rf"{PACKAGE}-\d+", name)]
    return [*servers, *sorted(libraries - set(listed.stdout.split()))]


class Postgres:
    """A PostgreSQL server on loopback, with one database and one user with a random password.

    Runs as user nobody if the owner is root, because PostgreSQL refuses to run as root.

    Args:
        programs: Directory of its programs.
        fsync: Whether commits survive a power failure; they always survive a crash of the process.

    Attributes:
        child: The server process.
        password: Password of its user.
    """

    def __init__(self, programs: Path, *, fsync: bool = True) -> None:
        self._programs = programs
        self._fsync = fsync
        self._folder = Path(tempfile.mkdtemp(prefix="temporal-slo-postgres-"))
        self.password = secrets.token_urlsafe()
        self.port = free_port()
        self._log = self._folder / "postgres.log"
        try:
            self._prepare()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self.child = self._start()

    def url(self, database: str = DATABASE) -> str:
        """Return the URL of a database."""
        return f"postgresql://{USER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def restart(self) -> None:
        """Restart it after it exited, on the same port with the same data."""
        self.child = self._start()

    async def ensure_running(self) -> None:
        """Restart it if it exited, and wait until it accepts connections; raises as `ready` does."""
        if self.child.exit_code is not None:
            self.restart()
        await self.ready()

    async def ready(self) -> None:
        """Wait until it accepts connections.

        Raises:
            PartError: It exited.
            TimeoutError: It did not accept connections in time.
        """

        async def accepts() -> bool:
            if self.child.exit_code and any(text in self._current_log() for text in STALE_LOCK_ERRORS):
                self.restart()
            self.child.check()
            return READY in self._current_log() and _listens(self.port)

        await until(accepts, deadline=START_DEADLINE, what=f"PostgreSQL on port {self.port}")

    def stop(self) -> None:
        """Shut it down and close its sessions, like `pg_ctl stop -m fast`."""
        self._signal(signal.SIGINT)

    def stop_immediately(self) -> None:
        """Stop it without a shutdown, like `pg_ctl stop -m immediate`: the next start runs recovery."""
        self._signal(signal.SIGQUIT)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop all of its processes while the body runs: its connections stay open, and nothing is answered."""
        processes = [self.child.pid, *_children(self.child.pid)]
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def request_recovery(self) -> None:
        """Make the next start a recovery from a restored copy, which begins a new timeline."""
        (self._folder / "data" / "recovery.signal").touch()

    def _signal(self, number: int) -> None:
        if self.child.exit_code is None:
            os.kill(self.child.pid, number)
            self.child.wait(STOP_DEADLINE)

    def _current_log(self) -> str:
        """Return its log since the last start."""
        with self.child.log.open(errors="replace") as text:
            text.seek(self._log_offset)
            return text.read()

    def close(self) -> None:
        """Stop it, and delete its data and its log."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _prepare(self) -> None:
        secret = self._folder / "password"
        secret.write_text(self.password)
        if os.geteuid() == 0:
            for path in (self._folder, secret):
                shutil.chown(path, "nobody", "nogroup")
        command = (f"--pgdata={self._folder / 'data'}", f"--username={USER}", f"--pwfile={secret}")
        initdb = self._child("initdb", *command, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")
        if code := initdb.wait(START_DEADLINE):
            raise PartError("initdb", f"exited with code {code}\n{initdb.tail()}")
        secret.unlink()

    def _start(self) -> Child:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "on" if self._fsync else "off",
            "jit": "off",  # a downloaded server has no LLVM
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._log_offset = self._log.stat().st_size
        return self._child("postgres", "-D", str(self._folder / "data"), *options)

    def _child(self, program: str, *arguments: str) -> Child:
        # A downloaded server has its libraries in the same tree.
        libraries = ":".join(str(path) for path in self._programs.parents[3].glob("lib/*-linux-*"))
        environment = {**os.environ, "LD_LIBRARY_PATH": libraries, "LC_ALL": "C"}
        options = UNPRIVILEGED if os.geteuid() == 0 else ()
        command = [str(self._programs / program), *arguments]
        return Child(program, command, self._log, environment, options)


def _children(parent: int) -> list[int]:
    threads = Path(f"/proc/{parent}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0
