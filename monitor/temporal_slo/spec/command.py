"""What the commands `temporal-slo validate` and `temporal-slo schema` print."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from temporal_slo.spec.load import read
from temporal_slo.spec.schema import json_schema


def validate(paths: Sequence[Path], stdout: TextIO) -> bool:
    """Print every problem and warning of spec files, one a line; return whether there is no problem."""
    found = read(paths)
    for line in (*found.problems, *found.warnings):
        print(line, file=stdout)
    if not found.problems:
        slos = sum(len(spec.slos) for spec in found.specs)
        warned = f", with {_number(len(found.warnings), 'warning')}" if found.warnings else ""
        fine = "is" if slos == 1 else "are"
        print(f"{_number(slos, 'SLO')} in {_number(found.files, 'file')} {fine} fine{warned}", file=stdout)
    return not found.problems


def schema(stdout: TextIO) -> None:
    """Print the JSON Schema of a spec."""
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False), file=stdout)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
