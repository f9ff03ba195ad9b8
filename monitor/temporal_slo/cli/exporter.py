"""The command `temporal-slo exporter`."""

import argparse
import os
from typing import Final

from temporal_slo import settings
from temporal_slo.cli.common import (
    CONNECTION_EPILOG,
    LEDGER,
    OK,
    Command,
    Context,
    Option,
    connection_of,
    connection_options,
    run_until_signal,
)
from temporal_slo.errors import UsageError


def _setting(name: str, metavar: str, text: str, if_unset: str = "") -> Option:
    default = settings.EXPORTER_DEFAULTS[name] or None
    return Option(f"--{name}", metavar, text, default, if_unset, settings.variable(name))


SETTINGS: Final = (
    LEDGER,
    _setting("listen", "HOST:PORT", "address of the HTTP endpoints /metrics, /healthz, /readyz and /debug/poll"),
    _setting(
        "namespace-filter",
        "PATTERN",
        "with --all-namespaces: export only the namespaces that match this glob, e.g. 'shop-*'",
    ),
    _setting("poll-interval", "DURATION", "interval between visibility polls"),
    _setting("spec", "PATH", f"SLO spec files or directories, separated by {os.pathsep!r}", "none"),
    _setting(
        "backfill",
        "DURATION",
        "also ingest runs that closed before the first start, e.g. 30d; 'retention' for all the server still has",
        "off",
    ),
    _setting(
        "sources",
        "NAME=DURATION,...",
        "poll interval per additional data source, comma-separated; 'off' disables a source",
    ),
    _setting(
        "workflow-types-max",
        "NUMBER",
        "workflow types per namespace with series of their own, besides those in specs; others are counted as 'other'",
    ),
    _setting(
        "task-queues-max",
        "NUMBER",
        "task queues per namespace with series of their own, besides those in specs; others are counted as 'other'",
    ),
    _setting("data-converter", "MODULE:NAME", "data converter that decodes workflow results"),
    _setting(
        "codec-endpoint",
        "URL",
        "remote codec that decodes payloads before the data converter; "
        f"{settings.variable('codec-authorization')} holds its Authorization header",
        "none",
    ),
    _setting("visibility-rate", "NUMBER", "maximum visibility requests per second"),
    _setting("history-rate", "NUMBER", "maximum requests for close events per second"),
)

SWITCHES: Final = (
    Option("--all-namespaces", None, "export every registered Temporal namespace; new ones are found within a minute"),
    Option("--fail-fast", None, "exit with code 2 if the first poll fails, instead of retrying"),
    Option("--redact-ids", None, "do not expose workflow or run IDs as exemplars (logs may still contain them)"),
    Option("--debug-anywhere", None, "serve /debug/poll to any client, not only localhost"),
)


def _run(args: argparse.Namespace, context: Context) -> int:
    if args.all_namespaces and args.temporal_namespace is not None:
        raise UsageError("--all-namespaces", "conflicts with --temporal-namespace", "use only one of them")
    chosen = settings.exporter(
        connection_of(args, context),
        {option.name.removeprefix("--"): option.value(args) for option in SETTINGS},
        context.environ,
        [option.name.removeprefix("--") for option in SWITCHES if option.value(args)],
        lambda: connection_of(args, context),
    )
    from temporal_slo.exporter.service import serve  # noqa: PLC0415 needs the monitor extra, which workers lack

    run_until_signal(serve(chosen))
    return OK


COMMAND: Final = Command(
    "exporter",
    "export Temporal visibility as Prometheus metrics",
    _run,
    (*connection_options("Temporal namespaces to export, comma-separated"), *SETTINGS, *SWITCHES),
    CONNECTION_EPILOG,
)
