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

    Attributes:
        child: The server.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="temporal-slo-postgres-"))
        self._password = secrets.token_urlsafe()
        self.port = free_port()
        self._prepare()
        self.child = self._start()

    def url(self, database: str = DATABASE) -> str:
        """The URL of one of its databases."""
        return f"postgresql://{USER}:{self._password}@{LOOPBACK}:{self.port}/{database}"

    def restart(self) -> None:
        """Start it again after it ended, on the same port with the same data."""
        self.child = self._start()

    async def ready(self) -> None:
        """Wait until it listens.

        Raises:
            PartError: It ended instead.
            TimeoutError: It did not listen in time.
        """

        async def listens() -> bool:
            self.child.check()
            with socket.socket() as probe:
                return probe.connect_ex((LOOPBACK, self.port)) == 0

        await until(listens, deadline=START_DEADLINE, what=f"PostgreSQL on port {self.port}")

    def close(self) -> None:
        """Stop it and remove its data."""
        if self.child.exit_code is None:
            # The signal that ends its sessions too, instead of waiting for them.
            os.kill(self.child.pid, signal.SIGINT)
            self.child.wait(STOP_DEADLINE)
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
        settings = (f"listen_addresses={LOOPBACK}", f"port={self.port}", "unix_socket_directories=", "jit=off")
        options = [word for setting in settings for word in ("-c", setting)]
        return self._child("postgres", "-D", str(self._folder / "data"), *options)

    def _child(self, program: str, *arguments: str) -> Child:
        # A fetched one has its libraries beside it.
        libraries = ":".join(str(path) for path in self._programs.parents[3].glob("lib/*-linux-*"))
        environment = {**os.environ, "LD_LIBRARY_PATH": libraries, "LC_ALL": "C"}
        own = UNPRIVILEGED if os.geteuid() == 0 else ()
        command = [str(self._programs / program), *arguments]
        return Child(program, command, self._folder.with_suffix(".log"), environment, own)
