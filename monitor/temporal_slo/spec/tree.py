"""YAML text to plain data that knows its lines: every scalar stays the text that was written."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from temporal_slo.spec.values import show

Place = tuple[str | int, ...]
"""Where a value stands: keys and indices from the top."""

DEPTH_MAX: Final = 32
_NULLS: Final = {"", "~", "null", "Null", "NULL"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong at a place.

    Attributes:
        line: Counted from 1, or None if the file could not be read.
        place: Empty for the file as a whole.
        text: What is wrong, and the remedy.
        warning: Whether the spec may be used all the same.
    """

    line: int | None
    place: Place
    text: str
    warning: bool = False


class UnreadableError(Exception):
    """Text that is not one YAML document; never leaves this package."""

    def __init__(self, line: int | None, text: str) -> None:
        super().__init__(text)
        self.finding = Finding(line, (), text)


@dataclass(frozen=True, slots=True)
class Tree:
    """What a file says.

    Attributes:
        data: Text, and lists and dicts of it.
        lines: The line of each value, or of its key where it has one.
        findings: What YAML allows and a spec does not.
        refused: Where a finding stands in for the value, of which nothing more can be said.
    """

    data: Any
    lines: dict[Place, int]
    findings: list[Finding]
    refused: set[Place]


def read_tree(text: str, wanted: str = "a spec that begins with version: temporal-slo/v1") -> Tree:
    """Read one YAML document.

    Aliases are refused and never followed, so the data is no larger than the text.

    Args:
        text: Of the file.
        wanted: What to write if there is none.

    Raises:
        UnreadableError: The text is empty, is not YAML, holds several documents or is nested too deep.
    """
    builder = _Builder(text, wanted)
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
        # PyYAML hands on what chr() and int() say of them.
        raise UnreadableError(builder.line, _not_yaml("a number in an escape or a directive is too large")) from error
    return Tree(data, builder.lines, builder.findings, builder.refused)


def _not_yaml(why: str) -> str:
    return f"is not valid YAML: {why}; correct the indentation, quotes or brackets at or above this line"


def _is_null(event: yaml.Event) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.style is None and event.value in _NULLS


class _Builder:
    """Reads the parser's events one after the other."""

    def __init__(self, text: str, wanted: str) -> None:
        self._text = text
        self._wanted = wanted
        self._events: Iterator[yaml.Event] = iter(())
        self.line = 1
        self.lines: dict[Place, int] = {}
        self.findings: list[Finding] = []
        self.refused: set[Place] = set()

    def document(self) -> Any:  # noqa: ANN401 - any YAML
        self._events = yaml.parse(self._text, Loader=yaml.SafeLoader)
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent) or _is_null(event := self._next()):
            raise UnreadableError(1, f"is empty; write {self._wanted}")
        data = self._value(event, ())
        self._next()
        if not isinstance(self._next(), yaml.StreamEndEvent):
            raise UnreadableError(self.line, "holds a second YAML document; write it into a file of its own")
        return data

    def _next(self) -> yaml.Event:
        event = next(self._events)
        if event.start_mark:
            self.line = event.start_mark.line + 1
        return event

    def _value(self, event: yaml.Event, place: Place) -> Any:  # noqa: ANN401 - any YAML
        if len(place) > DEPTH_MAX:
            raise UnreadableError(self.line, f"is nested deeper than {DEPTH_MAX} levels; remove brackets")
        self.lines.setdefault(place, self.line)
        self._refuse_extras(event, place)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(place)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(place)
        if isinstance(event, yaml.AliasEvent):
            return self._refuse(place, f"the alias *{event.anchor} is not allowed; write the value out")
        if _is_null(event):
            return self._refuse(place, "has no value; write one, or remove it")
        return getattr(event, "value", "")

    def _list(self, place: Place) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._value(event, (*place, len(items))))
        return items

    def _mapping(self, place: Place) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            line = self.line
            key = self._key(event, place)
            if key is None:
                # Read to its end, apart from the data.
                self._value(self._next(), (*place, ""))
                continue
            below = (*place, key)
            if key in items:
                first = self.lines[below]
                self.findings.append(Finding(line, below, f"is written twice, first on line {first}; keep one of them"))
            self.lines.setdefault(below, line)
            items.setdefault(key, self._value(self._next(), below))
        return items

    def _key(self, event: yaml.Event, place: Place) -> str | None:
        if isinstance(event, yaml.ScalarEvent):
            self._refuse_extras(event, (*place, event.value))
            return str(event.value)
        line, text = self.line, "has a key that is not text; write a plain word before the colon"
        self.findings.append(Finding(line, place, text))
        if not isinstance(event, yaml.AliasEvent):
            self._value(event, (*place, ""))
        return None

    def _refuse_extras(self, event: yaml.Event, place: Place) -> None:
        if isinstance(event, yaml.NodeEvent) and event.anchor and not isinstance(event, yaml.AliasEvent):
            text = f"the anchor &{event.anchor} is not allowed; write the value out wherever it is needed"
            self.findings.append(Finding(self.line, place, text))
        tag = getattr(event, "tag", None)
        if tag is not None:
            self.findings.append(Finding(self.line, place, f"the tag {show(tag)} is not allowed; remove it"))

    def _refuse(self, place: Place, text: str) -> str:
        self.findings.append(Finding(self.line, place, text))
        self.refused.add(place)
        return ""
