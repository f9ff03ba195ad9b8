"""The command `temporal-slo`: each subcommand parses, calls and prints."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, NoReturn, TextIO, TypeVar

from temporalio.envconfig import ClientConnectConfig

from temporal_slo import cli_check, cli_output, cli_preview, settings
from temporal_slo.cli_options import EXPORTER_FLAGS, EXPORTER_OPTIONS, add_demo, add_generate
from temporal_slo.errors import TemporalSloError, UsageError

T = TypeVar("T")

OK: Final = 0
FAILED: Final = 1
INTERRUPTED: Final = 130
USAGE: Final = 2


@dataclass(frozen=True, slots=True)
class Context:
    """What a command may use of the process that it runs in."""

    environ: Mapping[str, str]
    stdout: TextIO


def entry() -> NoReturn:
    """Run the command line and end the process."""
    try:
        code = main(sys.argv[1:], os.environ, sys.stdout, sys.stderr)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as error:
        cli_output.unwritten(error, sys.stderr)
        code = FAILED
    logging.shutdown()
    sys.stderr.flush()
    # A process that has used a Temporal client may crash while the interpreter finalises (temporalio/sdk-python#300).
    os._exit(code)


def main(argv: Sequence[str], environ: Mapping[str, str], stdout: TextIO, stderr: TextIO) -> int:
    """Run one command.

    Args:
        argv: The arguments after the program's name.
        environ: The environment to read settings from.
        stdout: Gets what the command prints.
        stderr: Gets the log, and the one line of an error.

    Returns:
        The exit code: 0 for success, 1 if something failed, 2 for a mistake of the user.
    """
    try:
        args = _parse(argv)
        _log_to(stderr)
        code: int = args.run(args, Context(environ, stdout))
    except SystemExit as error:  # argparse's way to end --help and --version
        return int(error.code or OK)
    except ModuleNotFoundError as error:
        print(f"temporal-slo: {_missing(argv[0], error)}", file=stderr)
        return USAGE
    except UsageError as error:
        print(f"temporal-slo: {error}", file=stderr)
        return USAGE
    except TemporalSloError as error:
        print(f"temporal-slo: {error}", file=stderr)
        return FAILED
    return code


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        where = self.prog.removeprefix("temporal-slo").strip() or "command line"
        raise UsageError(where, message, f"see '{self.prog} --help'")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    args, unknown = _parser().parse_known_args(argv)
    if unknown:
        raise UsageError(args.command, f"unknown option {unknown[0]}", f"see 'temporal-slo {args.command} --help'")
    return args


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="temporal-slo", description="SLO monitoring for Temporal.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=version("temporal-slo"))
    commands = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    _add_exporter(_command(commands, "exporter", _exporter, "serve visibility as Prometheus metrics"))
    add_generate(
        _command(commands, "generate", _generate, "make recording rules, alerts and dashboards from SLO specs")
    )
    _add_check(_command(commands, "check", _check, "prove on a live Prometheus and Temporal that no alert is blind"))
    add_demo(_command(commands, "demo", _demo, "run everything together on this machine, with real servers"))
    _add_paths(_command(commands, "validate", _validate, "check SLO specs, and tell every problem by file and line"))
    _command(commands, "schema", _schema, "print the JSON Schema of SLO specs, for editors")
    _add_worker(_command(commands, "worker", _worker, "run the worker of the reference application"))
    _add_load(_command(commands, "load", _load, "start bookings of the reference application"))
    cli_preview.add(_command(commands, "preview", _preview, "draw dashboards, without a Grafana"))
    _add_backfill(_command(commands, "backfill", _backfill, "write the ledger's past as a file for Prometheus"))
    return parser


def _command(
    commands: "argparse._SubParsersAction[_Parser]",
    name: str,
    run: Callable[[argparse.Namespace, Context], int],
    summary: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, command=name)
    return parser


def _add_connection(parser: argparse.ArgumentParser, several: str = "") -> None:
    parser.epilog = (
        "Temporal is found by these options, else by TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_API_KEY and\n"
        "TEMPORAL_TLS_*, else by a profile in temporal.toml (TEMPORAL_CONFIG_FILE, TEMPORAL_PROFILE)."
    )
    parser.add_argument("--temporal-address", metavar="HOST:PORT", help=f"default {settings.DEFAULT_ADDRESS}")
    namespace_help = f"default {settings.DEFAULT_NAMESPACE}{several}"
    parser.add_argument("--temporal-namespace", metavar="NAME", help=namespace_help)
    parser.add_argument("--temporal-profile", metavar="NAME", help="profile in temporal.toml")


def _add_exporter(parser: argparse.ArgumentParser) -> None:
    _add_connection(parser, "; several are divided by commas")
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
        _connection(args, context), given, context.environ, flags, lambda: _connection(args, context)
    )
    from temporal_slo.exporter.service import serve  # noqa: PLC0415 needs the monitor extra, which workers lack

    _run(serve(chosen))
    return OK


def _generate(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.generate import command  # noqa: PLC0415 needs the spec extra, which workers lack

    links = command.links(args.runbooks, args.grafana, args.web, args.status)
    well = command.generate(
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
    return OK if well else FAILED


def _add_check(parser: argparse.ArgumentParser) -> None:
    _add_connection(parser, "; as an option: only the specs of that one are checked")
    _add_paths(parser)
    cli_check.add(parser)


def _check(args: argparse.Namespace, context: Context) -> int:
    return OK if _run(cli_check.run(args, _connection(args, context), context.stdout)) else FAILED


def _demo(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo import demo  # noqa: PLC0415 needs the demo extra, which workers lack
    from temporal_slo.reference import chaos  # noqa: PLC0415 the other commands do without

    if args.temporal_address is not None:
        settings.host_and_port(args.temporal_address, "--temporal-address")
    chosen = demo.DemoSettings(
        duration=settings.duration(args.duration, "--duration") if args.duration else None,
        temporal_address=args.temporal_address,
        rate=settings.rate(args.rate, "--rate"),
        tools=Path(".tools"),
        specs=Path("deploy/slos"),
        chaos=chaos.parse(args.chaos) if args.chaos is not None else None,
    )
    asyncio.run(demo.run(chosen, lambda line: print(line, file=context.stdout, flush=True)))
    return OK


def _add_paths(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", metavar="PATH", nargs="+", type=Path, help="a file, or a folder of *.yaml and *.yml")


def _validate(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.spec import command  # noqa: PLC0415 needs the spec extra, which most workers lack

    return OK if command.validate(args.paths, context.stdout) else USAGE


def _schema(_: argparse.Namespace, context: Context) -> int:
    from temporal_slo.spec import command  # noqa: PLC0415 as above

    command.schema(context.stdout)
    return OK


def _add_worker(parser: argparse.ArgumentParser) -> None:
    _add_connection(parser)
    parser.add_argument("--metrics-listen", metavar="HOST:PORT", help="where to serve /metrics; default: no metrics")
    parser.add_argument(
        "--chaos-file", metavar="FILE", help="while it says payments-down, every payment is refused; default: none"
    )
    parser.add_argument(
        "--spec", metavar="PATH", help=f"SLO specs: files or folders, several divided by {os.pathsep!r}; default none"
    )


def _worker(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.interceptor import SLOPlugin, prometheus_runtime  # noqa: PLC0415 the other commands do without
    from temporal_slo.reference import chaos, command  # noqa: PLC0415 as above

    connection = _connection(args, context)
    reigning = chaos.ChaosFile(Path(args.chaos_file)) if args.chaos_file is not None else chaos.peace
    if args.metrics_listen is None:
        _run(command.worker(connection, chaos=reigning))
        return OK
    settings.host_and_port(args.metrics_listen, "--metrics-listen")
    spec = args.spec.split(os.pathsep) if args.spec else None
    runtime = prometheus_runtime(bind_address=args.metrics_listen, spec=spec)
    _run(command.worker(connection, plugins=[SLOPlugin(spec=spec)], runtime=runtime, chaos=reigning))
    return OK


def _add_load(parser: argparse.ArgumentParser) -> None:
    _add_connection(parser)
    parser.add_argument("--rate", metavar="NUMBER", default="4", help="bookings a second; default %(default)s")
    parser.add_argument("--count", metavar="NUMBER", help="end after so many bookings; default: never")
    parser.add_argument("--mix", metavar="MIX", help="outcomes and their weights, such as confirmed=80,declined=20")
    parser.add_argument("--seed", metavar="NUMBER", default="0", help="same seed, same outcomes; default %(default)s")
    parser.add_argument("--execution-timeout", metavar="DURATION", default="30m", help="default %(default)s")


def _load(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.reference import command, load  # noqa: PLC0415 the other commands do without

    chosen = load.Load(
        rate=settings.rate(args.rate, "--rate"),
        count=settings.whole(args.count, "--count") if args.count else None,
        mix=load.Mix.parse(args.mix) if args.mix else load.DEFAULT_MIX,
        seed=settings.whole(args.seed, "--seed"),
        execution_timeout=settings.duration(args.execution_timeout, "--execution-timeout"),
    )
    tally = _run(command.load(_connection(args, context), chosen))
    print(tally or "stopped before it began", file=context.stdout)
    return OK


def _add_backfill(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--openmetrics", metavar="FILE", required=True, help="the file to write, which is not there yet"
    )
    parser.add_argument("--ledger", metavar="URL", help=f"as the exporter has it; default {settings.DEFAULT_LEDGER}")
    parser.add_argument("--temporal-namespace", metavar="NAME", help="the only one to write; default: all there are")
    parser.add_argument(
        "--label", metavar="NAME=VALUE", action="append", default=[], help="label of the target; several"
    )
    parser.add_argument("--since", metavar="DURATION", help="how far back, for example 30d; default: all there is")
    parser.add_argument(
        "--spec", metavar="PATH", action="append", default=[], help="also write what rules would have recorded; several"
    )
    parser.add_argument("--step", metavar="DURATION", default="1m", help="between two samples; default %(default)s")


def _backfill(args: argparse.Namespace, context: Context) -> int:
    from temporal_slo.exporter import backfill_command  # noqa: PLC0415 needs the monitor extra, which workers lack
    from temporal_slo.spec.load import load  # noqa: PLC0415 as above

    given = {name: getattr(args, name) for name in ("openmetrics", "ledger", "temporal_namespace", "since", "step")}
    specs = load([Path(path) for path in args.spec]) if args.spec else ()
    print(backfill_command.write(given, args.label, context.environ, specs=specs), file=context.stdout)
    return OK


def _preview(args: argparse.Namespace, context: Context) -> int:
    _run(cli_preview.run(args, context.stdout))
    return OK


def _connection(args: argparse.Namespace, context: Context) -> ClientConnectConfig:
    return settings.connection(args.temporal_address, args.temporal_namespace, args.temporal_profile, context.environ)


def _run(main: Coroutine[None, None, T]) -> T | None:
    """Run *main*; SIGINT and SIGTERM cancel it, and it is then as if it had ended by itself."""

    async def cancellable() -> T | None:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, task.cancel)
        await asyncio.wait([task])
        return None if task.cancelled() else task.result()

    return asyncio.run(cancellable())


def _log_to(stderr: TextIO) -> None:
    logging.basicConfig(stream=stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    for chatty in ("uvicorn", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _missing(command: str, error: ModuleNotFoundError) -> str:
    return str(
        UsageError(
            command,
            f"this command needs the package {error.name}",
            "pip install 'temporal-slo[monitor]', or 'temporal-slo[demo]' for the demo",
        )
    )
