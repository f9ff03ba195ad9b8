"""Files that are made from specs: rendered whole in memory, then put in place at once or compared."""

import hashlib
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from temporal_slo.errors import UsageError
from temporal_slo.generate import alerts, causes, rules, runbooks, server_causes
from temporal_slo.generate.links import Links
from temporal_slo.generate.written import written
from temporal_slo.spec.model import Causes, Overdue, Spec

MARK: Final = "# Made by temporal-slo generate; do not edit.\n"
SUFFIX: Final = ".rules.yaml"
README: Final = "README.md"
ALERTMANAGER: Final = "alertmanager.yaml"
LONGEST: Final = 60

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


def render(specs: Sequence[Spec], links: Links, *, operator: bool = False) -> Files:
    """Return the files of *specs* by name; a function of its arguments alone.

    Args:
        specs: What is promised.
        links: Where alerts lead.
        operator: Make objects of the Prometheus operator instead of rule files.

    Raises:
        UsageError: There is nothing to make.
    """
    if not specs:
        raise UsageError("--spec", "names no spec", "give the files or folders of your specs")
    files: dict[str, list[rules.Group]] = defaultdict(list)
    for spec in specs:
        for slo in spec.slos:
            files[f"{spec.service}{SUFFIX}"] += [*rules.groups(spec, slo), *alerts.groups(spec, slo, links)]
    for namespace, told in _by_namespace(specs).items():
        group = causes.group(namespace, told, links, _tolerated(specs, namespace))
        files[f"causes-{_file_name(namespace)}{SUFFIX}"].append(group)
    server = causes.strictest(spec.causes for spec in specs).server
    files[f"temporal-server{SUFFIX}"].append(server_causes.group(server, links))
    texts = {name: _document(name, own, operator=operator) for name, own in sorted(files.items())}
    return {**texts, README: runbooks.page()}


def _by_namespace(specs: Sequence[Spec]) -> dict[str, Causes]:
    grouped: dict[str, list[Causes]] = defaultdict(list)
    for spec in specs:
        grouped[spec.temporal_namespace].append(spec.causes)
    return {namespace: causes.strictest(told) for namespace, told in grouped.items()}


def _tolerated(specs: Sequence[Spec], namespace: str) -> dict[str, int]:
    """Return how many overdue runs break no promise, by SLO; the least where several services have one of a name."""
    found = dict[str, int]()
    for spec in specs:
        for slo in spec.slos if spec.temporal_namespace == namespace else ():
            if isinstance(slo.sli, Overdue):
                found[slo.name] = min(slo.sli.tolerate, found.get(slo.name, slo.sli.tolerate))
    return found


def _file_name(namespace: str) -> str:
    """Return *namespace* as files and objects of Kubernetes may be named; two different ones stay different."""
    plain = re.sub(r"[^a-z0-9]+", "-", namespace.lower()).strip("-")[:LONGEST]
    return plain if plain == namespace else f"{plain}-{hashlib.sha256(namespace.encode()).hexdigest()[:8]}".lstrip("-")


def _document(name: str, groups: list[rules.Group], *, operator: bool) -> str:
    spec: dict[str, Any] = {"groups": groups}
    if operator:
        metadata = {"name": f"temporal-slo-{name.removesuffix(SUFFIX)}", "labels": {"app": "temporal-slo"}}
        spec = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": metadata,
            "spec": spec,
        }
    return MARK + written(spec)


def drift(folder: Path, files: Files) -> Drift:
    """Return how *folder* differs from *files*; only files that were made here once can be orphaned."""
    # Files of others may hold anything.
    there = {path.name: path.read_text(errors="replace") for pattern in OURS for path in folder.glob(pattern)}
    return Drift(
        missing=sorted(files.keys() - there.keys()),
        stale=sorted(name for name in files.keys() & there.keys() if files[name] != there[name]),
        # Who is told may be made by a command of its own.
        orphaned=sorted(name for name in there.keys() - files.keys() - {ALERTMANAGER} if _is_ours(name, there[name])),
    )


def _is_ours(name: str, text: str) -> bool:
    return text.startswith(MARK) or (name.endswith(".json") and TAGGED.search(text) is not None)


def write(folder: Path, files: Files, *, prune: bool = False) -> Drift:
    """Put *files* in place, each at once; return what had differed.

    Args:
        folder: Where they belong.
        files: Texts by name.
        prune: Remove files that were made here once, and are not among *files*.

    Raises:
        UsageError: The folder cannot be written; a file that was there is whole all the same.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = drift(folder, files)
        for name in (*found.missing, *found.stale):
            _replace(folder / name, files[name])
        for name in found.orphaned if prune else ():
            (folder / name).unlink()
    except OSError as error:
        raise UsageError(f"{folder}", f"cannot be written: {error.strerror}", "give a folder of yours") from error
    return found


def _replace(path: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
