"""Delivery of Paystack events to a webhook: signed, and repeated until the receiver answers."""

import asyncio
import logging
import sqlite3
from typing import Final

import httpx

from temporal_slo.reference.services.books import Books, Db
from temporal_slo.reference.web.paystack import SIGNATURE, sign

TIMEOUT: Final = 5.0
RETRY_INITIAL: Final = 0.2
RETRY_MAXIMUM: Final = 10.0
_BATCH: Final = 20

_log = logging.getLogger(__name__)


class Webhook:
    """Delivers the events that wait in the books, also those of before a restart. There is no repr: it holds a secret.

    Args:
        books: The books.
        url: Where to send events.
        secret: Key of the signatures.
    """

    def __init__(self, books: Books, url: str, secret: str) -> None:
        self._books = books
        self._url = url
        self._secret = secret
        self._waiting = asyncio.Event()
        self._error = ""

    def notify(self) -> None:
        """Deliver now: there is a new event."""
        self._waiting.set()

    async def run(self) -> None:
        """Deliver events until cancelled."""
        async with httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False) as http:
            pause = RETRY_INITIAL
            while True:
                self._waiting.clear()
                left = await self._deliver_all(http)
                pause = min(2 * pause, RETRY_MAXIMUM) if left else RETRY_INITIAL
                await self._wait(pause if left else None)

    async def _wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._waiting.wait()
        except TimeoutError:
            return

    async def _deliver_all(self, http: httpx.AsyncClient) -> bool:
        """Deliver each event once, and return whether one must be repeated."""
        after, left = 0, False
        try:
            while events := await self._books.run(lambda db, after=after: _events(db, after)):  # type: ignore[misc] # a default
                done = await asyncio.gather(*(self._deliver(http, event) for _, event in events))
                delivered = [(seq,) for (seq, _), is_done in zip(events, done, strict=True) if is_done]
                await self._books.run(lambda db, seqs=delivered: _forget(db, seqs))  # type: ignore[misc] # a default
                after, left = events[-1][0], left or not all(done)
        except sqlite3.Error as error:
            self._log_change(f"the books cannot be read: {error}")
            return True
        return left

    async def _deliver(self, http: httpx.AsyncClient, event: str) -> bool:
        body = event.encode()
        headers = {"content-type": "application/json", SIGNATURE: sign(self._secret, body)}
        try:
            response = await http.post(self._url, content=body, headers=headers)
        except httpx.HTTPError as error:
            self._log_change(f"no response: {type(error).__name__}")
            return False
        if response.is_success or response.is_client_error:
            self._log_change(f"event refused with status {response.status_code}" if response.is_client_error else "")
            return True
        self._log_change(f"status {response.status_code}")
        return False

    def _log_change(self, error: str) -> None:
        # Events are repeated every few seconds: only a new error is logged.
        if error and error != self._error:
            _log.warning("webhook: %s", error)
        self._error = error


def _events(db: Db, after: int) -> list[tuple[int, str]]:
    rows = db.execute("SELECT seq, event FROM deliveries WHERE seq > ? ORDER BY seq LIMIT ?", (after, _BATCH))
    return [(row["seq"], row["event"]) for row in rows]


def _forget(db: Db, seqs: list[tuple[int]]) -> None:
    db.executemany("DELETE FROM deliveries WHERE seq = ?", seqs)
