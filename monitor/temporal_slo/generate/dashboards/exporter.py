"""The monitor itself: does it see everything, in time, at a price that Temporal can bear."""

from typing import Final

from temporal_slo import names
from temporal_slo.generate.dashboards.common import (
    BAD,
    DATASOURCE,
    GOOD,
    HIGH,
    NO_YES,
    NONE_WANTED,
    RANGE,
    TRUE_IS_BAD,
    UP_STEPS,
    WARN,
    YES_NO,
    Setting,
    by_legend,
    column,
    increase,
    job_of,
    namespace_of,
    now,
    of,
    of_target,
    peak,
    rate,
)
from temporal_slo.generate.kit import Board, Column, Query, Row, Step, stat, state_timeline, table, timeseries
from temporal_slo.generate.kit.parts import Panel
from temporal_slo.names import Family

NS: Final = names.NAMESPACE
LEGEND: Final = by_legend(NS)
LOST: Final = (
    (names.EXPORTER_LATE_ROWS, "late"),
    (names.EXPORTER_VANISHED_RUNS, "vanished"),
    (names.EXPORTER_RECONCILED_RUNS, "found by listing"),
    (names.EXPORTER_AUDIT_REPAIRED_RUNS, "found by audit"),
    (names.EXPORTER_MISSING_CLOSE_EVENTS, "without close event"),
    (names.EXPORTER_UNKNOWN_STATUS_ROWS, "of unknown status"),
)
BOUNDED: Final = (
    (names.EXPORTER_BOUNDED_FAILURE_TYPES, "failure types"),
    (names.EXPORTER_BOUNDED_TASK_PROBLEMS, "task problems"),
    (names.EXPORTER_BOUNDED_RETRYING_ACTIVITIES, "retrying activities"),
    (names.EXPORTER_TASK_QUEUES_OVER_LIMIT, "task queues left out"),
    (names.EXPORTER_SCHEDULES_OVER_LIMIT, "schedules left out"),
    (names.EXPORTER_NAMESPACES_OVER_LIMIT, "namespaces left out"),
)


def board(_: Setting) -> Board:
    """Return the dashboard."""
    rows = (
        Row("Now", _now()),
        Row("Coverage", (_table(), _lag(), _uncovered(), _pending(), _drift(), _lost())),
        Row("Requests to Temporal", (_requests(), _failed(), _budget(), _waits(), _polls())),
        Row("Sources beside the mirror", (_sources(), _source_age())),
        Row("Configuration and limits", (_config(), _bounded())),
        Row("Cost", (_scrape(), _samples(), _process())),
    )
    return Board(
        names.DASHBOARD_EXPORTER,
        "Temporal SLO / Exporter",
        "Whether the monitor itself is well: is it up, how far behind, does it agree with Temporal, what does it cost.",
        rows,
        (DATASOURCE, job_of(names.EXPORTER_UP.sample), namespace_of(names.EXPORTER_UP)),
    )


def _now() -> tuple[Panel, ...]:
    age = f"time() - min({peak(names.EXPORTER_LAST_SUCCESS, NS)})"
    return (
        stat(
            "Up",
            "Whether the last poll of every namespace was complete.",
            now(f"min({of(names.EXPORTER_UP)})"),
            unit="none",
            steps=UP_STEPS,
            words=YES_NO,
            filled=True,
        ),
        stat(
            "Read last ago",
            "How long ago a poll was complete, of the namespace where that is the longest.",
            now(age),
            unit="s",
            decimals=0,
            steps=(Step(GOOD), Step(WARN, 60), Step(BAD, 180)),
        ),
        stat(
            "Uncovered",
            "Span of close times that is still to be read.",
            now(f"max({of(names.EXPORTER_GAP)})"),
            unit="s",
            decimals=0,
            steps=(Step(GOOD), Step(WARN, 1), Step(BAD, 900)),
        ),
        stat(
            "Audit drift",
            "Closed runs that Temporal counted beyond ours; nothing before the first audit.",
            now(f"max({of(names.EXPORTER_AUDIT_DRIFT)})"),
            unit="locale",
            decimals=0,
            steps=NONE_WANTED,
            empty="not audited yet",
        ),
        stat(
            "Specs are good",
            "Whether the SLO specs were good when they were last read.",
            now(f"min({of(names.EXPORTER_RELOAD_SUCCESSFUL)})"),
            unit="none",
            steps=UP_STEPS,
            words=YES_NO,
        ),
        stat(
            "Outcomes stopped",
            "Whether business outcomes are no longer read, because results cannot be decoded.",
            now(f"max({of(names.EXPORTER_OUTCOMES_STOPPED)})"),
            unit="none",
            steps=TRUE_IS_BAD,
            words=NO_YES,
        ),
    )


