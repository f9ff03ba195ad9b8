"""The commands `worker` and `load`, of the reference application."""

import argparse
import os
from pathlib import Path

from temporal_slo import settings
from temporal_slo.cli.common import OK, Context, add_connection, connection_of, run_until_signal


def _add_worker(parser: argparse.ArgumentParser) -> None:
    add_connection(parser)
    parser.add_argument("--metrics-listen", metavar="HOST:PORT", help="where to serve /metrics; default: no metrics")
    parser.add_argument(
        "--chaos-file", metavar="FILE", help="while it says payments-down, every payment is refused; default: none"
    )
    parser.add_argument(
        "--spec", metavar="PATH", help=f"SLO specs: files or folders, several divided by {os.pathsep!r}; default none"
    )


def _worker(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.interceptor import SLOPlugin, prometheus_runtime  # noqa: PLC0415 the other commands do without
    from temporal_slo.reference import command  # noqa: PLC0415 as above
    from temporal_slo.reference.services import faults  # noqa: PLC0415 as above

    connection = connection_of(args, context)
    reigning = faults.ChaosFile(Path(args.chaos_file)) if args.chaos_file is not None else faults.peace
    if args.metrics_listen is None:
        run_until_signal(command.worker(connection, chaos=reigning))
        return OK
    settings.host_and_port(args.metrics_listen, "--metrics-listen")
    spec = args.spec.split(os.pathsep) if args.spec else None
    runtime = prometheus_runtime(bind_address=args.metrics_listen, spec=spec)
    run_until_signal(command.worker(connection, plugins=[SLOPlugin(spec=spec)], runtime=runtime, chaos=reigning))
    return OK


def _add_load(parser: argparse.ArgumentParser) -> None:
    add_connection(parser)
    parser.add_argument("--rate", metavar="NUMBER", default="4", help="bookings a second; default %(default)s")
    parser.add_argument("--count", metavar="NUMBER", help="end after so many bookings; default: never")
    parser.add_argument("--mix", metavar="MIX", help="outcomes and their weights, such as confirmed=80,declined=20")
    parser.add_argument("--seed", metavar="NUMBER", default="0", help="same seed, same outcomes; default %(default)s")
    parser.add_argument("--execution-timeout", metavar="DURATION", default="30m", help="default %(default)s")


def _load(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.reference import command, load  # noqa: PLC0415 the other commands do without

    chosen = load.Load(
        rate=settings.rate(args.rate, "--rate"),
        count=settings.whole(args.count, "--count") if args.count else None,
        mix=load.Mix.parse(args.mix) if args.mix else load.DEFAULT_MIX,
        seed=settings.whole(args.seed, "--seed"),
        execution_timeout=settings.duration(args.execution_timeout, "--execution-timeout"),
    )
    tally = run_until_signal(command.load(connection_of(args, context), chosen))
    print(tally or "stopped before it began", file=context.stdout)
    return OK
