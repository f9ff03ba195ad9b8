"""A group of child processes, monitored and stopped together."""

import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from temporal_slo.errors import PartError
from temporal_slo.servers import tools
from temporal_slo.servers.process import Child, until

T = TypeVar("T")


class ProcessGroup:
    """A group of child processes; on exit they are stopped in reverse order of their start.

    Args:
        folder: Directory for the logs of the commands that it starts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._children: list[Child] = []
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def add(self, child: Child) -> Child:
        """Add *child*: monitor it, and stop it on exit."""
        self._children.append(child)
        self._exit.callback(child.stop)
        return child

    def start_command(self, name: str, *arguments: str, secrets: Mapping[str, str] | None = None) -> Child:
        """Start a `temporal-slo` command as a child.

        Args:
            name: Name in messages, and of its log file.
            arguments: Arguments of the command. `TEMPORAL_*` variables of this process are not passed on.
            secrets: Further environment variables; other users of the machine do not see them, unlike arguments.
        """
        env = {key: value for key, value in os.environ.items() if not key.startswith("TEMPORAL_")}
        # An empty file, so that the user's profile is not used.
        (self.folder / "temporal.toml").touch()
        env["TEMPORAL_CONFIG_FILE"] = str(self.folder / "temporal.toml")
        env |= secrets or {}
        return self.add(Child(name, tools.cli_command(*arguments), self.folder / f"{name}.log", env))

    def stop(self, child: Child) -> None:
        """Stop *child* before the others; it is no longer monitored."""
        self._children.remove(child)
        child.stop()

    def check(self) -> None:
        """Raise PartError if a child has exited."""
        for child in self._children:
            child.check()

    async def wait_until(
        self, condition: Callable[[], Awaitable[T | None]], *, deadline: float, part: str, what: str
    ) -> T:
        """Wait until *condition* returns a true value while all children run, and return it.

        Args:
            condition: Called repeatedly.
            deadline: Maximum wait in seconds.
            part: Name of the component in the error on timeout.
            what: Name of the condition in that error.

        Raises:
            PartError: A child exited, or the wait timed out.
        """

        async def checked_condition() -> T | None:
            self.check()
            return await condition()

        try:
            return await until(checked_condition, deadline=deadline, what=what)
        except TimeoutError as error:
            raise PartError(part, str(error)) from error
