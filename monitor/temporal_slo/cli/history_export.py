"""The command `temporal-slo history-export`."""

import argparse
from pathlib import Path
from typing import Final

from temporal_slo.cli.common import LEDGER, OK, Command, Context, Option


def _run(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.exporter.history_export import command  # noqa: PLC0415 needs the monitor extra, which workers lack
    from temporal_slo.spec.load import load  # noqa: PLC0415 as above

    options = {name: getattr(args, name) for name in ("openmetrics", "ledger", "temporal_namespace", "since", "step")}
    slos = load([Path(path) for path in args.spec]).slos if args.spec else ()
    print(command.export(options, args.label, context.environ, slos=slos), file=context.stdout)
    return OK


COMMAND: Final = Command(
    "history-export",
    "export history from the ledger as an OpenMetrics file for promtool",
    _run,
    (
        Option("--openmetrics", "FILE", "output file, which must not exist yet", required=True),
        LEDGER,
        Option("--temporal-namespace", "NAME", "export only this Temporal namespace", if_unset="all in the ledger"),
        Option(
            "--label",
            "NAME=VALUE",
            "label of the scrape target, e.g. instance=host:9464",
            if_unset="none",
            repeatable=True,
        ),
        Option("--since", "DURATION", "how far back to export, e.g. 30d", if_unset="all history in the ledger"),
        Option(
            "--spec", "PATH", "also export the recorded series of these SLO specs", if_unset="none", repeatable=True
        ),
        Option("--step", "DURATION", "interval between samples, in whole minutes", "1m"),
    ),
)
