"""The page size of list requests: it halves while pages cannot be received, and grows back."""

import re
from typing import Final

from temporalio.service import RPCStatusCode

from temporal_slo.errors import TemporalRequestError, UnreadableResponseError
from temporal_slo.names.values import TOO_LARGE, UNDECODABLE

LARGEST: Final = 1000
"""The largest page that a server returns, whatever larger size is requested."""

PATIENCE_MAX: Final = 64
"""Most pages of one size that must be received before a larger one is requested."""

# The SDK: OUT_OF_RANGE for a plain message, RESOURCE_EXHAUSTED for a compressed one. Servers and proxies in Go, C++ and
# Java: RESOURCE_EXHAUSTED, which is also the code of a rate limit, so only the message says what happened.
_TOO_LARGE: Final = re.compile(
    r"larger than max|message length too large|exceeded while decompressing|exceeds maximum size"
    r"|message (is )?too large",
    re.IGNORECASE,
)
_UNDECODABLE: Final = re.compile(r"utf-?8|marshal|deserializ|decod|search attribute", re.IGNORECASE)
_UNDECODABLE_CODES: Final = frozenset({RPCStatusCode.INTERNAL, RPCStatusCode.UNKNOWN, RPCStatusCode.DATA_LOSS})


def unreadable_reason(code: RPCStatusCode, message: str) -> str | None:
    """Return why the content of a response could not be received; None for every other error.

    Args:
        code: gRPC code of the error.
        message: Its message.
    """
    if _TOO_LARGE.search(message):
        return TOO_LARGE
    # A server fails a whole page for one row that it cannot encode.
    return UNDECODABLE if code in _UNDECODABLE_CODES and _UNDECODABLE.search(message) else None


class PageSize:
    """Limits the rows of the pages of one kind of list.

    It halves when a page cannot be received, and when there is no response in time. It doubles after some pages of its
    size were received: the more pages, the more often a larger one could not be.

    Attributes:
        limit: Maximum rows of the next page.
    """

    def __init__(self) -> None:
        self.limit = LARGEST
        self._patience = 1
        self._at_limit = 0
        self._any_received = self._grown = False

    def failed(self, rows: int, error: TemporalRequestError) -> bool:
        """Reduce the limit if *error* may be due to the size of a page; return whether to request a smaller one now.

        Args:
            rows: Rows that were requested.
            error: Why there is no page.
        """
        unreadable = isinstance(error, UnreadableResponseError)
        if not unreadable and error.code != RPCStatusCode.DEADLINE_EXCEEDED.name:
            return False
        if self._any_received:
            # Failures in a row count once: halving down to one row that is too large says nothing about the others.
            self._patience = min(2 * self._patience, PATIENCE_MAX)
        self.limit = min(self.limit, max(rows // 2, 1))
        self._at_limit, self._any_received, self._grown = 0, False, False
        # A server that does not respond may hang: that is for the caller to report first.
        return unreadable and rows > 1

    def received(self, rows: int) -> None:
        """Increase the limit if it has proved to be small enough.

        Args:
            rows: Rows that were requested; fewer than the limit prove nothing.
        """
        if rows < self.limit:
            return
        if self._grown:
            self._patience = max(self._patience // 2, 1)
        self._at_limit += 1
        self._any_received, self._grown = True, self._at_limit >= self._patience and self.limit < LARGEST
        if self._grown:
            self.limit, self._at_limit = min(2 * self.limit, LARGEST), 0
