"""A child process that never outlives its owner."""

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
"""Options of `setpriv` that run a program as nobody, with access to directories of root.

Without the secure bit, the kernel drops that capability when a program checks access, as PostgreSQL does.
"""


class Child:
    """A server as a child process with a log file.

    It runs in its own session, so that Ctrl-C in the terminal reaches only the owner, which then stops its children in
    order.

    Args:
        name: Name in messages.
        command: Program and arguments.
        log: File to which standard output and standard error are appended.
        env: Complete environment of the child; None to inherit.
        options: Additional options of `setpriv`, which must then be installed.
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
        """Raise PartError if the process has exited."""
        if self.exit_code is not None:
            raise PartError(self.name, f"exited with code {self.exit_code}\n{self.tail()}")

    def tail(self, lines: int = 20) -> str:
        """Return the last *lines* lines of its log, indented."""
        with self.log.open(errors="replace") as text:
            return "".join(f"    {line.rstrip()}\n" for line in deque(text, maxlen=lines))

    def wait(self, deadline: float) -> int:
        """Wait until it exits and return its exit code; kill it after *deadline* seconds."""
        try:
            return self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.returncode

    def terminate(self) -> None:
        """Send SIGTERM; do not wait."""
        if self.exit_code is None:
            self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL and wait until it has exited."""
        self._process.kill()
        self._process.wait()

    def stop(self, deadline: float = STOP_DEADLINE) -> None:
        """Send SIGTERM and wait; kill it after *deadline* seconds."""
        self.terminate()
        try:
            self._process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.kill()


def _die_with_owner(options: Sequence[str]) -> list[str]:
    # The kernel kills the child if its owner is killed. setpriv is part of util-linux.
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", *options, "--"] if setpriv else []


async def until(condition: Callable[[], Awaitable[T | None]], *, deadline: float, what: str) -> T:
    """Wait until *condition* returns a true value, and return it.

    Args:
        condition: Called repeatedly; an exception that it raises ends the wait.
        deadline: Maximum wait in seconds.
        what: Name of the condition, for the error message.

    Raises:
        TimeoutError: The deadline passed.
    """
    end = time.monotonic() + deadline
    while True:
        found = await condition()
        if found:
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: timed out after {deadline:g} s")
        await asyncio.sleep(POLL_INTERVAL)


def free_port(preferred: int = 0) -> int:
    """Return *preferred* if it is free on loopback, else another free port."""
    for port in (preferred, 0):
        with socket.socket() as candidate:
            # As servers do: a port with connections in TIME_WAIT counts as free.
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                candidate.bind((LOOPBACK, port))
            except (OSError, OverflowError):
                continue
            return int(candidate.getsockname()[1])
    raise PartError("network", f"no free port on {LOOPBACK}")
