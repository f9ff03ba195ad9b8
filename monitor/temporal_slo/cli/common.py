"""Shared by all commands: how a command and its options are described, the parser, the exit codes."""

import argparse
import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TextIO, TypeVar

from temporalio.envconfig import ClientConnectConfig

from temporal_slo import settings
from temporal_slo.errors import UsageError

T = TypeVar("T")

PROGRAM: Final = "temporal-slo"

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Context:
    """The environment variables and the standard output of the process."""

    environ: Mapping[str, str]
    stdout: TextIO


@dataclass(frozen=True, slots=True)
class Option:
    """An option or a positional argument of a command.

    Attributes:
        name: The flag, or the attribute of a positional argument; a positional argument takes one value or more, or
            none if *if_unset* is given.
        metavar: Placeholder of the value; None for a switch or for *choices*.
        help: What the option does; the default is appended.
        default: Value if the option is not given.
        if_unset: Effect of leaving the option out, where there is no default value.
        variable: Environment variable that is read if the option is not given.
        choices: The values allowed.
        repeatable: Whether the option may be given more than once.
        required: Whether the option must be given.
        type: Converts the value.
    """

    name: str
    metavar: str | None
    help: str
    default: str | None = None
    if_unset: str = ""
    variable: str | None = None
    choices: tuple[str, ...] = ()
    repeatable: bool = False
    required: bool = False
    type: Callable[[str], object] = str

    @property
    def is_switch(self) -> bool:
        """Whether the option takes no value."""
        return self.metavar is None and not self.choices

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Add the option to *parser*."""
        # argparse formats help texts with %.
        parser.add_argument(self.name, help=self.full_help.replace("%", "%%"), **self._keywords())

    def value(self, args: argparse.Namespace) -> Any:  # noqa: ANN401 whatever type the option has
        """Return the option's value in *args*."""
        return getattr(args, self.name.lstrip("-").replace("-", "_"))

    @property
    def full_help(self) -> str:
        """The help text with default and environment variable."""
        default = self.default or self.if_unset
        notes = [
            *(["required"] if self.required else []),
            *(["repeatable"] if self.repeatable else []),
            *([f"default: {default}"] if default else []),
            *([f"env: {self.variable}"] if self.variable else []),
        ]
        return f"{self.help} ({'; '.join(notes)})" if notes else self.help

    def _keywords(self) -> dict[str, Any]:
        if self.is_switch:
            return {"action": "store_true"}
        value = {"metavar": self.metavar, "choices": self.choices or None, "type": self.type}
        if not self.name.startswith("-"):
            return {**value, "nargs": "*" if self.if_unset else "+"}
        if self.repeatable:
            return {**value, "action": "append", "default": []}
        # The default of an option with a variable applies only after the variable was looked up.
        return {**value, "required": self.required, "default": None if self.variable else self.default}


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the program.

    Attributes:
        name: Its name.
        summary: What it does, in one line of the program's help.
        run: Runs it and returns the exit code; imports what an extra installs only then.
        options: Its options and positional arguments.
        epilog: Last paragraph of its help.
    """

    name: str
    summary: str
    run: Callable[[argparse.Namespace, Context], int]
    options: tuple[Option, ...] = ()
    epilog: str | None = None

    def add_to(self, commands: "argparse._SubParsersAction[Parser]") -> None:
        """Add the command to the parser of the program."""
        parser = commands.add_parser(
            self.name,
            help=self.summary,
            description=f"{self.summary[0].upper()}{self.summary[1:]}.",
            epilog=self.epilog,
            allow_abbrev=False,
            formatter_class=HelpFormatter,
        )
        for option in self.options:
            option.add_to(parser)
        parser.set_defaults(run=self.run, command=self.name)


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """A formatter that starts all help texts in the same column."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        # argparse computes the column without the indent of commands, and wraps the longest one.
        self._action_max_length = self._max_help_position


class Parser(argparse.ArgumentParser):
    """A parser that raises a one-line UsageError instead of printing the usage."""

    def error(self, message: str) -> NoReturn:
        """Raise *message* as a usage error."""
        where = self.prog.removeprefix(PROGRAM).strip() or "command line"
        raise UsageError(where, message, f"see '{self.prog} --help'")


SPEC_PATHS: Final = Option("specs", "PATH", "SLO spec files, or directories of *.yaml and *.yml", type=Path)

LEDGER: Final = Option(
    "--ledger",
    "URL",
    "ledger database: sqlite:///path or postgresql://user:password@host/database",
    default=settings.DEFAULT_LEDGER,
    variable=settings.variable("ledger"),
)

CONNECTION_EPILOG: Final = (
    "The connection to Temporal is configured, in order of precedence, by these options, by TEMPORAL_ADDRESS,\n"
    "TEMPORAL_NAMESPACE, TEMPORAL_API_KEY and TEMPORAL_TLS_*, and by a profile in temporal.toml\n"
    "(TEMPORAL_CONFIG_FILE, TEMPORAL_PROFILE)."
)


def connection_options(namespace_help: str = "Temporal namespace") -> tuple[Option, ...]:
    """Return the options for the connection to Temporal.

    Args:
        namespace_help: What the namespace option does in this command.
    """
    return (
        Option(
            *("--temporal-address", "HOST:PORT", "address of the Temporal frontend"),
            default=settings.DEFAULT_ADDRESS,
            variable="TEMPORAL_ADDRESS",
        ),
        Option(
            *("--temporal-namespace", "NAME", namespace_help),
            if_unset=f'"{settings.DEFAULT_NAMESPACE}"',
            variable="TEMPORAL_NAMESPACE",
        ),
        Option(
            *("--temporal-profile", "NAME", "profile in temporal.toml"),
            if_unset='"default"',
            variable="TEMPORAL_PROFILE",
        ),
    )


def connection_of(args: argparse.Namespace, context: Context) -> ClientConnectConfig:
    """Return the connection settings from options, environment and `temporal.toml`.

    Raises:
        UsageError: One of them is malformed.
    """
    return settings.connection(args.temporal_address, args.temporal_namespace, args.temporal_profile, context.environ)


def run_until_signal(main: Coroutine[None, None, T]) -> T | None:
    """Run *main* until it returns, or until SIGINT or SIGTERM cancels it.

    Returns:
        Its result; None if it was cancelled.
    """

    async def cancellable() -> T | None:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        await asyncio.wait([task])
        return None if task.cancelled() else task.result()

    return asyncio.run(cancellable())
