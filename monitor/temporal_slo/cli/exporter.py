"""Options of commands: what each takes, its default, and what it does."""

import argparse
import os
from typing import Final

from temporal_slo import settings
from temporal_slo.cli.common import OK, Context, add_connection, connection_of, run_until_signal
from temporal_slo.errors import UsageError

EXPORTER_OPTIONS: Final = {
    "ledger": (
        "URL",
        settings.DEFAULT_LEDGER,
        "where the counts are kept: sqlite:///path or postgresql://user:password@host/database",
    ),
    "listen": ("HOST:PORT", settings.DEFAULT_LISTEN, "where to serve /metrics, /healthz and /readyz"),
    "namespace-filter": ("PATTERN", settings.DEFAULT_NAMESPACE_FILTER, "which of all namespaces, for example 'shop-*'"),
    "poll-interval": ("DURATION", settings.DEFAULT_POLL_INTERVAL, "time from one poll of visibility to the next"),
    "spec": ("PATH", "none", f"SLO specs: files or folders, several divided by {os.pathsep!r}"),
    "backfill": (
        "DURATION",
        "off",
        "also ingest runs that closed before the first start, e.g. 30d; 'retention' for all the server still has",
    ),
    "sources": (
        "NAME=DURATION,…",
        settings.DEFAULT_SOURCES,
        "how often to read what is not visibility; 'off' instead of a duration never does",
    ),
    "data-converter": ("MODULE:NAME", settings.DEFAULT_CONVERTER, "decodes the results of workflows"),
    "codec-endpoint": ("URL", "none", "remote codec that decodes payloads first; its secret is CODEC_AUTHORIZATION"),
    "visibility-rate": ("NUMBER", f"{settings.DEFAULT_VISIBILITY_RATE:g}", "visibility requests a second at most"),
    "history-rate": ("NUMBER", f"{settings.DEFAULT_HISTORY_RATE:g}", "requests for close events a second at most"),
}

EXPORTER_FLAGS: Final = {
    "all-namespaces": "watch all Temporal namespaces that are registered, and look for new ones every minute",
    "fail-fast": "end with exit code 2 if a first poll fails, instead of waiting",
    "redact-ids": "expose no exemplars, so that no id of a workflow leaves the exporter but by its log",
    "debug-anywhere": "answer /debug/poll to whoever asks, not to this machine alone",
}


def _add_exporter(parser: argparse.ArgumentParser) -> None:
    add_connection(parser, "; several are divided by commas")
    example = f"{settings.PREFIX}POLL_INTERVAL=30s"
    parser.epilog = f"{parser.epilog}\nEvery other option can be given as {settings.PREFIX}…, for example {example}."
    for option, (metavar, default, text) in EXPORTER_OPTIONS.items():
        parser.add_argument(f"--{option}", metavar=metavar, help=f"{text}; default {default}")
    for flag, text in EXPORTER_FLAGS.items():
        parser.add_argument(f"--{flag}", action="store_true", help=text)


def _exporter(args: argparse.Namespace, context: Context) -> int:
    given = {option: getattr(args, option.replace("-", "_")) for option in EXPORTER_OPTIONS}
    flags = [flag for flag in EXPORTER_FLAGS if getattr(args, flag.replace("-", "_"))]
    if args.all_namespaces and args.temporal_namespace is not None:
        raise UsageError("--all-namespaces", "contradicts --temporal-namespace", "give one of them")
    chosen = settings.exporter(
        connection_of(args, context), given, context.environ, flags, lambda: connection_of(args, context)
    )
    from temporal_slo.exporter.service import serve  # noqa: PLC0415 needs the monitor extra, which workers lack

    run_until_signal(serve(chosen))
    return OK
