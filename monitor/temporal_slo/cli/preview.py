"""The options of `temporal-slo preview`, and how they become its settings."""

import argparse
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TextIO

from temporal_slo import settings
from temporal_slo.errors import UsageError


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options that are its own."""
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="dashboards as classic JSON")
    parser.add_argument("--prometheus", metavar="URL", default="http://localhost:9090", help="default %(default)s")
    parser.add_argument("--out", metavar="FOLDER", default="dashboards/pictures", help="default %(default)s")
    parser.add_argument("--range", metavar="DURATION", default="1h", help="how far back; default %(default)s")
    parser.add_argument("--rate", metavar="DURATION", default="1m", help="range of rates; default %(default)s")
    parser.add_argument("--width", metavar="PIXELS", default="1400", help="default %(default)s")
    parser.add_argument("--var", metavar="NAME=VALUE", action="append", default=[], help="of a variable; several")


def run(args: argparse.Namespace, out: TextIO) -> Coroutine[None, None, None]:
    """Return what draws, and prints to *out* what was drawn.

    Raises:
        UsageError: An option is malformed.
    """
    from temporal_slo.preview import command  # noqa: PLC0415 needs the monitor extra, which workers lack

    chosen = command.Preview(
        files=args.files,
        prometheus=args.prometheus,
        out=Path(args.out),
        span=settings.duration(args.range, "--range"),
        given=_given(args.var),
        rate=settings.duration(args.rate, "--rate"),
        width=settings.whole(args.width, "--width"),
        tools=Path(".tools"),
    )
    return command.preview(chosen, partial(print, file=out, flush=True))


def _given(texts: Sequence[str]) -> Mapping[str, str]:
    for text in texts:
        if "=" not in text:
            raise UsageError("--var", f"{text!r} gives no value", "write for example slo=booking-success")
    return dict(text.split("=", 1) for text in texts)
