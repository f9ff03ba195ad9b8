"""Files that are made from specs: rendered whole in memory, then put in place at once or compared."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from temporal_slo.errors import UsageError
from temporal_slo.generate import burn_alerts, cause_alerts, recording_rules, runbooks, server_alerts
from temporal_slo.generate.files import MARK, README, SUFFIX, Files
from temporal_slo.generate.links import Links
from temporal_slo.generate.yaml_text import dump
from temporal_slo.spec.bound import BoundSlo, LoadedSpecs
from temporal_slo.spec.model import Causes, Overdue, Spec

LONGEST: Final = 60


def render(specs: LoadedSpecs, links: Links, *, operator: bool = False) -> Files:
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
    files: dict[str, list[recording_rules.Group]] = defaultdict(list)
    for slo in specs.slos:
        files[f"{slo.service}{SUFFIX}"] += [*recording_rules.groups(slo), *burn_alerts.groups(slo, links)]
    for namespace, told in _by_namespace(specs).items():
        group = cause_alerts.group(namespace, told, links, _tolerated(specs.of_namespace(namespace)))
        files[f"causes-{_file_name(namespace)}{SUFFIX}"].append(group)
    server = cause_alerts.strictest(spec.causes for spec in specs).server
    files[f"temporal-server{SUFFIX}"].append(server_alerts.group(server, links))
    texts = {name: _document(name, own, operator=operator) for name, own in sorted(files.items())}
    return {**texts, README: runbooks.page()}


def _by_namespace(specs: Sequence[Spec]) -> dict[str, Causes]:
    grouped: dict[str, list[Causes]] = defaultdict(list)
    for spec in specs:
        grouped[spec.temporal_namespace].append(spec.causes)
    return {namespace: cause_alerts.strictest(told) for namespace, told in grouped.items()}


def _tolerated(slos: Sequence[BoundSlo]) -> dict[str, int]:
    """Return how many overdue runs break no promise, by SLO; the least where several services have one of a name."""
    found = dict[str, int]()
    for slo in slos:
        if isinstance(slo.sli, Overdue):
            found[slo.name] = min(slo.sli.tolerate, found.get(slo.name, slo.sli.tolerate))
    return found


def _file_name(namespace: str) -> str:
    """Return *namespace* as files and objects of Kubernetes may be named; two different ones stay different."""
    plain = re.sub(r"[^a-z0-9]+", "-", namespace.lower()).strip("-")[:LONGEST]
    return plain if plain == namespace else f"{plain}-{hashlib.sha256(namespace.encode()).hexdigest()[:8]}".lstrip("-")


def _document(name: str, groups: list[recording_rules.Group], *, operator: bool) -> str:
    spec: dict[str, Any] = {"groups": groups}
    if operator:
        metadata = {"name": f"temporal-slo-{name.removesuffix(SUFFIX)}", "labels": {"app": "temporal-slo"}}
        spec = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": metadata,
            "spec": spec,
        }
    return MARK + dump(spec)
