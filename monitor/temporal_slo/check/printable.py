"""Makes text from other systems safe to print."""

import unicodedata
from typing import Final

LINE_MAX: Final = 500

ESCAPED_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that control a terminal, are invisible, or break lines."""


def printable(text: str, max_length: int = LINE_MAX) -> str:
    """Return *text* as one line: control characters escaped, cut after *max_length* characters."""
    cut = text if len(text) <= max_length else f"{text[:max_length]}…"
    return "".join(map(_escaped, cut))


def _escaped(character: str) -> str:
    if unicodedata.category(character) in ESCAPED_CATEGORIES:
        return character.encode("unicode_escape", "backslashreplace").decode("ascii")
    return character
