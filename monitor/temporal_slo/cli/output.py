"""Handling of write errors on standard output."""

import errno
from typing import Final, TextIO

from temporal_slo.cli.common import PROGRAM

READER_GONE: Final = frozenset({errno.EPIPE})
"""The reader of the pipe has exited: nobody needs an error message."""

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def report_write_error(error: OSError, stderr: TextIO) -> None:
    """Print one line about a failed write to standard output.

    Raises:
        OSError: *error*, if it is about something else.
    """
    if error.errno in READER_GONE:
        return
    if error.errno not in NO_SPACE or error.filename is not None:
        raise error
    what = f"output: write failed: {error.strerror}"
    print(f"{PROGRAM}: {what}; free disk space, or write to another disk", file=stderr)
