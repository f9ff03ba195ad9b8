"""Export of the ledger's history as an OpenMetrics file that Prometheus can import: `temporal-slo history-export`."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from temporal_slo import names, settings
from temporal_slo.durations import format_duration
from temporal_slo.errors import UsageError
from temporal_slo.exporter.history_export import counters, recorded_series
from temporal_slo.exporter.history_export.counters import NamespaceExport
from temporal_slo.exporter.history_export.openmetrics_file import (
    OPTION,
    PROMTOOL_OPTION,
    Window,
    WrittenCounts,
    atomic_file,
    write,
)
from temporal_slo.ledger import schema
from temporal_slo.ledger.opening import open_engine, redacted_message
from temporal_slo.ledger.postgres import PROGRAM
from temporal_slo.runs.microseconds import SECOND
from temporal_slo.spec.bound import BoundSlo, run_types

LABEL_NAME: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
RESERVED_LABELS: Final = frozenset({*names.WORKFLOWS_CLOSED.labels, *names.WORKFLOW_DURATION.labels, "le"})
MINUTE: Final = timedelta(minutes=1)
MILLISECOND: Final = timedelta(milliseconds=1)


def export(
    options: Mapping[str, str | None],
    labels: Sequence[str],
    environ: Mapping[str, str],
    *,
    clock: Callable[[], float] = time.time,
    slos: Sequence[BoundSlo] = (),
) -> str:
    """Write the file and return a summary to print.

    Args:
        options: Options by name; None for those that are not set.
        labels: Labels of the scrape target, as `name=value`.
        environ: Environment of the process.
        clock: Unix time in seconds.
        slos: SLOs whose recorded series to export too.

    Raises:
        UsageError: An option is wrong, the file exists or cannot be written, or there is no history to export.
    """
    url = options["ledger"] or environ.get(f"{settings.PREFIX}LEDGER") or settings.DEFAULT_LEDGER
    path, target = Path(str(options["openmetrics"])), _target_labels(labels)
    step = settings.duration(str(options["step"]), "--step")
    if step % MINUTE:
        raise UsageError("--step", f"{format_duration(step)} is not whole minutes", "write for example 1m or 5m")
    since = settings.duration(options["since"], "--since") if options["since"] else None
    begin = 0 if since is None else int((clock() - since.total_seconds()) * 1000)
    with ledger_snapshot(url) as connection, atomic_file(path) as file:
        exports = list(
            _exports(connection, options["temporal_namespace"], target, begin, step // MILLISECOND, slos=slos)
        )
        _check_namespaces(slos, exports)
        recorded = recorded_series.families(connection, exports, slos) if slos else ()
        written = write(file, chain(counters.families(connection, exports), recorded))
        if not written.samples:
            raise UsageError(OPTION, "the ledger has no history to export", "run temporal-slo exporter with --backfill")
        return _summary(connection, exports, slos, path, written)


@contextmanager
def ledger_snapshot(url: str) -> Iterator[Connection]:
    """Open a connection that sees one state of the ledger, while an exporter may write to it.

    Raises:
        UsageError: The ledger does not exist, cannot be read, or has another schema version.
    """
    remedy = "give the ledger of the exporter"
    _require_sqlite_file(url, remedy)
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            else:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")  # noqa: PLW2901 - the same
            _check_schema(connection)
            yield connection
    except DBAPIError as error:
        # Without the cause, whose text may contain the password.
        raise UsageError("--ledger", f"cannot be read: {redacted_message(engine, error)}", remedy) from None
    finally:
        engine.dispose()


def _require_sqlite_file(url: str, remedy: str) -> None:
    """Raise a UsageError for a missing or empty SQLite file: opening it would create a database."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # open_engine reports it, without the URL and its password.
        return
    if parsed.get_backend_name() != "sqlite":
        return
    path = parsed.database or ""
    if not Path(path).is_file():
        raise UsageError("--ledger", f"{path!r} is not a file", remedy)
    if not Path(path).stat().st_size:
        raise UsageError("--ledger", f"{path!r} is empty", remedy)


def _check_namespaces(slos: Sequence[BoundSlo], exports: Sequence[NamespaceExport]) -> None:
    """Raise a UsageError if none of *slos* is in an exported namespace: the file would lack all recorded series."""
    exported = [export.namespace for export in exports]
    if slos and len(recorded_series.slos_of_other_namespaces(slos, exported)) == len(slos):
        what = f"no spec is for an exported Temporal namespace ({', '.join(map(repr, exported)) or 'none'})"
        raise UsageError("--spec", what, "correct temporal_namespace in the spec, or omit the option")


def _check_schema(connection: Connection) -> None:
    values = {row.key: row.value for row in connection.execute(select(schema.ledger))}
    if values.get("program") != PROGRAM or values.get("schema") != str(schema.VERSION):
        raise UsageError(
            "--ledger",
            f"is not a ledger of schema version {schema.VERSION}",
            "start this version of temporal-slo exporter with it once, which upgrades it",
        )


def _target_labels(texts: Sequence[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not LABEL_NAME.fullmatch(name) or name in RESERVED_LABELS or name in labels:
            what = f"{text!r} is not a valid target label, or is repeated"
            raise UsageError("--label", what, "write for example job=temporal-slo")
        labels[name] = value
    return labels


def _exports(
    connection: Connection,
    namespace: str | None,
    target: Mapping[str, str],
    begin: int,
    step: int,
    *,
    slos: Sequence[BoundSlo],
) -> Iterator[NamespaceExport]:
    starts = counters.counting_starts(connection)
    if namespace is not None and namespace not in starts:
        what = f"{namespace!r} is not in the ledger"
        raise UsageError("--temporal-namespace", what, "give a Temporal namespace that the exporter monitored")
    for name, start in sorted(starts.items()):
        if namespace in {None, name}:
            labels = {**target, names.NAMESPACE: name}
            window, bounds = Window(begin, start // 1000, step), counters.bucket_bounds_ms(connection, name)
            yield NamespaceExport(name, start, window, labels, bounds, run_types(slos, name))


def _summary(
    connection: Connection,
    exports: Sequence[NamespaceExport],
    slos: Sequence[BoundSlo],
    path: Path,
    written: WrittenCounts,
) -> str:
    exported = [export.namespace for export in exports]
    lines = [f"{path}: {written.series} series, {written.samples} samples"]
    lines += [_backfill_summary(connection, namespace) for namespace in exported]
    if without_history := recorded_series.slos_without_history(slos, exported):
        lines.append(f"skipped (no history available for these SLO types): {', '.join(without_history)}")
    if others := recorded_series.slos_of_other_namespaces(slos, exported):
        services = ", ".join(dict.fromkeys(f"{slo.service} ({slo.temporal_namespace})" for slo in others))
        lines.append(f"skipped (Temporal namespace not in this export): {services}")
    return "\n".join(
        [*lines, f"next: promtool tsdb create-blocks-from {PROMTOOL_OPTION} openmetrics {path} DATA-FOLDER"]
    )


def _backfill_summary(connection: Connection, namespace: str) -> str:
    pending, position = counters.backfill_progress(connection, namespace)
    if position is None:
        return f"{namespace}: no backfill yet; run temporal-slo exporter with --backfill"
    reached = f"{datetime.fromtimestamp(position / SECOND, UTC):%Y-%m-%d %H:%M}Z"
    return f"{namespace}: backfilled back to {reached}" + (f", {pending} runs pending" if pending else "")
