"""The command `temporal-slo history-export`: the ledger's past as a file that Prometheus can take in."""

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
from temporal_slo.exporter.history_export.counters import Part
from temporal_slo.exporter.history_export.openmetrics_file import BLOCKS, OPTION, Tally, Window, replaced
from temporal_slo.exporter.history_export.openmetrics_file import write as write_families
from temporal_slo.ledger import schema
from temporal_slo.ledger.opening import PROGRAM, open_engine, redacted_message
from temporal_slo.spec.bound import BoundSlo

LABEL: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
OURS: Final = frozenset({*names.WORKFLOWS_CLOSED.labels, *names.WORKFLOW_DURATION.labels, "le"})
MINUTE: Final = timedelta(minutes=1)
MILLISECOND: Final = timedelta(milliseconds=1)


def write(
    given: Mapping[str, str | None],
    labels: Sequence[str],
    environ: Mapping[str, str],
    *,
    clock: Callable[[], float] = time.time,
    slos: Sequence[BoundSlo] = (),
) -> str:
    """Write the file, and return what is to be told of it.

    Args:
        given: Options by name; None for those that were not given.
        labels: Of the target, as `name=value`.
        environ: The process's environment.
        clock: Unix time in seconds.
        slos: Of which the file has the series, too, that recording rules would have made.

    Raises:
        UsageError: An option is wrong, the file is there or cannot be written, or there is no past to write.
    """
    url = given["ledger"] or environ.get(f"{settings.PREFIX}LEDGER") or settings.DEFAULT_LEDGER
    path, target = Path(str(given["openmetrics"])), _labels(labels)
    step = settings.duration(str(given["step"]), "--step")
    if step % MINUTE:
        raise UsageError("--step", f"{format_duration(step)} is not whole minutes", "write for example 1m or 5m")
    since = settings.duration(given["since"], "--since") if given["since"] else None
    begin = 0 if since is None else int((clock() - since.total_seconds()) * 1000)
    with reading(url) as connection, replaced(path) as file:
        parts = list(_parts(connection, given["temporal_namespace"], target, begin, step // MILLISECOND))
        _refuse_strange(slos, parts)
        recorded = recorded_series.families(connection, parts, slos) if slos else ()
        tally = write_families(file, chain(counters.families(connection, parts), recorded))
        if not tally.samples:
            raise UsageError(OPTION, "the ledger has no past to write", "run temporal-slo exporter with --backfill")
        return _told(connection, parts, slos, path, tally)


@contextmanager
def reading(url: str) -> Iterator[Connection]:
    """Give a connection that sees the ledger as it is at one moment; an exporter may go on writing it.

    Raises:
        UsageError: There is no ledger, or it cannot be read, or is of another version.
    """
    remedy = "give the ledger of the exporter"
    _refuse_missing(url, remedy)
    engine = open_engine(url)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            else:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")  # noqa: PLW2901 - the same
            _check(connection)
            yield connection
    except DBAPIError as error:
        # Without the cause, whose text may have the password.
        raise UsageError("--ledger", f"cannot be read: {redacted_message(engine, error)}", remedy) from None
    finally:
        engine.dispose()


def _refuse_missing(url: str, remedy: str) -> None:
    """Refuse a SQLite file that is not there, or is empty: opening it would make a database of it."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Opening it tells, without the URL and so without its password.
        return
    if parsed.get_backend_name() != "sqlite":
        return
    path = parsed.database or ""
    if not Path(path).is_file():
        raise UsageError("--ledger", f"{path!r} is not a file", remedy)
    if not Path(path).stat().st_size:
        raise UsageError("--ledger", f"{path!r} is empty", remedy)


def _refuse_strange(slos: Sequence[BoundSlo], parts: Sequence[Part]) -> None:
    """Refuse specs none of which is of a namespace that is written: the file would lack all that they are given for."""
    if slos and len(recorded_series.elsewhere(slos, (part.namespace for part in parts))) == len(slos):
        there = ", ".join(repr(part.namespace) for part in parts) or "none"
        what = f"no spec is of a Temporal namespace that is written ({there})"
        raise UsageError("--spec", what, "correct temporal_namespace in the spec, or leave the option out")


def _check(connection: Connection) -> None:
    about = {row.key: row.value for row in connection.execute(select(schema.ledger))}
    if about.get("program") != PROGRAM or about.get("schema") != str(schema.VERSION):
        raise UsageError(
            "--ledger",
            f"is not one of schema {schema.VERSION}",
            "run temporal-slo exporter of this version on it once, which renews it",
        )


def _labels(given: Sequence[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not LABEL.fullmatch(name) or name in OURS or name in labels:
            what = f"{text!r} is no label of a target, or is there twice"
            raise UsageError("--label", what, "write for example job=temporal-slo")
        labels[name] = value
    return labels


def _parts(
    connection: Connection, namespace: str | None, target: Mapping[str, str], begin: int, step: int
) -> Iterator[Part]:
    begun = counters.begun(connection)
    if namespace is not None and namespace not in begun:
        raise UsageError("--temporal-namespace", f"the ledger knows no {namespace!r}", "name one that was watched")
    for name, lowest in sorted(begun.items()):
        if namespace in {None, name}:
            labels = {**target, names.NAMESPACE: name}
            yield Part(name, lowest, Window(begin, lowest // 1000, step), labels, counters.edges(connection, name))


def _told(connection: Connection, parts: Sequence[Part], slos: Sequence[BoundSlo], path: Path, tally: Tally) -> str:
    lines = [f"{path}: {tally.series} series, {tally.samples} samples"]
    for part in parts:
        waiting, reached = counters.unfinished(connection, part.namespace)
        if reached is None:
            lines.append(f"{part.namespace}: no backfill has begun; run temporal-slo exporter with --backfill")
            continue
        back = f"{datetime.fromtimestamp(reached / 1_000_000, UTC):%Y-%m-%d %H:%M}Z"
        lines.append(f"{part.namespace}: read back to {back}" + (f", {waiting} runs still wait" if waiting else ""))
    written = [part.namespace for part in parts]
    if missing := recorded_series.unknown(slos, written):
        lines.append(f"not in it, for nobody knows their past: {', '.join(missing)}")
    if others := recorded_series.elsewhere(slos, written):
        own = ", ".join(dict.fromkeys(f"{slo.service} ({slo.temporal_namespace})" for slo in others))
        lines.append(f"not in it, for their Temporal namespaces are not: {own}")
    return "\n".join([*lines, f"next: promtool tsdb create-blocks-from {BLOCKS} openmetrics {path} DATA-FOLDER"])
