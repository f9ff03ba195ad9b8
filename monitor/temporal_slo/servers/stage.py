"""The child processes that belong together: watched as one, stopped as one."""

import os
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from temporal_slo.errors import PartError
from temporal_slo.servers import tools
from temporal_slo.servers.process import Child, until

T = TypeVar("T")


class Stage:
    """A group of child processes; on exit they are stopped, the last started first.

    Args:
        folder: Gets the logs of those that it starts itself.
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
        """Take over *child*: watch it, and stop it at the end."""
        self._children.append(child)
        self._exit.callback(child.stop)
        return child

    def own(self, name: str, *arguments: str) -> Child:
        """Start a `temporal-slo` command as a child.

        Args:
            name: What messages call it.
            arguments: Of the command; they alone say where Temporal is, not this process's environment.
        """
        env = {key: value for key, value in os.environ.items() if not key.startswith("TEMPORAL_")}
        # Nor does a profile of the user's.
        (self.folder / "temporal.toml").touch()
        env["TEMPORAL_CONFIG_FILE"] = str(self.folder / "temporal.toml")
        return self.add(Child(name, tools.own_command(*arguments), self.folder / f"{name}.log", env))

    def retire(self, child: Child) -> None:
        """Stop *child* ahead of the others; from now on it may be gone."""
        self._children.remove(child)
        child.stop()

    def check(self) -> None:
        """Raise PartError if a child has ended."""
        for child in self._children:
            child.check()

    async def until(self, condition: Callable[[], Awaitable[T | None]], *, deadline: float, part: str, what: str) -> T:
        """Wait until *condition* returns something true, while every child lives, and return that.

        Args:
            condition: Asked again and again.
            deadline: Seconds to wait at most.
            part: Whose fault it is if it does not come true.
            what: What is then said of that part.

        Raises:
            PartError: A child has ended, or the deadline passed.
        """

        async def met() -> T | None:
            self.check()
            return await condition()

        try:
            return await until(met, deadline=deadline, what=what)
        except TimeoutError as error:
            raise PartError(part, str(error)) from error
