"""What is read from the ledger's tables."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ARRAY,
    Column,
    Connection,
    RowMapping,
    Table,
    Text,
    bindparam,
    func,
    literal,
    select,
    tuple_,
)

from temporal_slo.ledger import schema
from temporal_slo.ledger.change import Gap, Position
from temporal_slo.ledger.state import Histogram, LongRun, Minutes, OpenRun, State
from temporal_slo.ledger.writes import RANKS
from temporal_slo.runs.counted import ClosedKey, FailureKey, RunningKey
from temporal_slo.runs.microseconds import MINUTE
from temporal_slo.runs.run import Run

CHUNK: Final = 500
"""Values in one `IN (…)`: below the limit of every store."""

Place = tuple[int, str]


class Waiting(NamedTuple):
    """A closed run that waits for its close event, and since when."""

    run: Run
    rank: int
    since: int

    @property
    def place(self) -> Place:
        """Where it stands among those of its rank."""
        return self.since, self.run.run_id


def load(connection: Connection, namespace: str, epoch: int) -> State:
    """Return all that is known of *namespace*, the totals as of *epoch*."""

    def rows(table: Table) -> Iterable[RowMapping]:
        query = select(table).where(table.c.namespace == namespace)
        query = query.where(table.c.epoch == epoch) if "epoch" in table.c else query
        return connection.execute(query).mappings()

    state = State()
    state.positions = {row["list"]: Position(row["lowest"], row["position"]) for row in rows(schema.edges)}
    state.gaps = tuple(Gap(row["low"], row["high"]) for row in rows(schema.gaps))
    for row in rows(schema.open_runs):
        key = RunningKey(row["workflow_type"], row["task_queue"])
        state.open[row["run_id"]] = OpenRun(key, row["due_time"], bool(row["paused"]))
    for row in rows(schema.long_runs):
        key = RunningKey(row["workflow_type"], row["task_queue"])
        state.long[row["run_id"]] = LongRun(key, row["due_time"], row["close_time"])
    for row in rows(schema.minute_totals):
        state.minutes[row["slo"]] = Minutes(row["observed"], row["overdue"])
    for row in rows(schema.closed_totals):
        closed = ClosedKey(row["workflow_type"], row["task_queue"], row["status"], row["outcome"])
        histogram = state.closed.setdefault(closed, Histogram())
        histogram.counts[row["bucket"]] += row["count"]
        histogram.duration += row["duration"]
    for row in rows(schema.started_totals):
        state.started[RunningKey(row["workflow_type"], row["task_queue"])] = row["count"]
    for row in rows(schema.failure_totals):
        state.failures[FailureKey(row["workflow_type"], row["status"], row["failure_type"])] = row["count"]
    state.others.update({row["name"]: row["count"] for row in rows(schema.other_totals)})
    waiting = select(func.count()).select_from(schema.pending).where(schema.pending.c.namespace == namespace)
    state.waiting = connection.scalar(waiting) or 0
    return state


def unseen(connection: Connection, namespace: str, run_ids: Sequence[str]) -> set[str]:
    """Return which of *run_ids* are of no closed run that is counted or pending."""
    table = schema.seen
    if connection.dialect.name == "postgresql":
        # Looked up one by one: what is not analysed yet it takes for small, and compares with every row.
        asked = func.unnest(bindparam("run_ids", type_=ARRAY(Text))).table_valued("asked", name="asked")
        found = select(table.c.run_id).where(table.c.namespace == namespace, table.c.run_id == asked.c.asked)
        query = select(found.correlate(asked).scalar_subquery()).select_from(asked)
        answers = connection.scalars(query, {"run_ids": list(run_ids)})
        return set(run_ids) - set(answers)
    known: set[str] = set()
    for chunk in chunks(run_ids):
        query = select(table.c.run_id).where(table.c.namespace == namespace, table.c.run_id.in_(chunk))
        known.update(connection.scalars(query))
    return set(run_ids) - known


def workflow_ids(connection: Connection, namespace: str, run_ids: Sequence[str]) -> dict[str, str]:
    """Return the workflow ids of those of *run_ids* that are open, by run id."""
    table, found = schema.open_runs, dict[str, str]()
    for chunk in chunks(run_ids):
        query = select(table.c.run_id, table.c.workflow_id)
        query = query.where(table.c.namespace == namespace, table.c.run_id.in_(chunk))
        found.update((row.run_id, row.workflow_id) for row in connection.execute(query))
    return found


def audited(connection: Connection, namespace: str, since: int, until: int) -> tuple[int, int]:
    """Return how many runs that closed in these whole minutes are counted or pending, and how many ids are known."""

    def total(what: Any, column: Column[Any], unit: int) -> int:  # noqa: ANN401 - what SQLAlchemy selects
        table = column.table
        slice_ = table.c.namespace == namespace, column >= since // unit, column < until // unit
        return connection.scalar(select(what).select_from(table).where(*slice_)) or 0

    minutes = schema.closed_minutes
    counted = total(func.sum(minutes.c.count), minutes.c.minute, MINUTE)
    pending = total(func.count(), schema.pending.c.close_time, 1)
    return counted + pending, total(func.count(), schema.seen.c.close_time, 1)


def waiting(connection: Connection, namespace: str, limit: int, passed: Mapping[int, Place]) -> list[Waiting]:
    """Return runs that wait for their close event: failures first, then those that wait the longest.

    Args:
        connection: To the ledger.
        namespace: Whose runs.
        limit: How many at most.
        passed: By rank, the place beyond which they are to be.
    """
    table, found = schema.pending, list[Waiting]()
    place, run = tuple_(table.c.inserted, table.c.run_id), [table.c[field.name] for field in fields(Run)]
    for rank in RANKS:
        query = select(*run, table.c.inserted).where(table.c.namespace == namespace, table.c.rank == rank)
        query = query.where(place > tuple_(*map(literal, passed[rank]))) if rank in passed else query
        rows = connection.execute(query.order_by(*place.clauses).limit(limit - len(found)))
        found += [Waiting(Run(*row[:-1]), rank, row[-1]) for row in rows]
        if len(found) == limit:
            break
    return found


def chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield *values* in parts that one query can name."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
