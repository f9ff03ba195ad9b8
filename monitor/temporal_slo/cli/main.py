"""The command `temporal-slo`: each subcommand parses, calls and prints."""

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import NoReturn, TextIO

from temporal_slo.cli import check, output, preview
from temporal_slo.cli.common import (
    FAILED,
    INTERRUPTED,
    OK,
    USAGE,
    Context,
    Parser,
    add_command,
    add_connection,
    connection_of,
    run_until_signal,
)
from temporal_slo.cli.demo import _demo, add_demo
from temporal_slo.cli.exporter import _add_exporter, _exporter
from temporal_slo.cli.generate import _generate, add_generate
from temporal_slo.cli.history_export import _add_history_export, _history_export
from temporal_slo.cli.reference import _add_load, _add_worker, _load, _worker
from temporal_slo.cli.specs import _schema, _validate, add_paths
from temporal_slo.errors import TemporalSloError, UsageError


def entry() -> NoReturn:
    """Run the command line and end the process."""
    try:
        code = main(sys.argv[1:], os.environ, sys.stdout, sys.stderr)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as error:
        output.unwritten(error, sys.stderr)
        code = FAILED
    logging.shutdown()
    sys.stderr.flush()
    # A process that has used a Temporal client may crash while the interpreter finalises (temporalio/sdk-python#300).
    os._exit(code)


def main(argv: Sequence[str], environ: Mapping[str, str], stdout: TextIO, stderr: TextIO) -> int:
    """Run one command.

    Args:
        argv: The arguments after the program's name.
        environ: The environment to read settings from.
        stdout: Gets what the command prints.
        stderr: Gets the log, and the one line of an error.

    Returns:
        The exit code: 0 for success, 1 if something failed, 2 for a mistake of the user.
    """
    try:
        args = _parse(argv)
        _log_to(stderr)
        code: int = args.run(args, Context(environ, stdout))
    except SystemExit as error:  # argparse's way to end --help and --version
        return int(error.code or OK)
    except ModuleNotFoundError as error:
        print(f"temporal-slo: {_missing(argv[0], error)}", file=stderr)
        return USAGE
    except UsageError as error:
        print(f"temporal-slo: {error}", file=stderr)
        return USAGE
    except TemporalSloError as error:
        print(f"temporal-slo: {error}", file=stderr)
        return FAILED
    return code


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    args, unknown = _parser().parse_known_args(argv)
    if unknown:
        raise UsageError(args.command, f"unknown option {unknown[0]}", f"see 'temporal-slo {args.command} --help'")
    return args


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="temporal-slo", description="SLO monitoring for Temporal.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=version("temporal-slo"))
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    _add_exporter(add_command(commands, "exporter", _exporter, "serve visibility as Prometheus metrics"))
    add_generate(
        add_command(commands, "generate", _generate, "make recording rules, alerts and dashboards from SLO specs")
    )
    _add_check(add_command(commands, "check", _check, "prove on a live Prometheus and Temporal that no alert is blind"))
    add_demo(add_command(commands, "demo", _demo, "run everything together on this machine, with real servers"))
    add_paths(add_command(commands, "validate", _validate, "check SLO specs, and tell every problem by file and line"))
    add_command(commands, "schema", _schema, "print the JSON Schema of SLO specs, for editors")
    _add_worker(add_command(commands, "worker", _worker, "run the worker of the reference application"))
    _add_load(add_command(commands, "load", _load, "start bookings of the reference application"))
    preview.add(add_command(commands, "preview", _preview, "draw dashboards, without a Grafana"))
    _add_history_export(
        add_command(
            commands,
            "history-export",
            _history_export,
            "export history from the ledger as an OpenMetrics file for promtool",
        )
    )
    return parser


def _add_check(parser: argparse.ArgumentParser) -> None:
    add_connection(parser, "; as an option: only the specs of that one are checked")
    add_paths(parser)
    check.add(parser)


def _check(args: argparse.Namespace, context: Context) -> int:
    return OK if run_until_signal(check.run(args, connection_of(args, context), context.stdout)) else FAILED


def _preview(args: argparse.Namespace, context: Context) -> int:
    run_until_signal(preview.run(args, context.stdout))
    return OK


def _log_to(stderr: TextIO) -> None:
    logging.basicConfig(stream=stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    for chatty in ("uvicorn", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _missing(command: str, error: ModuleNotFoundError) -> str:
    return str(
        UsageError(
            command,
            f"this command needs the package {error.name}",
            "pip install 'temporal-slo[monitor]', or 'temporal-slo[demo]' for the demo",
        )
    )
