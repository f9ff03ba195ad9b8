"""Durations as people write them: `90s`, `2m`, `1h30m`, `30d`."""

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
    """Read a duration in Prometheus's notation: whole numbers with a unit, several in a row are added.

    Args:
        text: For example `90s`, `2m`, `1h30m` or `30d`.

    Raises:
        ValueError: *text* is not a duration, or is zero, or is longer than 100 years.
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
    """Write *duration* in the notation that `parse_duration` reads; whole milliseconds, `0s` for none.

    Raises:
        ValueError: *duration* is negative, which that notation cannot say.
    """
    if duration < timedelta():
        raise ValueError(f"{duration.total_seconds():g} seconds are no duration")
    rest = duration // _UNITS["ms"]
    parts = []
    for unit, size in _UNITS.items():
        number, rest = divmod(rest, size // _UNITS["ms"])
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts) or "0s"
