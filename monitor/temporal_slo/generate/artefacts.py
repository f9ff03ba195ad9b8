"""Renders rule files, alerts and runbooks from specs, in memory."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from temporal_slo.errors import UsageError
from temporal_slo.generate import burn_alerts, cause_alerts, recording_rules, runbooks, server_alerts
from temporal_slo.generate.files import MARK, README, SUFFIX, Files
from temporal_slo.generate.links import Links
from temporal_slo.generate.yaml_text import dump
from temporal_slo.spec.bound import BoundSlo, LoadedSpecs
from temporal_slo.spec.model import Causes, Overdue, Spec

NAME_LENGTH_MAX: Final = 60


def render(specs: LoadedSpecs, links: Links, *, operator: bool = False) -> Files:
    """Return the generated files by name; a pure function.

    Args:
        specs: Specs with the SLOs.
        links: Base URLs for the annotations of alerts.
        operator: Generate PrometheusRule objects instead of rule files.

    Raises:
        UsageError: There is no spec.
    """
    if not specs:
        raise UsageError("--spec", "contains no spec", "pass the files or folders of your specs")
    files: dict[str, list[recording_rules.Group]] = defaultdict(list)
    for slo in specs.slos:
        files[f"{slo.service}{SUFFIX}"] += [*recording_rules.groups(slo), *burn_alerts.groups(slo, links)]
    for namespace, causes in _causes_by_namespace(specs).items():
        group = cause_alerts.group(namespace, causes, links, _tolerated(specs.of_namespace(namespace)))
        files[f"causes-{_file_name(namespace)}{SUFFIX}"].append(group)
    server = cause_alerts.strictest(spec.causes for spec in specs).server
    files[f"temporal-server{SUFFIX}"].append(server_alerts.group(server, links))
    texts = {name: _document(name, groups, operator=operator) for name, groups in sorted(files.items())}
    return {**texts, README: runbooks.page()}


def _causes_by_namespace(specs: Sequence[Spec]) -> dict[str, Causes]:
    grouped: dict[str, list[Causes]] = defaultdict(list)
    for spec in specs:
        grouped[spec.temporal_namespace].append(spec.causes)
    return {namespace: cause_alerts.strictest(causes) for namespace, causes in grouped.items()}


def _tolerated(slos: Sequence[BoundSlo]) -> dict[str, int]:
    """Return the tolerated number of overdue runs by SLO name; the lowest if several services use the same name."""
    tolerated = dict[str, int]()
    for slo in slos:
        if isinstance(slo.sli, Overdue):
            tolerated[slo.name] = min(slo.sli.tolerate, tolerated.get(slo.name, slo.sli.tolerate))
    return tolerated


def _file_name(namespace: str) -> str:
    """Return *namespace* as a valid name of files and Kubernetes objects; a hash keeps changed names unique."""
    plain = re.sub(r"[^a-z0-9]+", "-", namespace.lower()).strip("-")[:NAME_LENGTH_MAX]
    return plain if plain == namespace else f"{plain}-{hashlib.sha256(namespace.encode()).hexdigest()[:8]}".lstrip("-")


def _document(name: str, groups: list[recording_rules.Group], *, operator: bool) -> str:
    if not operator:
        # Group by group: the collector of garbage visits the nodes of a large document again and again.
        return "".join((MARK, "groups:\n", *(dump([group]) for group in groups)))
    metadata = {"name": f"temporal-slo-{name.removesuffix(SUFFIX)}", "labels": {"app": "temporal-slo"}}
    return MARK + dump(
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": metadata,
            "spec": {"groups": groups},
        }
    )
