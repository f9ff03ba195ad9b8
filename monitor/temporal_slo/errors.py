"""The exceptions that this package raises.

TemporalSloError
├── UsageError            a mistake in an option, setting or file: one line, exit code 2
├── TemporalRequestError  a request to Temporal failed
│   └── UnreadableResponseError  the content of the response is too large, or cannot be encoded or decoded
├── LedgerError           the ledger could not be read or written
└── PartError             a part of the demo is not healthy
"""


class TemporalSloError(Exception):
    """Base class of every exception that this package raises on purpose."""


class UsageError(TemporalSloError):
    """A mistake in what the user configured: an option, a setting, a file, a port.

    Args:
        where: The option, variable or file that holds the mistake.
        what: What is wrong with it.
        remedy: How to fix it.
    """

    def __init__(self, where: str, what: str, remedy: str) -> None:
        # Messages of libraries may hold line breaks; an error is one line.
        super().__init__(" ".join(f"{where}: {what}; {remedy}".split()))


class TemporalRequestError(TemporalSloError):
    """A request to Temporal that failed, of any kind.

    Args:
        code: The gRPC status code, in upper case (`UNAVAILABLE`, `NOT_FOUND`, …).
        message: The message of the server or the transport.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(" ".join(f"{code}: {message}".split()))
        self.code = code


class UnreadableResponseError(TemporalRequestError):
    """A request to Temporal whose response exists and cannot be received: a smaller one may be.

    Args:
        code: The gRPC status code.
        message: The message of the server or the transport.
        reason: `too_large` or `undecodable`.
    """

    def __init__(self, code: str, message: str, reason: str) -> None:
        super().__init__(code, message)
        self.reason = reason


class LedgerError(TemporalSloError):
    """The ledger could not be read or written: disk full, read-only, database unreachable.

    Args:
        message: The message of the database.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(f"ledger: {message}".split()))


class PartError(TemporalSloError):
    """A server, worker or exporter of the demo that did not start, exited, or is not healthy.

    Args:
        part: Its name, as the demo prints it.
        reason: What was observed.
    """

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(f"{part}: {reason}")
        self.part = part
