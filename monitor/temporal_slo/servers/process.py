"""A child process that is watched while it runs and never outlives its owner."""

import asyncio
import shutil
import socket
import subprocess
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from temporal_slo.errors import PartError

LOOPBACK = "127.0.0.1"
STOP_DEADLINE = 10.0
POLL_INTERVAL = 0.05

T = TypeVar("T")


UNPRIVILEGED: Final = (
    *("--reuid", "nobody", "--regid", "nogroup", "--clear-groups"),
    *("--inh-caps", "-all,+dac_override", "--ambient-caps", "+dac_override", "--securebits", "+no_setuid_fixup"),
)
"""What makes `setpriv` run a program as nobody, who may still pass through folders that are root's alone.

Without the secure bit the kernel forgets that capability where a program asks what it may do, as PostgreSQL does.
"""


class Child:
    """A server run as a child process, its output in a log file.

    It has a process group of its own, so that a Ctrl-C in the terminal reaches only the owner, who then stops the
    children in the right order.

    Args:
        name: What messages call it.
        command: Program and arguments.
        log: File that gets its standard output and error, appended.
        env: The child's whole environment; the owner's if None.
        options: Further ones for `setpriv`, which then has to be there.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*_die_with_owner(options), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def check(self) -> None:
        """Raise PartError if the process has ended."""
        if self.exit_code is not None:
            raise PartError(self.name, f"ended with exit code {self.exit_code}\n{self.tail()}")

    def tail(self, lines: int = 20) -> str:
        """Return the last *lines* of its log, indented."""
        with self.log.open(errors="replace") as text:
            return "".join(f"    {line.rstrip()}\n" for line in deque(text, maxlen=lines))

    def wait(self, deadline: float) -> int:
        """Wait until it has ended by itself and return its exit code; kill it after *deadline* seconds."""
        try:
            return self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.returncode

    def terminate(self) -> None:
        """Ask it to stop; does not wait."""
        if self.exit_code is None:
            self._process.terminate()

    def kill(self) -> None:
        """End it at once, as a crash would, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def stop(self, deadline: float = STOP_DEADLINE) -> None:
        """Ask it to stop and wait; kill it after *deadline* seconds."""
        self.terminate()
        try:
            self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.kill()


def _die_with_owner(options: Sequence[str]) -> list[str]:
    # If the owner is killed it can stop nobody: the kernel then ends the child. Part of every Debian (util-linux).
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", *options, "--"] if setpriv else []


async def until(condition: Callable[[], Awaitable[T | None]], *, deadline: float, what: str) -> T:
    """Wait until *condition* returns something true and return that.

    Args:
        condition: Asked again and again; an error that it raises ends the wait.
        deadline: Seconds to wait at most.
        what: What is waited for, for the error message.

    Raises:
        TimeoutError: The deadline passed.
    """
    end = time.monotonic() + deadline
    while True:
        found = await condition()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {deadline:g} s")
        await asyncio.sleep(POLL_INTERVAL)


def free_port(preferred: int = 0) -> int:
    """Return *preferred* if it can be listened on at loopback, else a port that can."""
    for port in (preferred, 0):
        with socket.socket() as candidate:
            # As servers set it: a port whose last connections are still closing counts as free.
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind((LOOPBACK, port))
            except (OSError, OverflowError):
                continue
            return int(candidate.getsockname()[1])
    raise PartError("network", f"no free port on {LOOPBACK}")
