"""Writing generated files, and detecting drift."""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

from temporal_slo.errors import UsageError

MARK: Final = "# Made by temporal-slo generate; do not edit.\n"

PAGE_MARK: Final = "\nMade by `temporal-slo generate`; do not edit."
"""The same in a README, below its heading."""

README: Final = "README.md"

ALERTMANAGER: Final = "alertmanager.yaml"

SUFFIX: Final = ".rules.yaml"

OURS: Final = (f"*{SUFFIX}", "temporal-slo-*.json", "temporal-slo-*.configmap.yaml", README, ALERTMANAGER)
"""Names of files that are made here, and may be somebody else's all the same."""

TAGGED: Final = re.compile(r'"editable": false,.*"tags": \[\s*"temporal-slo"\s*\]', re.DOTALL)
"""What is in our dashboards: JSON has no place for a mark."""

Files = Mapping[str, str]


class Drift(NamedTuple):
    """How a folder differs from what the specs make: names of files."""

    missing: list[str]
    stale: list[str]
    orphaned: list[str]


def drift(folder: Path, files: Files) -> Drift:
    """Return how *folder* differs from *files*; only files that were made here once can be orphaned.

    Raises:
        UsageError: The folder, or a file in it, cannot be read.
    """
    there = _there(folder)
    return Drift(
        missing=sorted(files.keys() - there.keys()),
        stale=sorted(name for name in files.keys() & there.keys() if files[name] != there[name]),
        # Who is told may be made by a command of its own.
        orphaned=sorted(name for name in there.keys() - files.keys() - {ALERTMANAGER} if _is_ours(name, there[name])),
    )


def foreign(folder: Path, files: Files) -> list[str]:
    """Return which of *files* somebody else has written something into, sorted; an empty file is nobody's.

    Raises:
        UsageError: The folder, or a file in it, cannot be read.
    """
    there = _there(folder)
    return sorted(
        name for name in files.keys() & there.keys() if there[name].strip() and not _is_ours(name, there[name])
    )


def _there(folder: Path) -> Files:
    found = dict[str, str]()
    path = folder
    try:
        # A file in the place of the folder is refused; a glob would find nothing in it, as in a new one.
        for path in [*folder.iterdir()] if folder.exists() else ():
            if any(fnmatchcase(path.name, pattern) for pattern in OURS):
                # Files of others may hold anything.
                found[path.name] = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(
            f"{path}", f"cannot be read: {error.strerror}", "move it away, or name another folder"
        ) from error
    return found


def _is_ours(name: str, text: str) -> bool:
    if name == README:
        return PAGE_MARK in text
    return text.startswith(MARK) or (name.endswith(".json") and TAGGED.search(text) is not None)


def write(folder: Path, files: Files, *, prune: bool = False) -> Drift:
    """Put *files* in place, each at once; return what had differed. As `write_all` has it, for one folder."""
    (found,) = write_all({folder: files}, prune=prune)
    return found


def write_all(folders: Mapping[Path, Files], *, prune: bool = False) -> list[Drift]:
    """Put the files of all *folders* in place, each at once; return what had differed in each.

    Every text is on its disk before the first takes its place: a folder that cannot be written leaves all as it was.

    Args:
        folders: Texts by name, by the folder where they belong.
        prune: Remove files that were made here once, and are not among those of their folder.

    Raises:
        UsageError: A folder cannot be written; a file that was there is whole all the same.
    """
    new = [path for folder in folders for path in (folder, *folder.parents) if not os.path.lexists(path)]
    staged: list[tuple[Path, Path]] = []
    try:
        found = [_stage(folder, files, staged) for folder, files in folders.items()]
        for made, path in staged:
            with _writing(path.parent):
                made.replace(path)
    finally:
        for made, _ in staged:
            made.unlink(missing_ok=True)
        # What was made for nothing goes; what holds anything stays.
        for path in sorted(new, key=lambda path: -len(path.parts)):
            with suppress(OSError):
                path.rmdir()
    for folder, drifted in zip(folders, found, strict=True):
        with _writing(folder):
            for name in drifted.orphaned if prune else ():
                (folder / name).unlink()
    return found


def _stage(folder: Path, files: Files, staged: list[tuple[Path, Path]]) -> Drift:
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        found = drift(folder, files)
        for path in (folder / name for name in (*found.missing, *found.stale)):
            made = _beside(path, files[path.name])
            staged.append((made, path))
    return found


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{folder}", f"cannot be written: {error.strerror}", "give a folder of yours") from error


def _beside(path: Path, text: str) -> Path:
    """Write what *path* is to hold into a file beside it, and return that."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(name).chmod(0o644)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)
