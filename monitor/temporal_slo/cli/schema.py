"""The command `temporal-slo schema`."""

import argparse
from typing import Final

from temporal_slo.cli.common import OK, Command, Context


def _run(_: argparse.Namespace, context: Context) -> int:
    from temporal_slo.spec import command  # noqa: PLC0415 needs the spec extra, which most workers lack

    command.schema(context.stdout)
    return OK


COMMAND: Final = Command("schema", "print the JSON Schema of SLO specs, for editors", _run)
