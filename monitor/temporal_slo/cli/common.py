"""What all commands share: the parser, the context, the connection options, the exit codes."""

import argparse
import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, TextIO, TypeVar

from temporalio.envconfig import ClientConnectConfig

from temporal_slo import settings
from temporal_slo.errors import UsageError

T = TypeVar("T")

OK: Final = 0

FAILED: Final = 1

INTERRUPTED: Final = 130

USAGE: Final = 2


@dataclass(frozen=True, slots=True)
class Context:
    """What a command may use of the process that it runs in."""

    environ: Mapping[str, str]
    stdout: TextIO


def add_connection(parser: argparse.ArgumentParser, several: str = "") -> None:
    """Add the options that say how to connect to Temporal.

    Args:
        parser: Of a command.
        several: What the namespace option says about more than one.
    """
    parser.epilog = (
        "Temporal is found by these options, else by TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY and\n"
        "TEMPORAL_TLS_*, else by a profile in temporal.toml (TEMPORAL_CONFIG_FILE, TEMPORAL_PROFILE)."
    )
    parser.add_argument("--temporal-address", metavar="HOST:PORT", help=f"default {settings.DEFAULT_ADDRESS}")
    namespace_help = f"default {settings.DEFAULT_NAMESPACE}{several}"
    parser.add_argument("--temporal-namespace", metavar="NAME", help=namespace_help)
    parser.add_argument("--temporal-profile", metavar="NAME", help="profile in temporal.toml")


def connection_of(args: argparse.Namespace, context: Context) -> ClientConnectConfig:
    """Return the connection that the options, the environment and `temporal.toml` describe.

    Raises:
        UsageError: One of them is malformed.
    """
    return settings.connection(args.temporal_address, args.temporal_namespace, args.temporal_profile, context.environ)


def run_until_signal(main: Coroutine[None, None, T]) -> T | None:
    """Run *main*; SIGINT and SIGTERM cancel it, and it is then as if it had ended by itself."""

    async def cancellable() -> T | None:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        await asyncio.wait([task])
        return None if task.cancelled() else task.result()

    return asyncio.run(cancellable())


def add_command(
    commands: "argparse._SubParsersAction[Parser]",
    name: str,
    run: Callable[[argparse.Namespace, Context], int],
    summary: str,
) -> argparse.ArgumentParser:
    """Add the command *name*, which *run* executes, and return its parser."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, command=name)
    return parser


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Raise *message* as a usage error."""
        where = self.prog.removeprefix("temporal-slo").strip() or "command line"
        raise UsageError(where, message, f"see '{self.prog} --help'")
