"""The command `demo`."""

import argparse
import asyncio
from pathlib import Path

from temporal_slo import settings
from temporal_slo.cli.common import OK, Context


def _demo(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo import demo  # noqa: PLC0415 needs the demo extra, which workers lack
    from temporal_slo.reference.services import faults  # noqa: PLC0415 the other commands do without

    if args.temporal_address is not None:
        settings.host_and_port(args.temporal_address, "--temporal-address")
    chosen = demo.DemoSettings(
        duration=settings.duration(args.duration, "--duration") if args.duration else None,
        temporal_address=args.temporal_address,
        rate=settings.rate(args.rate, "--rate"),
        tools=Path(".tools"),
        specs=Path("deploy/slos"),
        chaos=faults.parse(args.chaos) if args.chaos is not None else None,
    )
    asyncio.run(demo.run(chosen, lambda line: print(line, file=context.stdout, flush=True)))
    return OK


def add_demo(parser: argparse.ArgumentParser) -> None:
    """Give *parser* the options of `temporal-slo demo`."""
    parser.add_argument("--duration", metavar="DURATION", help="end by itself after that time; default: never")
    parser.add_argument("--temporal-address", metavar="HOST:PORT", help="use this server instead of starting one")
    parser.add_argument("--rate", metavar="NUMBER", default="4", help="bookings started a second; default %(default)s")
    parser.add_argument(
        "--chaos", metavar="KIND", help="what goes wrong until somebody is paged: payments-down; default: nothing"
    )
