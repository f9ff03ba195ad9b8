"""The command `temporal-slo api`."""

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
from temporal_slo.errors import UsageError
from temporal_slo.reference.web.paystack import SECRET_KEY


def _run(args: argparse.Namespace, context: Context) -> int:
    host, port = settings.host_and_port(args.listen, "--listen")
    services = settings.http_url(args.services, "--services")
    # Not an option: the arguments of a process are visible to every user of the machine.
    secret = context.environ.get(SECRET_KEY, "")
    if not secret:
        raise UsageError(SECRET_KEY, "is not set", "set it to the secret key with which Paystack signs webhooks")
    from temporal_slo.reference.api.process import run_api  # noqa: PLC0415 needs the monitor extra

    run_until_signal(run_api(connection_of(args, context), (host, port), services, secret))
    return OK


COMMAND: Final = Command(
    "api",
    "run the HTTP API of the reference application",
    _run,
    (
        *connection_options(),
        Option("--listen", "HOST:PORT", "address of the API", "127.0.0.1:8000"),
        Option("--services", "URL", "base URL of the services", "http://127.0.0.1:8010"),
    ),
    f"{SECRET_KEY} must hold the secret key with which Paystack signs its webhooks.\n\n{CONNECTION_EPILOG}",
)
