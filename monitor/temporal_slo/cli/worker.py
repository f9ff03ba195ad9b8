"""The command `temporal-slo worker`."""

import argparse
import os
from pathlib import Path
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
    from temporal_slo.interceptor import SLOPlugin, prometheus_runtime  # noqa: PLC0415 other commands do not need it
    from temporal_slo.reference import command  # noqa: PLC0415 as above
    from temporal_slo.reference.services import faults  # noqa: PLC0415 as above

    connection = connection_of(args, context)
    active_faults = faults.FaultFile(Path(args.chaos_file)) if args.chaos_file is not None else faults.no_faults
    if args.metrics_listen is None:
        run_until_signal(command.worker(connection, faults=active_faults))
        return OK
    settings.host_and_port(args.metrics_listen, "--metrics-listen")
    spec = args.spec.split(os.pathsep) if args.spec else None
    runtime = prometheus_runtime(bind_address=args.metrics_listen, spec=spec)
    run_until_signal(command.worker(connection, plugins=[SLOPlugin(spec=spec)], runtime=runtime, faults=active_faults))
    return OK


COMMAND: Final = Command(
    "worker",
    "run the worker of the reference application",
    _run,
    (
        *connection_options(),
        Option("--metrics-listen", "HOST:PORT", "address that serves /metrics", if_unset="no metrics"),
        Option("--chaos-file", "FILE", "reject every payment while this file says payments-down", if_unset="none"),
        Option("--spec", "PATH", f"SLO spec files or directories, separated by {os.pathsep!r}", if_unset="none"),
    ),
    CONNECTION_EPILOG,
)
