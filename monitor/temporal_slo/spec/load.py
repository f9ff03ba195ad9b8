"""Spec files to specs, or every mistake in them at once, each by file, line and path."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from temporal_slo.errors import UsageError
from temporal_slo.spec.bound import LoadedSpecs
from temporal_slo.spec.lint import lint
from temporal_slo.spec.model import Outcome, Spec
from temporal_slo.spec.problems import explain
from temporal_slo.spec.tree import Finding, Place, Tree, UnreadableError, read_tree
from temporal_slo.spec.values import show

SUFFIXES: Final = {".yaml", ".yml"}
SIZE_MAX: Final = 1_000_000
"""Bytes of one file: far more than people write, and still read within seconds."""
_PLAIN_KEY: Final = re.compile(r"[\w-]{1,60}")


class SpecError(UsageError):
    """Spec files with mistakes.

    Args:
        problems: Each is one line: `file:line: path.to.key: what; remedy`.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        # Past UsageError's own constructor, which makes one line of everything.
        super(UsageError, self).__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(slots=True)
class _File:
    """A file on its way to a spec."""

    path: Path
    tree: Tree = field(default_factory=lambda: Tree(None, {}, [], set()))
    spec: Spec | None = None
    findings: list[Finding] = field(default_factory=list)

    def where(self, place: Place) -> str:
        """Return where *place* is, as the problems of other places refer to it."""
        return f"{self.path}:{self.tree.lines[place]}"

    def told(self, *, warnings: bool) -> Iterator[str]:
        """Yield the mistakes or the warnings, from the top to the bottom of the file."""
        for finding in sorted(self.findings, key=lambda f: f.line or 0):
            if finding.warning == warnings:
                yield finding_line(self.path, finding)


@dataclass(frozen=True, slots=True)
class Reading:
    """What files say.

    Attributes:
        specs: Of the files in which nothing is wrong.
        files: How many were read.
        problems: Every mistake, one line each, as `SpecError` has them.
        warnings: What may be meant so, in the same form.
    """

    specs: LoadedSpecs
    files: int
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def load(paths: Sequence[Path]) -> LoadedSpecs:
    """Read specs; a file that is named twice is read once.

    Args:
        paths: Files, and folders whose `*.yaml` and `*.yml` are read in the order of their names.

    Raises:
        SpecError: Some cannot be read, are not specs, or contradict one another.
    """
    found = read(paths)
    if found.problems:
        raise SpecError(found.problems)
    return found.specs


def read(paths: Sequence[Path]) -> Reading:
    """Read specs as `load` does, and return what is wrong with them instead of raising it."""
    files = _files(paths)
    across = _Across()
    for file in files:
        across.check(file)
    problems, warnings = (tuple(line for file in files for line in file.told(warnings=w)) for w in (False, True))
    fine = LoadedSpecs(file.spec for file in files if file.spec and not any(file.told(warnings=False)))
    return Reading(fine, len(files), problems, warnings)


def tree_of(path: Path, wanted: str) -> Tree:
    """Read a file that is written like a spec, and is none; what it holds beside YAML's plain data are findings.

    Args:
        path: Of the file.
        wanted: What to write into it if it is empty.

    Raises:
        SpecError: It cannot be read.
    """
    try:
        return read_tree(_text(path), wanted)
    except UnreadableError as error:
        raise SpecError([finding_line(path, error.finding)]) from error


def _files(paths: Sequence[Path]) -> list[_File]:
    files: dict[Path, _File] = {}
    for path in paths:
        try:
            for found in _expand(path):
                if found.absolute() not in files:
                    files[found.absolute()] = _read(found)
        except UnreadableError as error:
            files[path.absolute()] = _File(path, findings=[error.finding])
    return list(files.values())


