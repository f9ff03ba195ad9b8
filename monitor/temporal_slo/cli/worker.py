"""The command `temporal-slo worker`."""

import argparse
import os
from collections.abc import Collection, Sequence
from typing import Final

from temporalio.runtime import Runtime

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


def _run(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.reference.workers.deployment import deployment_of  # noqa: PLC0415 other commands do not need it
    from temporal_slo.reference.workers.process import WORKERS, run_workers  # noqa: PLC0415 as above

    names = chosen(args.names, WORKERS)
    services = settings.http_url(args.services, "--services")
    deployment = deployment_of(context.environ)
    spec = args.spec.split(os.pathsep) if args.spec else None
    connection = connection_of(args, context)
    runtime = _runtime(args.metrics_listen, spec)
    run_until_signal(run_workers(connection, names, services, runtime=runtime, spec=spec, deployment=deployment))
    return OK


def chosen(names: Sequence[str], known: Collection[str]) -> list[str]:
    """Return the workers to run, in the order of *known*: those that *names* lists, or all.

    Raises:
        UsageError: A name is unknown.
    """
    for name in names:
        if name not in known:
            raise UsageError("worker", f"unknown worker {name!r}", f"use {', '.join(known)}")
    return [name for name in known if name in names or not names]


def _runtime(listen: str | None, spec: list[str] | None) -> Runtime | None:
    from temporal_slo.interceptor import prometheus_runtime  # noqa: PLC0415 other commands do not need it

    if listen is None:
        return None
    settings.host_and_port(listen, "--metrics-listen")
    return prometheus_runtime(bind_address=listen, spec=spec)


COMMAND: Final = Command(
    "worker",
    "run workers of the reference application",
    _run,
    (
        Option("names", "NAME", "booking, payment or fleet", if_unset="all of them, in one process"),
        *connection_options(),
        Option("--services", "URL", "base URL of the services", "http://127.0.0.1:8010"),
        Option("--metrics-listen", "HOST:PORT", "address that serves /metrics", if_unset="no metrics"),
        Option("--spec", "PATH", f"SLO spec files or directories, separated by {os.pathsep!r}", if_unset="none"),
    ),
    f"{CONNECTION_EPILOG}\n\n"
    "TEMPORAL_DEPLOYMENT_NAME and TEMPORAL_WORKER_BUILD_ID name the version of the code, which Temporal shows in\n"
    "histories and for each task queue.",
)
