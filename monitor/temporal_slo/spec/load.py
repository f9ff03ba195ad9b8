"""Loading of spec files: specs, or every problem in them with file, line and key path."""

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
from temporal_slo.spec.tree import Finding, KeyPath, Tree, UnreadableError, read_tree
from temporal_slo.spec.validators import quoted

SUFFIXES: Final = {".yaml", ".yml"}
SIZE_MAX: Final = 1_000_000
"""Bytes of one file: far more than people write, and still parsed within seconds."""
_PLAIN_KEY: Final = re.compile(r"[\w-]{1,60}")


class SpecError(UsageError):
    """Spec files are invalid.

    Args:
        problems: One line each: `file:line: path.to.key: reason; remedy`.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        # Skips UsageError's constructor, which joins everything into one line.
        super(UsageError, self).__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(slots=True)
class _File:
    """A file while it is loaded."""

    path: Path
    tree: Tree = field(default_factory=lambda: Tree(None, {}, [], set()))
    spec: Spec | None = None
    findings: list[Finding] = field(default_factory=list)

    def where(self, place: KeyPath) -> str:
        """Return file and line of *place*, for problems elsewhere that refer to it."""
        return f"{self.path}:{self.tree.lines[place]}"

    def messages(self, *, warnings: bool) -> Iterator[str]:
        """Yield the problems or the warnings, in the order of their lines."""
        for finding in sorted(self.findings, key=lambda f: f.line or 0):
            if finding.warning == warnings:
                yield format_finding(self.path, finding)


@dataclass(frozen=True, slots=True)
class ReadResult:
    """Specs, problems and warnings of spec files.

    Attributes:
        specs: Specs of the files without problems.
        files: Number of files read.
        problems: One line each, in the format of `SpecError`.
        warnings: In the same format; the specs are usable.
    """

    specs: LoadedSpecs
    files: int
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def load(paths: Sequence[Path]) -> LoadedSpecs:
    """Load specs; a file that is given twice is read once.

    Args:
        paths: Files, and folders, whose `*.yaml` and `*.yml` files are read in alphabetical order.

    Raises:
        SpecError: A file cannot be read, is not a valid spec, or contradicts another one.
    """
    result = read(paths)
    if result.problems:
        raise SpecError(result.problems)
    return result.specs


def read(paths: Sequence[Path]) -> ReadResult:
    """Read specs as `load` does, but return problems instead of raising them."""
    files = _files(paths)
    cross_file = _CrossFileChecks()
    for file in files:
        cross_file.check(file)
    problems, warnings = (tuple(line for file in files for line in file.messages(warnings=w)) for w in (False, True))
    valid = LoadedSpecs(file.spec for file in files if file.spec and not any(file.messages(warnings=False)))
    return ReadResult(valid, len(files), problems, warnings)


def read_yaml(path: Path, expected: str) -> Tree:
    """Read a YAML file that is not a spec, with the same restrictions; violations are in its findings.

    Args:
        path: Path of the file.
        expected: What the file should contain, for the message about an empty file.

    Raises:
        SpecError: The file cannot be read.
    """
    try:
        return read_tree(_text(path), expected)
    except UnreadableError as error:
        raise SpecError([format_finding(path, error.finding)]) from error


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
    # Editors leave hidden files in the folder.
    found = sorted(child for child in children if not child.name.startswith("."))
    if not found:
        raise UnreadableError(None, "contains no *.yaml or *.yml file; add one, or give another folder")
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
        file.findings += _model_findings(error, file.tree)
    if isinstance(file.tree.data, dict):
        file.findings += _lint_findings(file.tree.data, file.tree)
    return file


def _text(path: Path) -> str:
    try:
        if not path.exists():
            raise UnreadableError(None, "does not exist; correct the path")
        if not path.is_file():
            raise UnreadableError(None, "is neither a file nor a folder; give a YAML file")
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


def _model_findings(error: ValidationError, tree: Tree) -> Iterator[Finding]:
    for detail in error.errors(include_url=False):
        place = _in_file(detail["loc"], tree)
        if not any(place[:depth] in tree.rejected for depth in range(len(place) + 1)):
            named = detail["loc"] if detail["type"] == "missing" else place
            yield Finding(tree.lines[place], named, explain(detail))


def _lint_findings(data: dict[str, Any], tree: Tree) -> Iterator[Finding]:
    for found in lint(data):
        place = _in_file(found.place, tree)
        yield Finding(tree.lines[place], place, found.text, found.warning)


def _in_file(place: KeyPath, tree: Tree) -> KeyPath:
    # Some key paths of the model are not in the file: a missing key, or the item of a list that was written as a word.
    while place not in tree.lines:
        place = place[:-1]
    return place


class _CrossFileChecks:
    """Finds contradictions between SLOs and files, in the data as written, so that other problems hide none."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self._outcomes: dict[tuple[str, str], tuple[object, str]] = {}

    def check(self, file: _File) -> None:
        """Add findings for what contradicts an earlier SLO."""
        data = file.tree.data if isinstance(file.tree.data, dict) else {}
        # A file without a namespace is compared only with itself.
        namespace = _text_or_none(data.get("temporal_namespace")) or str(file.path)
        for index, slo in enumerate(_list(data.get("slos"))):
            if isinstance(slo, dict):
                self._check_name(file, ("slos", index, "name"), namespace, slo)
                self._check_outcome(file, ("slos", index, "outcome"), namespace, slo)

    def _check_name(self, file: _File, place: KeyPath, namespace: str, slo: Mapping[str, Any]) -> None:
        name = _text_or_none(slo.get("name"))
        if not name:
            return
        first = self._names.get((namespace, name))
        self._names.setdefault((namespace, name), file.where(place))
        if first:
            text = (
                f"{quoted(name)} is already the name of another SLO in this namespace, at {first}; choose another name"
            )
            file.findings.append(Finding(file.tree.lines[place], place, text))

    def _check_outcome(self, file: _File, place: KeyPath, namespace: str, slo: Mapping[str, Any]) -> None:
        outcome = _comparable(slo.get("outcome"))
        workflow = slo.get("workflow")
        for type_ in _list(workflow) or [workflow]:
            if outcome is None or not isinstance(type_, str):
                continue
            first, where = self._outcomes.setdefault((namespace, type_), (outcome, file.where(place)))
            if first != outcome:
                text = f"differs from the outcome of {quoted(type_)} at {where}; make both the same"
                file.findings.append(Finding(file.tree.lines[place], place, text))


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _comparable(written: object) -> object:
    """Return an outcome in a form that does not depend on order, or None if it is invalid."""
    try:
        outcome = Outcome.model_validate(written)
    except ValidationError:
        return None
    return outcome.from_, set(outcome.good), set(outcome.bad), set(outcome.excluded)


def format_finding(path: Path, finding: Finding) -> str:
    """Return a finding as one line, in the format of `SpecError`."""
    where = str(path) if finding.line is None else f"{path}:{finding.line}"
    dotted = "".join(_step(part) for part in finding.place).removeprefix(".")
    mark = "warning: " if finding.warning else ""
    return " ".join(f"{where}: {mark}{dotted}{': ' if dotted else ''}{finding.text}".split())


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{part}" if _PLAIN_KEY.fullmatch(part) else f"[{quoted(part)}]"