def _expand(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            return [path]
        children = [child for child in path.iterdir() if child.suffix in SUFFIXES and not child.is_dir()]
    except OSError as error:
        raise _unreadable(error) from error
    # Editors leave hidden files beside the real ones.
    found = sorted(child for child in children if not child.name.startswith("."))
    if not found:
        raise UnreadableError(None, "holds no *.yaml or *.yml file; add one, or name another folder")
    return found


def _read(path: Path) -> _File:
    file = _File(path)
    try:
        file.tree = read_tree(_text(path))
    except UnreadableError as error:
        file.findings.append(error.finding)
        return file
    file.findings += file.tree.findings
    try:
        file.spec = Spec.model_validate(file.tree.data)
    except ValidationError as error:
        file.findings += _translated(error, file.tree)
    if isinstance(file.tree.data, dict):
        file.findings += _linted(file.tree.data, file.tree)
    return file


def _text(path: Path) -> str:
    try:
        if not path.exists():
            raise UnreadableError(None, "does not exist; correct the path")
        if not path.is_file():
            raise UnreadableError(None, "is neither a file nor a folder; name a YAML file")
        with path.open("rb") as stream:
            data = stream.read(SIZE_MAX + 1)
    except OSError as error:
        raise _unreadable(error) from error
    if len(data) > SIZE_MAX:
        raise UnreadableError(None, f"is larger than {SIZE_MAX} bytes; split it into several files")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableError(line, "is not UTF-8 text; save the file as UTF-8") from error


def _unreadable(error: OSError) -> UnreadableError:
    return UnreadableError(None, f"cannot be read: {error.strerror}; correct the path or its permissions")


def _translated(error: ValidationError, tree: Tree) -> Iterator[Finding]:
    for detail in error.errors(include_url=False):
        place = _written(detail["loc"], tree)
        if not any(place[:depth] in tree.refused for depth in range(len(place) + 1)):
            shown = detail["loc"] if detail["type"] == "missing" else place
            yield Finding(tree.lines[place], shown, explain(detail))


def _linted(data: dict[str, Any], tree: Tree) -> Iterator[Finding]:
    for found in lint(data):
        place = _written(found.place, tree)
        yield Finding(tree.lines[place], place, found.text, found.warning)


def _written(place: Place, tree: Tree) -> Place:
    # What a model adds is not in the file: a missing key, or the item of a list that was written as one word.
    while place not in tree.lines:
        place = place[:-1]
    return place


class _Across:
    """Finds what no file shows alone: in the data as written, so that another mistake hides none of it."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self._outcomes: dict[tuple[str, str], tuple[object, str]] = {}

    def check(self, file: _File) -> None:
        """Add to the file's findings what contradicts the files before it."""
        data = file.tree.data if isinstance(file.tree.data, dict) else {}
        # Without a namespace of its own a file is compared with itself alone.
        namespace = _text_or_none(data.get("temporal_namespace")) or str(file.path)
        for index, slo in enumerate(_list(data.get("slos"))):
            if isinstance(slo, dict):
                self._check_name(file, ("slos", index, "name"), namespace, slo)
                self._check_outcome(file, ("slos", index, "outcome"), namespace, slo)

    def _check_name(self, file: _File, place: Place, namespace: str, slo: Mapping[str, Any]) -> None:
        name = _text_or_none(slo.get("name"))
        if not name:
            return
        first = self._names.get((namespace, name))
        self._names.setdefault((namespace, name), file.where(place))
        if first:
            text = f"{show(name)} is the name of another SLO of the namespace, at {first}; choose a different one"
            file.findings.append(Finding(file.tree.lines[place], place, text))

    def _check_outcome(self, file: _File, place: Place, namespace: str, slo: Mapping[str, Any]) -> None:
        meaning = _meaning(slo.get("outcome"))
        workflow = slo.get("workflow")
        for type_ in _list(workflow) or [workflow]:
            if meaning is None or not isinstance(type_, str):
                continue
            first, where = self._outcomes.setdefault((namespace, type_), (meaning, file.where(place)))
            if first != meaning:
                text = f"differs from the outcome of {show(type_)} at {where}; make the two the same"
                file.findings.append(Finding(file.tree.lines[place], place, text))


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _meaning(written: object) -> object:
    """Return what two outcomes must have in common, or None for what is no outcome."""
    try:
        outcome = Outcome.model_validate(written)
    except ValidationError:
        return None
    return outcome.from_, set(outcome.good), set(outcome.bad), set(outcome.excluded)


def finding_line(path: Path, finding: Finding) -> str:
    """Return a finding in one line, as `SpecError` has it."""
    where = str(path) if finding.line is None else f"{path}:{finding.line}"
    dotted = "".join(_step(part) for part in finding.place).removeprefix(".")
    mark = "warning: " if finding.warning else ""
    return " ".join(f"{where}: {mark}{dotted}{': ' if dotted else ''}{finding.text}".split())


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _PLAIN_KEY.fullmatch(part) else f"[{show(part)}]"
