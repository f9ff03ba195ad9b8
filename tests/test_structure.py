"""The import table, cycles and sizes; planted violations show that the checks see them."""

from pathlib import Path

import pytest

from tests.structure import (
    EXPORTER_ROOMS,
    FILE_LINES,
    FUNCTION_LINES,
    MEDIAN_LINES,
    NAME,
    cycles,
    exporter_rooms,
    file_lengths,
    function_lengths,
    imports,
    median,
    package_of,
    violations,
)

TEST_LINES = 500


def test_import_table() -> None:
    """Every import of the package is in the import table, and every package has a row."""
    found = imports()
    assert len(found) > 1000, "hardly an import was found: this test is blind"
    assert violations(found) == []


def test_no_cycle() -> None:
    """No modules import one another in a circle."""
    assert cycles(imports()) == []


def test_exporter_is_imported_by_commands_alone() -> None:
    """Only the command line, the demo and the fakes import the exporter, which has few rooms."""
    importers = {package_of(one.importer) for one in imports() if package_of(one.imported) == "exporter"}
    assert importers <= {"exporter", "cli", "demo", "testing"}
    assert len(exporter_rooms()) <= EXPORTER_ROOMS


def test_sizes() -> None:
    """Functions have at most 60 lines and a median of at most 8; files have at most 350 lines, those of tests 500."""
    functions = function_lengths()
    assert median(functions.values()) <= MEDIAN_LINES
    assert [name for name, lines in functions.items() if lines > FUNCTION_LINES] == []
    assert [name for name, lines in file_lengths().items() if lines > FILE_LINES] == []
    tests = Path(__file__).parent.rglob("*.py")
    assert [path for path in tests if len(path.read_text().splitlines()) > TEST_LINES] == []


@pytest.mark.parametrize(
    ("module", "text", "broken"),
    [
        ("ledger/x", "import temporal_slo.exporter.http", "ledger.x imports exporter.http"),
        ("ledger/x", "import temporal_slo.exporter.http as http", "ledger.x imports exporter.http"),
        ("ledger/x", "from temporal_slo import exporter", "ledger.x imports exporter"),
        ("ledger/x", "from temporal_slo.exporter import http", "ledger.x imports exporter.http"),
        ("ledger/x", "from temporal_slo.exporter.http import create_app", "ledger.x imports exporter.http"),
        ("ledger/x", "from ..exporter import http", "ledger.x imports exporter.http"),
        ("ledger/x", "def late():\n    from temporal_slo.exporter import http", "ledger.x imports exporter.http"),
        ("interceptor/x", "from temporal_slo.spec import load", "interceptor.x imports spec.load"),
        ("attic/x", "", "attic has no row in the import table"),
    ],
)
def test_planted_violation(tmp_path: Path, module: str, text: str, broken: str) -> None:
    """An import outside the table is seen however it is written, and so is a package without a row."""
    package = tmp_path / NAME
    for name in ("__init__", "exporter/__init__", "exporter/http", "spec/__init__", "spec/load", "ledger/__init__"):
        write(package / f"{name}.py")
    write(package / f"{module}.py", text)
    assert violations(imports(package), package) == [broken]


def test_allowed_inside_a_function(tmp_path: Path) -> None:
    """What needs an extra may be imported inside a function."""
    package = tmp_path / NAME
    write(package / "spec/load.py")
    write(package / "interceptor/x.py", "def read():\n    from temporal_slo.spec import load")
    assert violations(imports(package), package) == []


def test_planted_cycle(tmp_path: Path) -> None:
    """Modules that import one another in a circle are found."""
    package = tmp_path / NAME
    for name, imported in (("a", "b"), ("b", "c"), ("c", "a")):
        write(package / f"spec/{name}.py", f"from temporal_slo.spec.{imported} import x")
    assert cycles(imports(package)) == [("spec.a", "spec.b", "spec.c", "spec.a")]


def write(path: Path, text: str = "") -> None:
    """Write a module."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")
