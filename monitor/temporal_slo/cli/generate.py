"""The command `temporal-slo generate`."""

import argparse
from functools import partial
from pathlib import Path
from typing import Final

from temporal_slo.cli.common import FAILED, OK, SPEC_PATHS, Command, Context, Option


def _run(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.generate import command  # noqa: PLC0415 needs the spec extra, which workers lack

    links = command.links(args.runbooks, args.grafana, args.web, args.status)
    up_to_date = command.generate(
        args.specs,
        Path(args.out),
        links,
        partial(print, file=context.stdout),
        check=args.check,
        prune=args.prune,
        operator=args.format == "operator",
        receivers=args.receivers,
        dashboards=Path(args.dashboards or Path(args.out).parent / "dashboards"),
        profile=command.profile(args.sdk_names, args.namespace_label),
    )
    return OK if up_to_date else FAILED


COMMAND: Final = Command(
    "generate",
    "generate recording rules, alerts and dashboards from SLO specs",
    _run,
    (
        SPEC_PATHS,
        Option("--out", "DIRECTORY", "output directory of rules and alerts", "alerts"),
        Option("--dashboards", "DIRECTORY", "output directory of dashboards", if_unset="dashboards, next to --out"),
        Option("--check", None, "write nothing; report missing, stale and orphaned files, and exit 1 if there are any"),
        Option("--prune", None, "remove files generated from specs that no longer exist"),
        Option(
            "--format",
            None,
            "rule files for Prometheus, or Kubernetes objects for the Prometheus Operator",
            "prometheus",
            choices=("prometheus", "operator"),
        ),
        Option("--receivers", "FILE", "receivers file; also generates Alertmanager configuration", if_unset="none"),
        Option("--runbooks", "URL", "URL of the runbooks, for links in alerts", if_unset="alerts/README.md"),
        Option("--grafana", "URL", "base URL of Grafana, for links in alerts", if_unset="http://localhost:3000"),
        Option("--web", "URL", "base URL of Temporal's Web UI, for links in alerts", if_unset="http://localhost:8233"),
        Option("--status", "URL", "base URL of your status page, for links in alerts", if_unset="no links"),
        Option(
            "--sdk-names",
            None,
            "SDK metric names of your workers: whole with _total and _seconds, as prometheus_runtime exports them; "
            "plain as the SDK exports them by default",
            "whole",
            choices=("whole", "plain"),
        ),
        Option(
            "--namespace-label",
            None,
            "label that holds the Temporal namespace in scraped worker metrics; exported_namespace on Kubernetes",
            "namespace",
            choices=("namespace", "exported_namespace"),
        ),
    ),
)
