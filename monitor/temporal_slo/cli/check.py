"""The options of `temporal-slo check`, and how they become its settings."""

import argparse
from collections.abc import Coroutine
from functools import partial
from typing import TextIO

from temporalio.envconfig import ClientConnectConfig

from temporal_slo import settings


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options that are its own."""
    parser.add_argument("--prometheus", metavar="URL", default="http://localhost:9090", help="default %(default)s")
    parser.add_argument("--prometheus-token-file", metavar="FILE", help="holds a bearer token, or 'Basic …'")
    parser.add_argument("--timeout", metavar="DURATION", default="10s", help="for each request; default %(default)s")
    parser.add_argument("--ignore", metavar="NAME", action="append", default=[], help="alert to leave out; several")
    parser.add_argument("--only", choices=("prometheus", "temporal"), help="whom to ask; default: both")


def run(args: argparse.Namespace, connection: ClientConnectConfig, out: TextIO) -> Coroutine[None, None, bool]:
    """Return what checks and prints to *out*; its result is whether all is well.

    Raises:
        UsageError: An option is malformed.
    """
    from temporal_slo.check import command  # noqa: PLC0415 needs the monitor extra, which workers lack
    from temporal_slo.check.prometheus import Access  # noqa: PLC0415 as above

    timeout = settings.duration(args.timeout, "--timeout")
    chosen = command.CheckSettings(
        paths=args.paths,
        access=Access.of(args.prometheus, args.prometheus_token_file, timeout),
        connection=connection,
        timeout=timeout,
        namespace=args.temporal_namespace,
        ignored=args.ignore,
        asked=(args.only,) if args.only else command.BOTH,
    )
    return command.run(chosen, partial(print, file=out))
