"""Text that others wrote, made fit to print."""

import unicodedata
from typing import Final

LINE_MAX: Final = 500


def plain(text: str, longest: int = LINE_MAX) -> str:
    """Return *text* on one line, without anything that a terminal obeys, and not longer than that."""
    cut = text if len(text) <= longest else f"{text[:longest]}…"
    return "".join(_visible(character) for character in cut)


def _visible(character: str) -> str:
    if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}:
        return character.encode("unicode_escape", "backslashreplace").decode("ascii")
    return character
