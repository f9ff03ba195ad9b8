"""Durations in Prometheus notation: `90s`, `2m`, `1h30m`, `30d`."""

import re
from datetime import timedelta

_UNITS = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_TERM = re.compile(r"(\d+)(ms|[wdhms])")
_WHOLE = re.compile(rf"(?:{_TERM.pattern})+")


def parse_duration(text: str) -> timedelta:
    """Parse a duration in Prometheus notation: whole numbers with units, which are added up.

    Args:
        text: For example `90s`, `2m`, `1h30m` or `30d`.

    Raises:
        ValueError: *text* is malformed, zero, or longer than 100 years.
    """
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 90s, 2m or 1h30m")
    try:
        total = sum((int(number) * _UNITS[unit] for number, unit in _TERM.findall(text)), timedelta())
    except OverflowError:
        total = timedelta.max
    if not timedelta() < total < timedelta(days=36500):
        raise ValueError(f"{text!r} is not between 1ms and 100 years")
    return total


def format_duration(duration: timedelta) -> str:
    """Format *duration* for `parse_duration`, in whole milliseconds; zero is `0s`.

    Raises:
        ValueError: *duration* is negative, which the notation cannot express.
    """
    if duration < timedelta():
        raise ValueError(f"{duration.total_seconds():g} seconds is not a duration")
    rest = duration // _UNITS["ms"]
    parts = []
    for unit, size in _UNITS.items():
        number, rest = divmod(rest, size // _UNITS["ms"])
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"
