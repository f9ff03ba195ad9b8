"""The command line `temporal-slo`."""

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Final, NoReturn, TextIO

from temporal_slo.cli import (
    api,
    check,
    demo,
    exporter,
    generate,
    history_export,
    load,
    output,
    preview,
    schema,
    services,
    validate,
    worker,
)
from temporal_slo.cli.common import FAILED, INTERRUPTED, OK, PROGRAM, USAGE, Context, HelpFormatter, Parser
from temporal_slo.errors import TemporalSloError, UsageError

COMMANDS: Final = tuple(
    module.COMMAND
    for module in (
        *(exporter, validate, generate, check, history_export, preview, schema),
        *(demo, worker, services, api, load),
    )
)


def entry() -> NoReturn:
    """Run the command line and exit the process."""
    try:
        code = main(sys.argv[1:], os.environ, sys.stdout, sys.stderr)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as error:
        output.report_write_error(error, sys.stderr)
        code = FAILED
    logging.shutdown()
    sys.stderr.flush()
    # A process that has used a Temporal client may crash while the interpreter finalises (temporalio/sdk-python#300).
    os._exit(code)


def main(argv: Sequence[str], environ: Mapping[str, str], stdout: TextIO, stderr: TextIO) -> int:
    """Run one command.

    Args:
        argv: Arguments, without the program's name.
        environ: Environment variables.
        stdout: Receives the output of the command.
        stderr: Receives the log, and error lines.

    Returns:
        The exit code: 0 for success, 1 for a failure, 2 for a mistake of the user.
    """
    try:
        args = _parse(argv)
        _log_to(stderr)
        code: int = args.run(args, Context(environ, stdout))
    except SystemExit as error:  # raised by argparse after --help and --version
        return int(error.code or OK)
    except ModuleNotFoundError as error:
        print(f"{PROGRAM}: {_missing(argv[0], error)}", file=stderr)
        return USAGE
    except UsageError as error:
        print(f"{PROGRAM}: {error}", file=stderr)
        return USAGE
    except TemporalSloError as error:
        print(f"{PROGRAM}: {error}", file=stderr)
        return FAILED
    return code


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog=PROGRAM, description="SLO monitoring for Temporal.", allow_abbrev=False, formatter_class=HelpFormatter
    )
    parser.add_argument("--version", action="version", version=version("temporal-slo"))
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for command in COMMANDS:
        command.add_to(commands)
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        raise UsageError(args.command, f"unknown option {unknown[0]}", f"see '{PROGRAM} {args.command} --help'")
    return args


def _log_to(stderr: TextIO) -> None:
    logging.basicConfig(stream=stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    for verbose in ("uvicorn", "httpx"):
        logging.getLogger(verbose).setLevel(logging.WARNING)


def _missing(command: str, error: ModuleNotFoundError) -> UsageError:
    remedy = "run pip install 'temporal-slo[monitor]', or 'temporal-slo[demo]' for the demo"
    return UsageError(command, f"package {error.name} is not installed", remedy)
