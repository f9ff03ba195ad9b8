"""The console blocks of the README of the reference application: commands, and what they print."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from temporal_slo import reference

README = Path(reference.__file__).parent / "README.md"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
ASSIGNMENT = re.compile(r"([A-Z_]+)=")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Example:
    """A command of the README.

    Attributes:
        command: The command, of one line or more.
        output: What the README shows below it.
    """

    command: str
    output: str = ""

    @property
    def variable(self) -> str | None:
        """The shell variable that the command sets, if it is an assignment."""
        found = ASSIGNMENT.match(self.command)
        return found[1] if found else None

    @property
    def reads(self) -> bool:
        """Whether the command only reads, so that it may be repeated."""
        return self.command.startswith("curl ") and not re.search(r" -[dX] ", self.command)


def examples(text: str) -> Iterator[Example]:
    """Yield the commands of a Markdown text; further lines of a command are indented by four spaces."""
    for block in BLOCK.findall(text):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            length = next((number for number, line in enumerate(lines) if number and line[:4].strip()), len(lines))
            yield Example("\n".join(lines[:length]), "\n".join(lines[length:]))


def commands(text: str) -> list[Example]:
    """Return the commands of the tour: all but `make demo`."""
    return [example for example in examples(text) if not example.command.startswith("make ")]


def demo_lines(text: str) -> list[str]:
    """Return the lines that the README shows of the output of `make demo`."""
    shown = (example.output for example in examples(text) if example.command == "make demo")
    return [line for output in shown for line in output.splitlines()]


def settings(text: str) -> dict[str, str]:
    """Return the values of the variables that the tour sets, as they are written."""
    tour = commands(text)
    return {one.variable: one.command.removeprefix(f"{one.variable}=") for one in tour if one.variable}


def script(tour: Sequence[Example], values: Mapping[str, str]) -> str:
    """Return a shell script with the last command of *tour*, after all assignments before it.

    Args:
        tour: Commands in their order.
        values: Values of variables that differ from the README.
    """
    *before, last = tour
    lines = [_assignment(one, values) for one in before if one.variable]
    return "\n".join(["set -o pipefail", *lines, last.command])


def _assignment(example: Example, values: Mapping[str, str]) -> str:
    name = example.variable or ""
    return f"{name}='{values[name]}'" if name in values else example.command


def normalised(output: str) -> str:
    """Return an output with all UUIDs equal: they differ in each run."""
    return UUID.sub("00000000-0000-0000-0000-000000000000", output)
