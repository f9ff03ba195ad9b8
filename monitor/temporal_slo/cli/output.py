"""What becomes of output that cannot be written."""

import errno
from typing import Final, TextIO

GONE: Final = frozenset({errno.EPIPE})
"""Whoever read it has ended: there is nobody left to tell."""

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def unwritten(error: OSError, stderr: TextIO) -> None:
    """Tell in one line why output could not be written.

    Raises:
        OSError: It is *error*, which is about something else.
    """
    if error.errno in GONE:
        return
    if error.errno not in FULL or error.filename is not None:
        raise error
    print(f"temporal-slo: output: cannot be written: {error.strerror}; make room, or write elsewhere", file=stderr)
