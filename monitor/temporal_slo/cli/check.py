"""The command `temporal-slo check`."""

import argparse
from functools import partial
from typing import Final

from temporal_slo import settings
from temporal_slo.cli.common import (
    CONNECTION_EPILOG,
    FAILED,
    OK,
    SPEC_PATHS,
    Command,
    Context,
    Option,
    connection_of,
    connection_options,
    run_until_signal,
)


def _run(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.check import command  # noqa: PLC0415 needs the monitor extra, which workers lack
    from temporal_slo.check.prometheus import PrometheusAccess  # noqa: PLC0415 as above

    connection = connection_of(args, context)
    timeout = settings.duration(args.timeout, "--timeout")
    chosen = command.CheckSettings(
        paths=args.specs,
        access=PrometheusAccess.of(args.prometheus, args.prometheus_token_file, timeout),
        connection=connection,
        timeout=timeout,
        namespace=args.temporal_namespace,
        ignored=args.ignore,
        systems=(args.only,) if args.only else command.SYSTEMS,
    )
    return OK if run_until_signal(command.run(chosen, partial(print, file=context.stdout))) else FAILED


COMMAND: Final = Command(
    "check",
    "verify against a live Prometheus and Temporal that every alert selector matches a series",
    _run,
    (
        *connection_options("Temporal namespace; the option (not the variable) limits the check to its specs"),
        SPEC_PATHS,
        Option("--prometheus", "URL", "base URL of Prometheus", "http://localhost:9090"),
        Option(
            "--prometheus-token-file", "FILE", "file with a bearer token or a 'Basic ...' credential", if_unset="none"
        ),
        Option("--timeout", "DURATION", "timeout of each request", "10s"),
        Option("--ignore", "NAME", "alert or recorded series to skip", if_unset="none", repeatable=True),
        Option("--only", None, "check only one of them", if_unset="both", choices=("prometheus", "temporal")),
    ),
    CONNECTION_EPILOG,
)
