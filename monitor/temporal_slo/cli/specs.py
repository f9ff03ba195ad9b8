"""The commands `validate` and `schema`."""

import argparse
from pathlib import Path

from temporal_slo.cli.common import OK, USAGE, Context


def _validate(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.spec import command  # noqa: PLC0415 needs the spec extra, which most workers lack

    return OK if command.validate(args.paths, context.stdout) else USAGE


def _schema(_: argparse.Namespace, context: Context) -> int:
    from temporal_slo.spec import command  # noqa: PLC0415 as above

    command.schema(context.stdout)
    return OK


def add_paths(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names spec files and folders."""
    parser.add_argument("paths", metavar="PATH", nargs="+", type=Path, help="a file, or a folder of *.yaml and *.yml")
