"""YAML text to plain data with line numbers; every scalar stays the text that was written."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from temporal_slo.spec.validators import quoted

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top of the document to a value."""

DEPTH_MAX: Final = 32
_NULLS: Final = {"", "~", "null", "Null", "NULL"}


@dataclass(frozen=True, slots=True)
class Finding:
    """An error or a warning at a place in a file.

    Attributes:
        line: Line number from 1, or None if the file could not be read.
        place: Key path of the value; empty for the file as a whole.
        text: Reason and remedy.
        warning: Whether the spec is accepted all the same.
    """

    line: int | None
    place: KeyPath
    text: str
    warning: bool = False


class UnreadableError(Exception):
    """The text is not a single YAML document. Internal to this package."""

    def __init__(self, line: int | None, text: str) -> None:
        super().__init__(text)
        self.finding = Finding(line, (), text)


@dataclass(frozen=True, slots=True)
class Tree:
    """The content of a file.

    Attributes:
        data: Text, lists and dicts.
        lines: Line of each value, or of its key if it has one.
        findings: Features of YAML that a spec may not use.
        rejected: Places whose value was replaced by a finding; further errors there are noise.
    """

    data: Any
    lines: dict[KeyPath, int]
    findings: list[Finding]
    rejected: set[KeyPath]


def read_tree(text: str, expected: str = "a spec that begins with version: temporal-slo/v1") -> Tree:
    """Parse one YAML document.

    Aliases are rejected and never expanded, so the data is no larger than the text.

    Args:
        text: Content of the file.
        expected: What the file should contain, for the message about an empty file.

    Raises:
        UnreadableError: The text is empty, is not YAML, holds several documents or is nested too deep.
    """
    builder = _Builder(text, expected)
    try:
        data = builder.document()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UnreadableError(line, _not_yaml(error.problem or "it cannot be parsed")) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UnreadableError(
            line, _not_yaml(f"the character U+{ord(text[error.position]):04X} is not allowed")
        ) from error
    except (ValueError, OverflowError) as error:
        # PyYAML passes on errors of chr() and int().
        raise UnreadableError(builder.line, _not_yaml("a number in an escape or a directive is too large")) from error
    return Tree(data, builder.lines, builder.findings, builder.rejected)


def _not_yaml(reason: str) -> str:
    return f"is not valid YAML: {reason}; correct the indentation, quotes or brackets at or above this line"


def _is_null(event: yaml.Event) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.style is None and event.value in _NULLS


class _Builder:
    """Builds the data from the events of the YAML parser."""

    def __init__(self, text: str, expected: str) -> None:
        self._text = text
        self._expected = expected
        self._events: Iterator[yaml.Event] = iter(())
        self.line = 1
        self.lines: dict[KeyPath, int] = {}
        self.findings: list[Finding] = []
        self.rejected: set[KeyPath] = set()

    def document(self) -> Any:  # noqa: ANN401 - any YAML
        self._events = yaml.parse(self._text, Loader=yaml.SafeLoader)
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent) or _is_null(event := self._next()):
            raise UnreadableError(1, f"is empty; write {self._expected}")
        data = self._value(event, ())
        self._next()
        if not isinstance(self._next(), yaml.StreamEndEvent):
            raise UnreadableError(self.line, "has a second YAML document; move it into a file of its own")
        return data

    def _next(self) -> yaml.Event:
        event = next(self._events)
        if event.start_mark:
            self.line = event.start_mark.line + 1
        return event

    def _value(self, event: yaml.Event, place: KeyPath) -> Any:  # noqa: ANN401 - any YAML
        if len(place) > DEPTH_MAX:
            raise UnreadableError(self.line, f"is nested deeper than {DEPTH_MAX} levels; remove brackets")
        self.lines.setdefault(place, self.line)
        self._report_extras(event, place)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(place)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(place)
        if isinstance(event, yaml.AliasEvent):
            return self._reject(place, f"alias *{event.anchor} is not allowed; write the value out")
        if _is_null(event):
            return self._reject(place, "is empty; set it or remove it")
        return getattr(event, "value", "")

    def _list(self, place: KeyPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._value(event, (*place, len(items))))
        return items

    def _mapping(self, place: KeyPath) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            line = self.line
            key = self._key(event, place)
            if key is None:
                # Consumes the value, which is not part of the data.
                self._value(self._next(), (*place, ""))
                continue
            below = (*place, key)
            if key in items:
                first = self.lines[below]
                self.findings.append(Finding(line, below, f"is a duplicate key, first on line {first}; remove one"))
            self.lines.setdefault(below, line)
            items.setdefault(key, self._value(self._next(), below))
        return items

    def _key(self, event: yaml.Event, place: KeyPath) -> str | None:
        if isinstance(event, yaml.ScalarEvent):
            self._report_extras(event, (*place, event.value))
            return str(event.value)
        line, text = self.line, "has a key that is not text; write a plain word before the colon"
        self.findings.append(Finding(line, place, text))
        if not isinstance(event, yaml.AliasEvent):
            self._value(event, (*place, ""))
        return None

    def _report_extras(self, event: yaml.Event, place: KeyPath) -> None:
        if isinstance(event, yaml.NodeEvent) and event.anchor and not isinstance(event, yaml.AliasEvent):
            text = f"anchor &{event.anchor} is not allowed; write the value out wherever it is needed"
            self.findings.append(Finding(self.line, place, text))
        tag = getattr(event, "tag", None)
        if tag is not None:
            self.findings.append(Finding(self.line, place, f"tag {quoted(tag)} is not allowed; remove it"))

    def _reject(self, place: KeyPath, text: str) -> str:
        self.findings.append(Finding(self.line, place, text))
        self.rejected.add(place)
        return ""
