"""The errors that this package raises.

TemporalSloError
├── UsageError        the user's mistake: one line, exit code 2
├── VisibilityError   Temporal did not answer a visibility request
├── LedgerError       the ledger could not be read or written
└── PartError         a part of the demo is not healthy
"""


class TemporalSloError(Exception):
    """Base of every error that this package raises on purpose."""


class UsageError(TemporalSloError):
    """A mistake in what the user gave: an option, a setting, a file, a port.

    Args:
        where: The option, variable or file that holds the mistake.
        what: What is wrong with it.
        remedy: What to do about it.
    """

    def __init__(self, where: str, what: str, remedy: str) -> None:
        # Foreign messages may hold line breaks; the promise is one line.
        super().__init__(" ".join(f"{where}: {what}; {remedy}".split()))


class VisibilityError(TemporalSloError):
    """A visibility request that brought no answer.

    Args:
        code: The gRPC status, upper case (`UNAVAILABLE`, `NOT_FOUND`, …).
        message: What the server or the transport said.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(" ".join(f"{code}: {message}".split()))
        self.code = code


class LedgerError(TemporalSloError):
    """The ledger could not be read or written: its disk is full, it is read-only, its server is away.

    Args:
        message: What the database said.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(f"ledger: {message}".split()))


class PartError(TemporalSloError):
    """A server, worker or exporter that did not start, or stopped, or is not healthy.

    Args:
        part: Its name, as the demo prints it.
        reason: What was seen.
    """

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(f"{part}: {reason}")
        self.part = part
