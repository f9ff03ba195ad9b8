"""Options of commands: what each takes, its default, and what it does."""

import argparse
import os
from typing import Final

from temporal_slo import settings

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
    "since": (
        "DURATION",
        "none",
        "also count what closed before, so far back, for example 30d; 'retention' for all there is",
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


def add_generate(parser: argparse.ArgumentParser) -> None:
    """Give *parser* the options of `temporal-slo generate`."""
    parser.add_argument("specs", nargs="+", metavar="PATH", help="SLO specs: files or folders")
    parser.add_argument("--out", metavar="FOLDER", default="alerts", help="where they belong; default %(default)s")
    parser.add_argument(
        "--dashboards", metavar="FOLDER", help="where dashboards belong; default: dashboards beside --out"
    )
    parser.add_argument("--check", action="store_true", help="only tell which files are missing, stale or orphaned")
    parser.add_argument("--prune", action="store_true", help="remove files that were made by specs that are no more")
    parser.add_argument(
        "--format", choices=("prometheus", "operator"), default="prometheus", help="default %(default)s"
    )
    parser.add_argument("--receivers", metavar="FILE", help="who is told: makes Alertmanager's configuration, too")
    parser.add_argument("--runbooks", metavar="URL", help="page of the runbooks; default: the path of the README")
    parser.add_argument("--grafana", metavar="URL", help="where the dashboards are; default: on this machine")
    parser.add_argument("--web", metavar="URL", help="Temporal's Web UI; default: on this machine")
    parser.add_argument("--status", metavar="URL", help="your status page; default: alerts lead to none")
    parser.add_argument(
        "--sdk-names",
        choices=("whole", "plain"),
        default="whole",
        help="how workers name the SDK's metrics: whole with _total and _seconds, as prometheus_runtime does; plain as "
        "the SDK does by itself; default %(default)s",
    )
    parser.add_argument(
        "--namespace-label",
        choices=("namespace", "exported_namespace"),
        default="namespace",
        help="what the scrape of workers made of their label; exported_namespace on Kubernetes; default %(default)s",
    )


def add_demo(parser: argparse.ArgumentParser) -> None:
    """Give *parser* the options of `temporal-slo demo`."""
    parser.add_argument("--duration", metavar="DURATION", help="end by itself after that time; default: never")
    parser.add_argument("--temporal-address", metavar="HOST:PORT", help="use this server instead of starting one")
    parser.add_argument("--rate", metavar="NUMBER", default="4", help="bookings started a second; default %(default)s")
    parser.add_argument(
        "--chaos", metavar="KIND", help="what goes wrong until somebody is paged: payments-down; default: nothing"
    )
