"""What to do about each alert, as `alerts/README.md` has it."""

from typing import Final, NamedTuple

from temporal_slo import names

HEAD: Final = """\
# Alerts

Made by `temporal-slo generate`; do not edit. One runbook for each alert; `severity: page` wakes somebody, `ticket` can
wait for the morning. Budget alerts carry `executions_url` and `executions_command`: the runs that spent the budget.

"""


class Runbook(NamedTuple):
    """What somebody who is woken needs to know.

    Attributes:
        checks: The first three things to look at.
    """

    meaning: str
    impact: str
    checks: tuple[str, str, str]
    mitigation: str


RUNBOOKS: Final = {
    names.ALERT_BURN: Runbook(
        "So many events are bad that the error budget of the period is spent much sooner than the period ends. "
        "`tier`, `long` and `short` tell how fast: both windows are above the tier's burn rate.",
        "Customers are let down now: what they asked for fails, or takes too long.",
        (
            "`executions_url`: which runs failed, and of what? `temporal_slo_workflow_failures_total` has the types.",
            "What changed when it began: a deployment of workers, a dependency, a certificate?",
            "Do tasks wait (`temporal_slo_task_queue_backlog`), or are runs stuck?",
        ),
        "Undo what changed. If a dependency is down, stop taking what cannot be done; failed runs can be reset later.",
    ),
    names.ALERT_EXHAUSTED: Runbook(
        "More events of the period were bad than the objective allows.",
        "The promise of this period is broken, however well the rest of it goes.",
        (
            "When was it spent: at once, or bit by bit? See `slo:current_burn_rate:ratio`.",
            "Which failure types spent it (`temporal_slo_workflow_failures_total`)?",
            "Is the objective still what customers need?",
        ),
        "Follow the error budget policy of the owner: reliability before features until the period has recovered.",
    ),
    "TemporalSloExporterDown": Runbook(
        "Prometheus has no series of the exporter for this Temporal namespace.",
        "Nobody sees promises break: the budget alerts are blind.",
        (
            "Does the exporter run? Its log ends with the reason if it stopped.",
            "Is it scraped: Prometheus' targets page, the network between them?",
            "Does it watch the namespace: `/debug/poll`, `temporal_slo_exporter_namespaces`?",
        ),
        "Start it again. It reads what closed meanwhile; nothing is lost.",
    ),
    "TemporalSloNamespaceUnreachable": Runbook(
        "The exporter runs, but its polls of the Temporal namespace fail; or it ends before its first one, again and "
        "again.",
        "Figures are old, and budget alerts with them.",
        (
            "`/readyz` tells the reason; is it there at all, or restarted over and over (killed for its memory)?",
            "Does Temporal answer others: the Web UI, `temporal workflow list`?",
            "Were credentials changed (`temporal_slo_exporter_credentials_last_reload_successful`)?",
        ),
        "Mend the connection. The exporter goes on by itself.",
    ),
    "TemporalSloExporterStale": Runbook(
        "The exporter runs and says that all is well, but its last complete poll of the Temporal namespace was too "
        "long ago.",
        "Figures are old, and budget alerts with them.",
        (
            "Are the clocks of exporter and Prometheus right?",
            "`/debug/poll`: what does the poll wait for?",
            "The exporter's log: does anything come at all?",
        ),
        "Restart the exporter, and keep its log. It reads what closed meanwhile; nothing is lost.",
    ),
    "TemporalSloSourceStale": Runbook(
        "What the exporter reads beside closed runs, `source`, could not be read for a while: its figures are the last "
        "good ones, and stand still.",
        "Alerts on task queues, stuck runs, schedules or the month neither begin nor end.",
        (
            "`/debug/poll` and the exporter's log say what Temporal, or the ledger, answers.",
            "Was a permission taken away, or a limit of the Temporal namespace reached?",
            "Is it one source (`temporal_slo_exporter_source_up`), or all of them?",
        ),
        "Grant what is missing. A source that the server does not offer is switched off with `--sources`.",
    ),
    "TemporalSloUncovered": Runbook(
        "The exporter catches up on close times that it passed over, and does not get to the end.",
        "Counts are too low until it has; nothing is lost.",
        (
            "Was it away, or does its budget hold it up (`temporal_slo_exporter_rate_limit_wait_seconds_total`)?",
            "Does Temporal refuse requests (`temporal_slo_exporter_visibility_requests_total` by code)?",
            "How long does a poll take (`temporal_slo_exporter_poll_duration_seconds`)?",
        ),
        "Raise `--visibility-rate`, if the namespace's limit leaves room.",
    ),
    "TemporalSloAuditDrift": Runbook(
        "Temporal's own count of closed runs was higher than the exporter's, and stayed so after reading them again.",
        "Budgets are reckoned with too few events.",
        (
            "`/debug/poll`: how many were repaired since?",
            "Did an index of visibility lag by more than three minutes?",
            "Does a second exporter share the ledger, or was it restored?",
        ),
        "What is missing is read again by itself; if drift stays, begin with a new ledger and `--backfill`.",
    ),
    "TemporalSloSpecNotReloaded": Runbook(
        "The spec files changed, and what they are now is refused.",
        "Promises are measured by the older spec.",
        (
            "`temporal-slo validate` tells every mistake by file and line.",
            "Is the change whole: all files of the mounted folder?",
            "The exporter's log has the same lines.",
        ),
        "Correct the spec; it is read again within seconds.",
    ),
    "TemporalSloUnknownOutcomes": Runbook(
        "Results of completed runs could not be read for their business outcome; those runs are left out of the SLI.",
        "A failure that looks completed to Temporal is not seen.",
        (
            "Did the result's fields change? `outcome.from` in the spec must find them.",
            "Are results encrypted, and is `--data-converter` or `--codec-endpoint` that of the workers?",
            "`temporal_slo_exporter_outcomes_stopped` is 1 if too many could not be decoded.",
        ),
        "Correct the spec or the converter and restart the exporter.",
    ),
    "TemporalSloNoPollers": Runbook(
        "Tasks wait in the queue, and no worker has asked for one in the last minutes.",
        "Workflows or activities of this queue stand still.",
        (
            "Do the workers run, and with this task queue and Temporal namespace?",
            "Can they reach Temporal: their logs, certificates, network?",
            "Was the queue renamed, so that starters and workers differ?",
        ),
        "Start workers. What waits goes on by itself.",
    ),
    "TemporalSloBacklogAge": Runbook(
        "Tasks are added faster than workers take them.",
        "Everything on this queue is late by that age.",
        (
            "Are there enough workers (`temporal_slo_task_queue_pollers`), and do they have free slots?",
            "`temporal_slo_task_queue_added_tasks_per_second` against `…_dispatched_…`: more work, or slower workers?",
            "Does a slow dependency hold activity slots?",
        ),
        "Add workers or slots; stop what floods the queue.",
    ),
    "TemporalSloRunsOverdue": Runbook(
        "Runs are open for longer than an SLO allows.",
        "Their customers wait, and the minutes count against the budget.",
        (
            "Which runs: list the open ones of the type, oldest first.",
            "What do they wait for: pending activities, a signal, a timer?",
            "Are they stuck (`temporal_slo_workflows_with_task_problems`)?",
        ),
        "Bring about what they wait for, or end them and do their work by hand.",
    ),
    "TemporalSloStuckTasks": Runbook(
        "Workflow tasks of these runs fail again and again: a bug, or code that no longer fits their history.",
        "The runs stand still until a worker can go on with them.",
        (
            "`cause` NonDeterministicError: was a worker deployed that changes running workflows?",
            "The workers' logs have the error with its trace.",
            "Do all runs of the type have it, or only old ones?",
        ),
        "Roll the workers back. The runs go on by themselves; reset only what cannot.",
    ),
    "TemporalSloRetryStorm": Runbook(
        "Activities of open runs have failed more than ten times and are tried again.",
        "Their runs do not get on, and the dependency gets load that does nothing.",
        (
            "What is the last failure: `temporal workflow describe` of one of the runs?",
            "Is the dependency down, or is the request itself wrong and will never work?",
            "Does the retry policy have an end?",
        ),
        "Mend the dependency; make failures that will never work non-retryable.",
    ),
    "TemporalSloScheduleOverdue": Runbook(
        "A schedule's action was due and did not happen.",
        "What the schedule does is late.",
        (
            "`temporal schedule describe`: does it wait for the run before it?",
            "Do other schedules act? If none does, the server's own workers for schedules are away.",
            "Is it limited by its overlap policy (`temporal_slo_schedule_buffered_actions`)?",
        ),
        "Trigger it by hand; end the run that it waits for.",
    ),
    "TemporalSloScheduleMissed": Runbook(
        "Actions lay further back than the schedule's catch-up window when it could act again.",
        "They never happen by themselves.",
        (
            "Which ones: `temporal schedule describe`, and when was the server away?",
            "Is the catch-up window as long as an outage may be?",
            "Did anything else miss them: downstream data?",
        ),
        "`temporal schedule backfill` for the time that was missed; a longer catch-up window.",
    ),
    "TemporalSloServerErrors": Runbook(
        "Temporal's frontend fails requests by its own fault: not what callers did wrong, and not limits.",
        "Workflows cannot start or go on. Those that never started are in no budget.",
        (
            "Which operations and services: `service_errors` by `operation` and `service_name`?",
            "Is the database well (`persistence_error_with_type`, `persistence_latency`)?",
            "Do history shards move (`sharditem_created_count`), or services restart (`restarts`)?",
        ),
        "Mend the database or roll the server back. Clients retry by themselves for a while.",
    ),
    "TemporalSloPersistenceSlow": Runbook(
        "The slowest hundredth of requests to Temporal's database takes longer than its limit.",
        "All that workflows do is late, and time-outs come near.",
        (
            "Which operations: `persistence_latency` by `operation`?",
            "The database itself: load, locks, disk, connections?",
            "Did load rise: `persistence_requests`, and by whom?",
        ),
        "Take load off, or give the database more. Lower `--visibility-rate` if visibility shares the database.",
    ),
    "TemporalSloVisibilityLag": Runbook(
        "Closed runs show late in visibility, which the exporter reads.",
        "Budgets and their alerts are late by as much; nothing is lost.",
        (
            "Is the visibility store well (`visibility_persistence_latency`)?",
            "Do its tasks fail (`task_errors` of `VisibilityTask…`)?",
            "Are all tasks late, or those of visibility alone: `task_latency_queue` by `operation`?",
        ),
        "Mend the visibility store. The exporter finds what shows late by itself.",
    ),
}


def page() -> str:
    """Return the page of all runbooks as Markdown."""
    return HEAD + "\n".join(_section(name, book) for name, book in RUNBOOKS.items())


def _section(name: str, book: Runbook) -> str:
    checks = "".join(f"{number}. {check}\n" for number, check in enumerate(book.checks, 1))
    return (
        f"## {name}\n\n{book.meaning}\n\n**Impact.** {book.impact}\n\n**First checks.**\n\n{checks}\n"
        f"**Mitigation.** {book.mitigation}\n"
    )
