"""Label values are declared once."""

import ast
from collections.abc import Iterator

import pytest

from tests.structure import modules

VALUES = frozenset(
    {
        *("running", "paused", "completed", "failed", "canceled", "terminated", "continued_as_new", "timed_out"),
        *("retried", "reset", "good", "bad", "excluded", "unknown", "other"),
    }
)

NOT_LABELS = {
    "names.values": "declares them",
    "spec.slis": "types of the spec's keys, which must be literals",
    "interceptor._activity": "a field of the SDK",
    "interceptor._protocol": "fields of a message",
    "interceptor._watched": "fields of a message",
    "ledger.schema": "columns",
    "ledger.backfill": "columns",
    "ledger.change": "the name of a list",
    "generate.dashboards.detail": "legends",
    "ledger.reads": "columns",
    "ledger.writes": "columns",
    "testing": "the name of a method",
    "check.command": "a text about retention",
    "check.scraping": "a text about retention",
}
"""Modules with texts that are equal to a label value, and what they are there."""

APPLICATION = "reference."
"""The reference application is monitored, and knows nothing of metrics: its states are its own."""


def literals(text: str) -> Iterator[str]:
    """Every string of a module that is a label value."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in VALUES:
            yield node.value


def test_declared_once() -> None:
    """No module but the one that declares label values spells one out."""
    ours = {module: path for module, path in modules().items() if not module.startswith(APPLICATION)}
    found = {module for module, path in ours.items() if any(literals(path.read_text()))}
    assert "names.values" in found, "no literal was found: this test is blind"
    assert sorted(found - NOT_LABELS.keys()) == []
    assert sorted(NOT_LABELS.keys() - found) == [], "an exception that is no longer needed"


@pytest.mark.parametrize("text", ['x = "failed"', 'f(status="good")', '{"status": "timed_out"}', 'a in ("other",)'])
def test_planted(text: str) -> None:
    """A literal is seen wherever it stands."""
    assert list(literals(text))
