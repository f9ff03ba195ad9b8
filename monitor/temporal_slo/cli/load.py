"""The command `temporal-slo load`."""

import argparse
from typing import Final

from temporal_slo import settings
from temporal_slo.cli.common import (
    CONNECTION_EPILOG,
    OK,
    Command,
    Context,
    Option,
    connection_of,
    connection_options,
    run_until_signal,
)


def _run(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.reference import load  # noqa: PLC0415 needs the monitor extra, which workers lack
    from temporal_slo.reference.load import command  # noqa: PLC0415 as above

    chosen = load.Load(
        rate=settings.rate(args.rate, "--rate"),
        services=settings.http_url(args.services, "--services"),
        api=settings.http_url(args.api, "--api") if args.api else None,
        count=settings.whole_number(args.count, "--count") if args.count else None,
        mix=load.Mix.parse(args.mix) if args.mix else load.DEFAULT_MIX,
        seed=settings.whole_number(args.seed, "--seed"),
        execution_timeout=settings.duration(args.execution_timeout, "--execution-timeout"),
    )
    tally = run_until_signal(command.run_load(connection_of(args, context), chosen))
    print(tally or "stopped before the first workflow", file=context.stdout)
    return OK


COMMAND: Final = Command(
    "load",
    "start bookings, top-ups and bus services of the reference application",
    _run,
    (
        *connection_options(),
        Option("--services", "URL", "base URL of the services", "http://127.0.0.1:8010"),
        Option(
            "--api",
            "URL",
            "base URL of the API; starts bookings and top-ups there, and the services must send payments to it",
            if_unset="start them in Temporal",
        ),
        Option("--rate", "NUMBER", "workflows started per second", "4"),
        Option("--count", "NUMBER", "stop after this many workflows", if_unset="run until interrupted"),
        Option(
            "--mix",
            "MIX",
            "outcomes and their weights, e.g. booking.confirmed=80,topup.credited=20",
            if_unset="all outcomes, 64 % confirmed bookings",
        ),
        Option("--seed", "NUMBER", "random seed; the same seed gives the same outcomes", "0"),
        Option("--execution-timeout", "DURATION", "execution timeout of bookings and bus services", "30m"),
    ),
    f"The load installs fault rules in the services: calls for some of its users fail.\n\n{CONNECTION_EPILOG}",
)
