"""The command `generate`."""

import argparse
from functools import partial
from pathlib import Path

from temporal_slo.cli.common import FAILED, OK, Context


def _generate(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.generate import command  # noqa: PLC0415 needs the spec extra, which workers lack

    links = command.links(args.runbooks, args.grafana, args.web, args.status)
    well = command.generate(
        args.specs,
        Path(args.out),
        links,
        partial(print, file=context.stdout),
        check=args.check,
        prune=args.prune,
        operator=args.format == "operator",
        receivers=args.receivers,
        dashboards=Path(args.dashboards or Path(args.out).parent / "dashboards"),
        profile=command.profile(args.sdk_names, args.namespace_label),
    )
    return OK if well else FAILED


def add_generate(parser: argparse.ArgumentParser) -> None:
    """Give *parser* the options of `temporal-slo generate`."""
    parser.add_argument("specs", nargs="+", metavar="PATH", help="SLO specs: files or folders")
    parser.add_argument("--out", metavar="FOLDER", default="alerts", help="where they belong; default %(default)s")
    parser.add_argument(
        "--dashboards", metavar="FOLDER", help="where dashboards belong; default: dashboards beside --out"
    )
    parser.add_argument("--check", action="store_true", help="only tell which files are missing, stale or orphaned")
    parser.add_argument("--prune", action="store_true", help="remove files that were made by specs that are no more")
    parser.add_argument(
        "--format", choices=("prometheus", "operator"), default="prometheus", help="default %(default)s"
    )
    parser.add_argument("--receivers", metavar="FILE", help="who is told: makes Alertmanager's configuration, too")
    parser.add_argument("--runbooks", metavar="URL", help="page of the runbooks; default: the path of the README")
    parser.add_argument("--grafana", metavar="URL", help="where the dashboards are; default: on this machine")
    parser.add_argument("--web", metavar="URL", help="Temporal's Web UI; default: on this machine")
    parser.add_argument("--status", metavar="URL", help="your status page; default: alerts lead to none")
    parser.add_argument(
        "--sdk-names",
        choices=("whole", "plain"),
        default="whole",
        help="how workers name the SDK's metrics: whole with _total and _seconds, as prometheus_runtime does; plain as "
        "the SDK does by itself; default %(default)s",
    )
    parser.add_argument(
        "--namespace-label",
        choices=("namespace", "exported_namespace"),
        default="namespace",
        help="what the scrape of workers made of their label; exported_namespace on Kubernetes; default %(default)s",
    )
