"""The command `temporal-slo demo`."""

import argparse
import asyncio
from pathlib import Path
from typing import Final

from temporal_slo import settings
from temporal_slo.cli.common import OK, Command, Context, Option
from temporal_slo.reference.web.paystack import SECRET_KEY


def _run(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo import demo  # noqa: PLC0415 needs the demo extra, which workers lack
    from temporal_slo.demo.alerting import Chaos  # noqa: PLC0415 as above
    from temporal_slo.demo.application import DEMO_KEY  # noqa: PLC0415 as above

    if args.temporal_address is not None:
        settings.host_and_port(args.temporal_address, "--temporal-address")
    chosen = demo.DemoSettings(
        duration=settings.duration(args.duration, "--duration") if args.duration else None,
        temporal_address=args.temporal_address,
        rate=settings.rate(args.rate, "--rate"),
        tools=Path(".tools"),
        specs=Path("deploy/slos"),
        chaos=Chaos.parse(args.chaos) if args.chaos is not None else None,
        paystack_key=context.environ.get(SECRET_KEY) or DEMO_KEY,
    )
    asyncio.run(demo.run(chosen, lambda line: print(line, file=context.stdout, flush=True)))
    return OK


COMMAND: Final = Command(
    "demo",
    "run Temporal, the reference application, load, the exporter, Prometheus and Alertmanager on this machine",
    _run,
    (
        Option("--duration", "DURATION", "stop after this time", if_unset="run until interrupted"),
        Option("--temporal-address", "HOST:PORT", "use this Temporal server", if_unset="start one"),
        Option("--rate", "NUMBER", "workflows started per second", "4"),
        Option("--chaos", "KIND", "inject this fault until it has paged, then recover: payments-down", if_unset="none"),
    ),
)
