"""One call of a service: recorded, perhaps failed by a fault, and performed once per idempotency key."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final

from temporal_slo.reference.services import fault_rules
from temporal_slo.reference.services.books import Books, Db, savepoint
from temporal_slo.reference.services.fault_rules import NO_FAULTS, ActiveFault, Injected, Kind
from temporal_slo.reference.web.problems import Problem, ProblemError
from temporal_slo.reference.web.wire import Wire, rfc3339

CALLS_KEPT: Final = 100_000
"""Number of calls that the books list; older ones are only counted."""
KEYS_KEPT: Final = timedelta(days=7)
"""How long a key keeps its response, which is longer than any activity is retried."""
PRUNE_INTERVAL: Final = 1000

Effect = Callable[[Db], Wire]
"""Performs a call in the books and returns its response; raises ProblemError to refuse."""

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time now."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one endpoint.

    Attributes:
        method: HTTP method.
        endpoint: Path below /api/v1 without its parameters.
        subjects: Ids of reservation, payment reference, booking or workflow that it concerns.
        user_id: User that it names; empty for none.
        key: Idempotency key; None if it has none.
        content: Path and body; calls with the same key must not differ in it.
    """

    method: str
    endpoint: str
    subjects: tuple[str, ...]
    user_id: str
    key: str | None
    content: str

    @property
    def fingerprint(self) -> str:
        """Hash of the content."""
        return hashlib.sha256(self.content.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to a call.

    Attributes:
        status: HTTP status.
        body: JSON text.
        faults: Faults of the call.
    """

    status: int
    body: str
    faults: Injected = NO_FAULTS


class RecordedCall(Wire):
    """A call, as `GET /calls` lists it.

    Attributes:
        seq: Its number; later calls have higher ones.
        user_id: User that it concerns; empty if the services do not know.
        key: Idempotency key; None if it had none.
        attempt: How many calls had this key so far; 1 without a key.
    """

    seq: int
    method: str
    endpoint: str
    user_id: str
    key: str | None = None
    attempt: int
    at: str


class RecordedCalls(Wire):
    """A page of calls; the next one starts after the last `seq`."""

    calls: list[RecordedCall]


class Performer:
    """Performs calls.

    Args:
        books: The books.
        clock: Returns the time now.
    """

    def __init__(self, books: Books, clock: Clock = utc_now) -> None:
        self._books = books
        self._clock = clock
        self._released: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._closing = False

    async def perform(self, call: Call, effect: Effect) -> Answer:
        """Perform a call: at most one effect per idempotency key, and the same response each time.

        Record, effect and response are one transaction, unless a fault delays the effect.
        """
        begun = await self._books.run(lambda db: self._begin(db, call, effect))
        if isinstance(begun, Answer):
            return begun
        delay = begun.of(Kind.LATENCY)
        if delay:
            await self.wait(delay)
        if self._closing:
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, "the services are shutting down")
        return await self._books.run(lambda db: _settle(db, call, effect, begun, self._at()))

    async def wait(self, fault: ActiveFault) -> None:
        """Wait as long as a fault says, or until its rule is released."""
        if self._closing:
            return
        try:
            async with asyncio.timeout(fault.rule.seconds):
                await self._released[fault.name].wait()
        except TimeoutError:
            return

    def release(self, names: Iterable[str]) -> None:
        """Let the calls go on that wait for these fault rules."""
        for name in names:
            self._released.pop(name, asyncio.Event()).set()

    def close(self) -> None:
        """End all waits: delayed calls have no effect. A shutdown would otherwise wait for them."""
        self._closing = True
        self.release(list(self._released))

    def _begin(self, db: Db, call: Call, effect: Effect) -> Answer | Injected:
        at = self._at()
        attempt, is_same = _register(db, call, at)
        user_id = _owner(db, call)
        _record(db, call, user_id, attempt, at)
        if not is_same:
            return _problem(HTTPStatus.UNPROCESSABLE_ENTITY, "this X-Activity-ID was used with another path or body")
        faults = fault_rules.inject(db, call.endpoint, user_id)
        return faults if faults.of(Kind.LATENCY) else _settle(db, call, effect, faults, at)

    def _at(self) -> str:
        return rfc3339(self._clock())


def listed(db: Db, after: int, limit: int) -> RecordedCalls:
    """Return the calls after a number, oldest first."""
    rows = db.execute("SELECT * FROM calls WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
    return RecordedCalls(calls=[RecordedCall(**row) for row in rows])


def _register(db: Db, call: Call, at: str) -> tuple[int, bool]:
    """Count the attempts of a key, and return whether all of them are the same call."""
    if call.key is None or call.method == "GET":
        return 1, True
    row = db.execute(
        "INSERT INTO keys (key, fingerprint, at) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET attempts = attempts + 1 RETURNING attempts, fingerprint",
        (call.key, call.fingerprint, at),
    ).fetchone()
    return row["attempts"], row["fingerprint"] == call.fingerprint


def _owner(db: Db, call: Call) -> str:
    """Return the user of a call. The first call that names the user of a subject settles whose it is."""
    if call.user_id:
        claims = [(subject, call.user_id) for subject in call.subjects]
        db.executemany("INSERT OR IGNORE INTO owners VALUES (?, ?)", claims)
        return call.user_id
    for subject in call.subjects:
        row = db.execute("SELECT user_id FROM owners WHERE subject = ?", (subject,)).fetchone()
        if row:
            return str(row["user_id"])
    return ""


def _record(db: Db, call: Call, user_id: str, attempt: int, at: str) -> None:
    seq = db.execute(
        "INSERT INTO calls (method, endpoint, user_id, key, attempt, at) VALUES (?, ?, ?, ?, ?, ?)",
        (call.method, call.endpoint, user_id, call.key, attempt, at),
    ).lastrowid
    db.execute("INSERT INTO call_counts VALUES (?, 1) ON CONFLICT DO UPDATE SET calls = calls + 1", (call.endpoint,))
    if seq and seq % PRUNE_INTERVAL == 0:
        _prune(db, seq, at)


def _prune(db: Db, seq: int, at: str) -> None:
    oldest = rfc3339(datetime.fromisoformat(at) - KEYS_KEPT)
    db.execute("DELETE FROM calls WHERE seq <= ?", (seq - CALLS_KEPT,))
    # At most twice as many as were added since, so that no call waits for a long deletion.
    db.execute(
        "DELETE FROM keys WHERE key IN (SELECT key FROM keys WHERE at < ? LIMIT ?)", (oldest, 2 * PRUNE_INTERVAL)
    )


def _settle(db: Db, call: Call, effect: Effect, faults: Injected, at: str) -> Answer:
    """Return the response of a call: of a fault, the stored one, or that of its effect."""
    if faults.of(Kind.OUTAGE):
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, f"{call.endpoint} is down")
    if faults.of(Kind.ERROR):
        return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"{call.endpoint} failed")
    stored = _stored(db, call)
    if stored:
        return Answer(*stored, faults)
    answer = _final_fault(call, faults) or _performed(db, effect, faults)
    if call.key is not None:
        db.execute(
            "UPDATE keys SET status = ?, body = ?, at = ? WHERE key = ?", (answer.status, answer.body, at, call.key)
        )
    return answer


def _stored(db: Db, call: Call) -> tuple[int, str] | None:
    if call.key is None or call.method == "GET":
        return None
    row = db.execute("SELECT status, body FROM keys WHERE key = ? AND status IS NOT NULL", (call.key,)).fetchone()
    return (row["status"], row["body"]) if row else None


def _final_fault(call: Call, faults: Injected) -> Answer | None:
    if faults.of(Kind.REJECT):
        return _problem(HTTPStatus.CONFLICT, f"{call.endpoint} refused the call")
    if faults.of(Kind.DECLINE):
        return _problem(HTTPStatus.PAYMENT_REQUIRED, "card declined")
    return None


def _performed(db: Db, effect: Effect, faults: Injected) -> Answer:
    try:
        with savepoint(db):
            return Answer(HTTPStatus.OK, effect(db).json_text(), faults)
    except ProblemError as error:
        return Answer(error.problem.status, error.problem.json_text(), faults)


def _problem(status: HTTPStatus, detail: str) -> Answer:
    return Answer(status, Problem.of(status, detail).json_text())
