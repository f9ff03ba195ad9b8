"""The command `temporal-slo services`."""

import argparse
from pathlib import Path
from typing import Final

from temporal_slo import settings
from temporal_slo.cli.common import OK, Command, Context, Option, run_until_signal
from temporal_slo.errors import UsageError
from temporal_slo.reference.web.paystack import SECRET_KEY


def _run(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.reference.services import command  # noqa: PLC0415 other commands do not need it

    address = settings.host_and_port(args.listen, "--listen")
    url = args.webhook_url
    if url is not None and not url.startswith(("http://", "https://")):
        raise UsageError("--webhook-url", f"{url!r} is not a URL", "write http://host:port/path")
    secret = context.environ.get(SECRET_KEY, "")
    if url and not secret:
        raise UsageError(SECRET_KEY, "is not set", "set the key that signs the events, or leave out --webhook-url")
    run_until_signal(command.serve(address, Path(args.books), url, secret))
    return OK


COMMAND: Final = Command(
    "services",
    "run the simulated services of the reference application",
    _run,
    (
        Option("--listen", "HOST:PORT", "address of the HTTP server", "127.0.0.1:8010"),
        Option("--books", "FILE", "SQLite database with the state of the services", "services.db"),
        Option(
            "--webhook-url",
            "URL",
            f"send the events of payments there, signed with the key in {SECRET_KEY}",
            if_unset="do not send them",
        ),
    ),
)
