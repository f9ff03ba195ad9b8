"""Refusals of the services: final answers that no retry changes."""

import sqlite3
from http import HTTPStatus

from temporal_slo.reference.web.problems import ProblemError


def refuse(condition: object, reason: str) -> None:
    """Refuse the call with status 409 if *condition* is true.

    Raises:
        ProblemError: It is.
    """
    if condition:
        raise ProblemError(HTTPStatus.CONFLICT, reason)


def refuse_unless_same(row: sqlite3.Row, **values: object) -> None:
    """Refuse a repeated step whose details differ from those on record.

    Raises:
        ProblemError: One of *values* is not that of *row*.
    """
    different = [name for name, value in values.items() if row[name] != value]
    refuse(different, f"on record with another {', '.join(different)}")
