"""The command `temporal-slo preview`."""

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from temporal_slo import settings
from temporal_slo.cli.common import OK, Command, Context, Option, run_until_signal
from temporal_slo.errors import UsageError


def _run(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.preview import command  # noqa: PLC0415 needs the monitor extra, which workers lack

    chosen = command.PreviewOptions(
        files=args.files,
        prometheus=args.prometheus,
        out=Path(args.out),
        time_range=settings.duration(args.range, "--range"),
        variables=_variables(args.var),
        rate_interval=settings.duration(args.rate, "--rate"),
        width=settings.whole_number(args.width, "--width"),
        tools=Path(".tools"),
    )
    run_until_signal(command.preview(chosen, partial(print, file=context.stdout, flush=True)))
    return OK


def _variables(texts: Sequence[str]) -> Mapping[str, str]:
    for text in texts:
        if "=" not in text:
            raise UsageError("--var", f"{text!r} has no value", "write for example slo=booking-success")
    return dict(text.split("=", 1) for text in texts)


COMMAND: Final = Command(
    "preview",
    "render dashboards to PNG files, without a running Grafana",
    _run,
    (
        Option("files", "FILE", "dashboard JSON files", type=Path),
        Option("--prometheus", "URL", "base URL of Prometheus", "http://localhost:9090"),
        Option("--out", "DIRECTORY", "output directory", "dashboards/pictures"),
        Option("--range", "DURATION", "time range of the panels, up to now", "1h"),
        Option("--rate", "DURATION", "value of $__rate_interval", "1m"),
        Option("--width", "PIXELS", "image width", "1400"),
        Option("--var", "NAME=VALUE", "value of a dashboard variable", if_unset="none", repeatable=True),
    ),
)
