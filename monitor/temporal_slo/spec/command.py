"""Output of the commands `temporal-slo validate` and `temporal-slo schema`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from temporal_slo.spec.load import read
from temporal_slo.spec.schema import json_schema


def validate(paths: Sequence[Path], stdout: TextIO) -> bool:
    """Print every problem and warning in spec files, one a line; return whether there are no problems."""
    result = read(paths)
    for line in (*result.problems, *result.warnings):
        print(line, file=stdout)
    if not result.problems:
        warnings = f" ({_count(len(result.warnings), 'warning')})" if result.warnings else ""
        slos, files = len(result.specs.slos), _count(result.files, "file")
        print(f"{_count(slos, 'SLO')} in {files} {'is' if slos == 1 else 'are'} valid{warnings}", file=stdout)
    return not result.problems


def schema(stdout: TextIO) -> None:
    """Print the JSON Schema of a spec."""
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False), file=stdout)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
