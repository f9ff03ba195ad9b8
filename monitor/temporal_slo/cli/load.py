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
    from temporal_slo.reference import command, load  # noqa: PLC0415 other commands do not need it

    chosen = load.Load(
        rate=settings.rate(args.rate, "--rate"),
        count=settings.whole_number(args.count, "--count") if args.count else None,
        mix=load.Mix.parse(args.mix) if args.mix else load.DEFAULT_MIX,
        seed=settings.whole_number(args.seed, "--seed"),
        execution_timeout=settings.duration(args.execution_timeout, "--execution-timeout"),
    )
    tally = run_until_signal(command.load(connection_of(args, context), chosen))
    print(tally or "stopped before the first booking", file=context.stdout)
    return OK


COMMAND: Final = Command(
    "load",
    "start bookings of the reference application",
    _run,
    (
        *connection_options(),
        Option("--rate", "NUMBER", "bookings started per second", "4"),
        Option("--count", "NUMBER", "stop after this many bookings", if_unset="run until interrupted"),
        Option(
            "--mix",
            "MIX",
            "outcomes and their weights, e.g. confirmed=80,declined=20",
            if_unset="all outcomes, 80 % confirmed",
        ),
        Option("--seed", "NUMBER", "random seed; the same seed gives the same outcomes", "0"),
        Option("--execution-timeout", "DURATION", "execution timeout of the workflows", "30m"),
    ),
    CONNECTION_EPILOG,
)
