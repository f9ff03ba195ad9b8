"""Expressions of dashboards as trees, and what can be told from these."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import promql_parser

RATE_INTERVAL: Final = timedelta(milliseconds=4321)
RANGE: Final = timedelta(milliseconds=8765)
COUNTING: Final = {"rate", "irate", "increase", "changes"}
CHOOSING: Final = {"topk", "bottomk", "limitk"}
PARTS: Final = ("lhs", "rhs", "expr", "param", "vector_selector")


def expanded(expr: str) -> str:
    """Return *expr* with odd spans for Grafana's own variables, to tell them apart from others."""
    return expr.replace("$__rate_interval", "4321ms").replace("$__interval", "987ms").replace("$__range", "8765ms")


def parsed(expr: str) -> Any:
    """Return the tree of *expr*; ValueError if it is none."""
    return promql_parser.parse(expanded(expr))


def nodes(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield each node of *tree* with those above it, the nearest last."""
    yield tree, above
    below = [getattr(tree, name, None) for name in PARTS]
    for node in [*below, *(getattr(tree, "args", None) or [])]:
        if node is not None:
            yield from nodes(node, (*above, tree))


def selectors(tree: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield each selector with what is above it."""
    for node, above in nodes(tree):
        if isinstance(node, promql_parser.VectorSelector):
            yield node, above


def matchers(selector: Any) -> dict[str, str]:
    """Return the labels of a selector's conditions with their values."""
    return {matcher.name: matcher.value for matcher in selector.matchers.matchers}


def function(node: Any) -> str:
    """Return the name of the function, or nothing if the node is no call."""
    return str(node.func.name) if isinstance(node, promql_parser.Call) else ""


def is_matrix(node: Any) -> bool:
    """Return whether the node selects a range."""
    return isinstance(node, promql_parser.MatrixSelector)


def labels(tree: Any) -> set[str] | None:  # noqa: PLR0911 one for each kind of node
    """Return the labels that the series of *tree* can have at most; None if that is not known."""
    if isinstance(tree, promql_parser.AggregateExpr):
        if str(tree.op) in CHOOSING:
            return labels(tree.expr)
        if tree.modifier is None:
            return set()
        by = tree.modifier.type == promql_parser.AggModifierType.By
        return set(tree.modifier.labels) if by else None
    if isinstance(tree, promql_parser.Call):
        found = [labels(argument) for argument in tree.args if not isinstance(argument, promql_parser.NumberLiteral)]
        return (found[0] if found else set()) if function(tree) not in {"time", "vector"} else set()
    if isinstance(tree, promql_parser.BinaryExpr):
        sides = [side for side in (tree.lhs, tree.rhs) if not is_scalar(side)]
        found = [labels(side) for side in sides]
        return None if None in found or not found else set().union(*(one or set() for one in found))
    if isinstance(tree, promql_parser.ParenExpr | promql_parser.UnaryExpr):
        return labels(tree.expr)
    return None


def is_scalar(tree: Any) -> bool:
    """Return whether *tree* is a number."""
    if isinstance(tree, promql_parser.ParenExpr):
        return is_scalar(tree.expr)
    return isinstance(tree, promql_parser.NumberLiteral) or function(tree) == "time"
