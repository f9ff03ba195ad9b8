"""The structure of the package: what imports what, and how long files and functions are.

`python -m tests.structure` prints it.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import temporal_slo

PACKAGE: Final = Path(temporal_slo.__file__).parent
NAME: Final = "temporal_slo"

GROUND: Final = frozenset({"names", "errors", "durations", "runs"})

MAY_IMPORT: Final[Mapping[str, frozenset[str]]] = {
    "names": frozenset(),
    "errors": frozenset(),
    "durations": frozenset(),
    "runs": frozenset({"names", "errors", "durations"}),
    "spec": GROUND,
    "promql": GROUND | {"spec"},
    "settings": GROUND,
    "temporal": GROUND | {"spec"},
    "ledger": GROUND | {"spec"},
    "exporter": GROUND | {"spec", "settings", "temporal", "ledger"},
    "generate": GROUND | {"spec", "promql"},
    "check": GROUND | {"spec", "promql", "generate", "temporal", "settings"},
    "interceptor": frozenset({"names", "errors", "runs"}),
    "reference": frozenset({"errors"}),
    "servers": frozenset({"errors"}),
    "preview": GROUND | {"settings", "servers"},
    "metrics_page": frozenset({"names"}),
    "testing": GROUND | {"exporter", "temporal"},
}
"""What each package may import beside itself."""

MAY_IMPORT_LATER: Final[Mapping[str, frozenset[str]]] = {"interceptor": frozenset({"spec"})}
"""What a package may import only inside a function: it needs an extra that not everyone installs."""

IMPORTS_ALL: Final = frozenset({"cli", "demo", "__main__", "__init__"})

FILE_LINES, FUNCTION_LINES, MEDIAN_LINES, EXPORTER_ROOMS = 350, 60, 8, 16


@dataclass(frozen=True, slots=True)
class Import:
    """An import of a module of the package.

    Attributes:
        importer: Module that imports, without the package's name.
        imported: Module that is imported, likewise.
        deferred: Whether it runs only when a function is called, or for type checkers.
    """

    importer: str
    imported: str
    deferred: bool


def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Every module of *package* with its file, without the package's name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


def imports(package: Path = PACKAGE) -> list[Import]:
    """Every import of one module of *package* by another, whether by `import a.b` or by `from a import b`."""
    known, found = modules(package), []
    for importer, path in known.items():
        tree = ast.parse(path.read_text())
        deferred = {child for node in ast.walk(tree) if _defers(node) for child in ast.walk(node)}
        found += [
            Import(importer, imported, deferred=node in deferred)
            for node in ast.walk(tree)
            for name in _names(node, importer, is_package=path.name == "__init__.py")
            if (imported := _module(name, known))
        ]
    return found


def _defers(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def _names(node: ast.AST, importer: str, *, is_package: bool) -> Iterator[str]:
    """Yield what an import statement may import of the package, as dotted names without the package's name."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.split(".")[0] == NAME:
                yield alias.name.removeprefix(NAME).lstrip(".")
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = importer.split(".")[: len(importer.split(".")) - node.level + is_package]
            base = ".".join([NAME, *above, *filter(None, [node.module])])
        if base.split(".")[0] == NAME:
            inner = base.removeprefix(NAME).lstrip(".")
            yield from (f"{inner}.{alias.name}".lstrip(".") for alias in node.names)


def _module(name: str, known: Mapping[str, Path]) -> str | None:
    """The module that a dotted name is, or is defined in."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def package_of(module: str) -> str:
    """The package that a module belongs to."""
    return module.split(".", maxsplit=1)[0]


def violations(found: Iterable[Import], package: Path = PACKAGE) -> list[str]:
    """What breaks the import table, and packages that have no row in it."""
    rows = MAY_IMPORT.keys() | IMPORTS_ALL
    broken = [f"{name} has no row in the import table" for name in {package_of(m) for m in modules(package)} - rows]
    for one in found:
        importer, imported = package_of(one.importer), package_of(one.imported)
        allowed = MAY_IMPORT.get(importer, frozenset())
        if one.deferred:
            allowed |= MAY_IMPORT_LATER.get(importer, frozenset())
        worker = imported == "interceptor" and one.importer.startswith("reference.workers.")
        if importer not in {*IMPORTS_ALL, imported} and imported not in allowed and not worker:
            broken.append(f"{one.importer} imports {one.imported}")
    return sorted(set(broken))


def cycles(found: Iterable[Import]) -> list[tuple[str, ...]]:
    """Cycles of modules that import one another when they are loaded."""
    edges: dict[str, set[str]] = {}
    for one in found:
        if not one.deferred and one.importer != one.imported:
            edges.setdefault(one.importer, set()).add(one.imported)
    closed, done = list[tuple[str, ...]](), set[str]()

    def visit(module: str, path: tuple[str, ...]) -> None:
        if module in path:
            closed.append((*path[path.index(module) :], module))
        elif module not in done:
            for imported in sorted(edges.get(module, ())):
                # A package's own __init__ is loaded before its modules, and imports them.
                if not module.startswith(f"{imported}."):
                    visit(imported, (*path, module))
            done.add(module)

    for module in sorted(edges):
        visit(module, ())
    return closed


def function_lengths(package: Path = PACKAGE) -> dict[str, int]:
    """Lines of every function, by file and name."""
    lengths = {}
    for module, path in modules(package).items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lengths[f"{module}:{node.lineno} {node.name}"] = (node.end_lineno or 0) - node.lineno + 1
    return lengths


def file_lengths(package: Path = PACKAGE) -> dict[str, int]:
    """Lines of every file, by module."""
    return {module: len(path.read_text().splitlines()) for module, path in modules(package).items()}


def exporter_rooms() -> list[str]:
    """Modules and packages at the top level of `exporter`."""
    return sorted({module.split(".")[1] for module in modules() if module.startswith("exporter.")})


def median(lengths: Iterable[int]) -> int:
    """The middle one."""
    ascending = sorted(lengths)
    return ascending[len(ascending) // 2]


def main() -> None:
    """Print the structure."""
    found, functions, files, rooms = imports(), function_lengths(), file_lengths(), exporter_rooms()
    importers = sorted({package_of(i.importer) for i in found if package_of(i.imported) == "exporter"} - {"exporter"})
    longest, largest = max(functions, key=lambda name: functions[name]), max(files, key=lambda name: files[name])
    print(f"modules {len(files)}, imports {len(found)}")
    print(f"import cycles {len(cycles(found))}, imports outside the table {len(violations(found))}")
    print(f"exporter: {len(rooms)} rooms: {' '.join(rooms)}; imported by {' '.join(importers)}")
    print(
        f"functions {len(functions)}: median {median(functions.values())} lines, max {functions[longest]} ({longest})"
    )
    print(f"files: max {files[largest]} lines ({largest})")


if __name__ == "__main__":
    main()
