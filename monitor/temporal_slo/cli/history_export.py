"""The command that exports history from the ledger."""

import argparse
from pathlib import Path

from temporal_slo import settings
from temporal_slo.cli.common import OK, Context


def _add_history_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--openmetrics", metavar="FILE", required=True, help="the file to write, which is not there yet"
    )
    parser.add_argument("--ledger", metavar="URL", help=f"as the exporter has it; default {settings.DEFAULT_LEDGER}")
    parser.add_argument("--temporal-namespace", metavar="NAME", help="the only one to write; default: all there are")
    parser.add_argument(
        "--label", metavar="NAME=VALUE", action="append", default=[], help="label of the target; several"
    )
    parser.add_argument("--since", metavar="DURATION", help="how far back, for example 30d; default: all there is")
    parser.add_argument(
        "--spec", metavar="PATH", action="append", default=[], help="also write what rules would have recorded; several"
    )
    parser.add_argument("--step", metavar="DURATION", default="1m", help="between two samples; default %(default)s")


def _history_export(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.exporter.history_export import command  # noqa: PLC0415 needs the monitor extra, which workers lack
    from temporal_slo.spec.load import load  # noqa: PLC0415 as above

    given = {name: getattr(args, name) for name in ("openmetrics", "ledger", "temporal_namespace", "since", "step")}
    slos = load([Path(path) for path in args.spec]).slos if args.spec else ()
    print(command.write(given, args.label, context.environ, slos=slos), file=context.stdout)
    return OK