def _table() -> Panel:
    exprs = (
        peak(names.EXPORTER_UP, NS),
        f"time() - {peak(names.EXPORTER_LAST_SUCCESS, NS)}",
        f"min by ({NS}) ({of(names.EXPORTER_GAP)})",
        f"min by ({NS}) ({of(names.EXPORTER_PENDING_RUNS)})",
        f"min by ({NS}) ({of(names.EXPORTER_AUDIT_DRIFT)})",
        peak(names.EXPORTER_POLL_DURATION, NS),
        increase(names.EXPORTER_VISIBILITY_REQUESTS, NS, window=RANGE),
    )
    columns = (
        Column(NS, "Temporal namespace"),
        Column("A", "Up", steps=UP_STEPS, words=YES_NO),
        Column("B", "Read last ago", "s", 0, (Step("text"), Step(WARN, 60), Step(BAD, 180))),
        Column("C", "Uncovered", "s", 0, (Step("text"), Step(WARN, 1), Step(BAD, 900))),
        Column("D", "Waiting for close events", "locale", 0),
        Column("E", "Audit drift", "locale", 0, (Step("text"), Step(WARN, 1))),
        Column("F", "Last poll took", "s", 2),
        Column("G", "Visibility requests", "locale", 0),
    )
    return table(
        "Namespaces",
        "Each Temporal namespace that is watched.",
        *map(column, exprs),
        columns=columns,
        size=(24, 6),
        sorted_by=("B", True),
    )


def _lag() -> Panel:
    return timeseries(
        "Behind",
        "Time since the last complete poll, since the newest close that was read, and since what was audited.",
        Query(f"time() - {peak(names.EXPORTER_LAST_SUCCESS, NS)}", f"{LEGEND} polled"),
        Query(f"time() - {peak(names.EXPORTER_WATERMARK, NS)}", f"{LEGEND} newest close"),
        Query(f"time() - {peak(names.EXPORTER_AUDITED_UNTIL, NS)}", f"{LEGEND} audited"),
        unit="s",
        size=(8, 7),
    )


def _uncovered() -> Panel:
    return timeseries(
        "Uncovered over time",
        "Span of close times that was passed over and is still to be read.",
        Query(f"min by ({NS}) ({of(names.EXPORTER_GAP)})", LEGEND),
        unit="s",
        size=(8, 7),
    )


def _pending() -> Panel:
    return timeseries(
        "Waiting for close events",
        "Runs that are read and not yet counted.",
        Query(f"min by ({NS}) ({of(names.EXPORTER_PENDING_RUNS)})", LEGEND),
        unit="short",
        size=(8, 7),
    )


def _drift() -> Panel:
    return timeseries(
        "Audit",
        "Closed runs that Temporal counted beyond ours in the last half hour audited. They are read again.",
        Query(peak(names.EXPORTER_AUDIT_DRIFT, NS), LEGEND),
        unit="short",
        low=None,
        size=(12, 7),
    )


def _lost() -> Panel:
    queries = (Query(increase(family, NS), f"{LEGEND} {word}") for family, word in LOST)
    return timeseries(
        "Odd runs",
        "Runs that came late, vanished, or were found only by a second look: rare, and counted rightly all the same.",
        *queries,
        unit="short",
        bars=True,
        size=(12, 7),
    )


def _requests() -> Panel:
    queries = (
        Query(rate(names.EXPORTER_VISIBILITY_REQUESTS, names.API), by_legend(names.API)),
        Query(rate(names.EXPORTER_HISTORY_REQUESTS), "close events"),
        Query(rate(names.EXPORTER_TASK_QUEUE_REQUESTS, names.API), by_legend(names.API)),
        Query(rate(names.EXPORTER_DESCRIBE_REQUESTS, names.API), by_legend(names.API)),
    )
    return timeseries(
        "Requests",
        "Requests to Temporal by API, a second. Visibility allows ten a second and namespace, shared with the Web UI.",
        *queries,
        unit="reqps",
        stacked=True,
        size=(8, 7),
    )


