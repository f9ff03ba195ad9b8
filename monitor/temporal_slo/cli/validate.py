"""The command `temporal-slo validate`."""

import argparse
from typing import Final

from temporal_slo.cli.common import OK, SPEC_PATHS, USAGE, Command, Context


def _run(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.spec import command  # noqa: PLC0415 needs the spec extra, which most workers lack

    return OK if command.validate(args.specs, context.stdout) else USAGE


COMMAND: Final = Command("validate", "validate SLO specs; report every problem with file and line", _run, (SPEC_PATHS,))