def _failed() -> Panel:
    families = (names.EXPORTER_VISIBILITY_REQUESTS, names.EXPORTER_HISTORY_REQUESTS, names.EXPORTER_TASK_QUEUE_REQUESTS)
    queries = (
        Query(rate(family, names.CODE), f"{word} {by_legend(names.CODE)}")
        for family, word in zip(families, ("visibility", "close events", "task queues"), strict=True)
    )
    return timeseries(
        "Answers",
        "Answers of Temporal by gRPC code; RESOURCE_EXHAUSTED says that we or others ask too much.",
        *queries,
        unit="reqps",
        size=(8, 7),
    )


def _budget() -> Panel:
    return timeseries(
        "Budgets",
        "Requests a second that each budget allows.",
        Query(peak(names.EXPORTER_RATE_LIMIT, names.LIMITER), by_legend(names.LIMITER)),
        unit="reqps",
        size=(8, 7),
    )


def _waits() -> Panel:
    return timeseries(
        "Waiting for the budget",
        "Share of the time that requests waited for their turn. Near 1 a budget is what holds the exporter up.",
        Query(rate(names.EXPORTER_RATE_LIMIT_WAIT, NS, names.LIMITER), by_legend(NS, names.LIMITER)),
        unit="percentunit",
    )


def _polls() -> Panel:
    return timeseries(
        "Polls take", "How long the last poll took.", Query(peak(names.EXPORTER_POLL_DURATION, NS), LEGEND), unit="s"
    )


def _sources() -> Panel:
    return state_timeline(
        "Sources",
        "Whether each source beside the mirror was last read whole.",
        Query(peak(names.EXPORTER_SOURCE_UP, NS, names.SOURCE), by_legend(NS, names.SOURCE)),
        words=YES_NO,
        size=(12, 8),
    )


def _source_age() -> Panel:
    return timeseries(
        "Sources were read",
        "How long ago each source was read whole, and how long its last reading took.",
        Query(
            f"time() - {peak(names.EXPORTER_SOURCE_LAST_SUCCESS, NS, names.SOURCE)}",
            f"{by_legend(NS, names.SOURCE)} ago",
        ),
        Query(peak(names.EXPORTER_SOURCE_DURATION, NS, names.SOURCE), f"{by_legend(NS, names.SOURCE)} took"),
        unit="s",
    )


def _config() -> Panel:
    def age(family: Family) -> str:
        return f"time() - max by (job) ({of(family)})"

    return timeseries(
        "Read anew",
        "How long ago good specs were last read, and certificates and keys taken into use. A fall is a change.",
        Query(age(names.EXPORTER_RELOAD_TIMESTAMP), "{{job}} specs"),
        Query(age(names.EXPORTER_CREDENTIALS_TIMESTAMP), "{{job}} credentials"),
        unit="s",
    )


def _bounded() -> Panel:
    queries = (
        Query(f"max({of(family)})" if family.type == "gauge" else f"sum(increase({of(family)}[{RANGE}]))", word)
        for family, word in BOUNDED
    )
    return timeseries(
        "Past a limit",
        "What is counted as `other`, or not watched, because there is too much of it.",
        *queries,
        unit="short",
    )


def _scrape() -> Panel:
    return timeseries(
        "Scrapes take",
        "How long Prometheus took to scrape the exporter.",
        Query(of_target("scrape_duration_seconds"), "{{job}} {{instance}}"),
        unit="s",
        size=(8, 7),
    )


def _samples() -> Panel:
    return timeseries(
        "Series",
        "Samples in a scrape: what the exporter costs Prometheus.",
        Query(of_target("scrape_samples_scraped"), "{{job}} {{instance}}"),
        unit="short",
        size=(8, 7),
        steps=(Step(GOOD), Step(HIGH, 10000)),
    )


def _process() -> Panel:
    closed = increase(names.WORKFLOWS_CLOSED, NS, window=RANGE)
    return timeseries(
        "Runs counted",
        "Closed runs that were counted within the time range up to each point.",
        Query(closed, LEGEND),
        unit="short",
        size=(8, 7),
    )
