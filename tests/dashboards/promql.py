"""Parses the PromQL of dashboards and inspects the syntax trees."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import promql_parser

RATE_INTERVAL: Final = timedelta(milliseconds=4321)
RANGE: Final = timedelta(milliseconds=8765)
COUNTER_FUNCTIONS: Final = {"rate", "irate", "increase", "changes"}
SELECTING_AGGREGATIONS: Final = {"topk", "bottomk", "limitk"}
CHILD_ATTRIBUTES: Final = ("lhs", "rhs", "expr", "param", "vector_selector")


def expanded(expr: str) -> str:
    """Return *expr* with unusual durations in place of Grafana's variables, so that they can be recognized."""
    return expr.replace("$__rate_interval", "4321ms").replace("$__interval", "987ms").replace("$__range", "8765ms")


def parsed(expr: str) -> Any:
    """Return the syntax tree of *expr*.

    Raises:
        ValueError: It is not valid PromQL.
    """
    return promql_parser.parse(expanded(expr))


def nodes(tree: Any, ancestors: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield each node of *tree* with its ancestors, the nearest last."""
    yield tree, ancestors
    children = [getattr(tree, name, None) for name in CHILD_ATTRIBUTES]
    for node in [*children, *(getattr(tree, "args", None) or [])]:
        if node is not None:
            yield from nodes(node, (*ancestors, tree))


def selectors(tree: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Yield each vector selector with its ancestors."""
    for node, ancestors in nodes(tree):
        if isinstance(node, promql_parser.VectorSelector):
            yield node, ancestors


def matchers(selector: Any) -> dict[str, str]:
    """Return the matchers of a selector: values by label."""
    return {matcher.name: matcher.value for matcher in selector.matchers.matchers}


def function(node: Any) -> str:
    """Return the name of the called function, or an empty string if the node is not a call."""
    return str(node.func.name) if isinstance(node, promql_parser.Call) else ""


def is_matrix(node: Any) -> bool:
    """Return whether the node is a range vector selector."""
    return isinstance(node, promql_parser.MatrixSelector)


def labels(tree: Any) -> set[str] | None:  # noqa: PLR0911 one per node type
    """Return a superset of the labels of the series of *tree*; None if it cannot be determined."""
    if isinstance(tree, promql_parser.AggregateExpr):
        if str(tree.op) in SELECTING_AGGREGATIONS:
            return labels(tree.expr)
        if tree.modifier is None:
            return set()
        by = tree.modifier.type == promql_parser.AggModifierType.By
        return set(tree.modifier.labels) if by else None
    if isinstance(tree, promql_parser.Call):
        argument_labels = [
            labels(argument) for argument in tree.args if not isinstance(argument, promql_parser.NumberLiteral)
        ]
        return (argument_labels[0] if argument_labels else set()) if function(tree) not in {"time", "vector"} else set()
    if isinstance(tree, promql_parser.BinaryExpr):
        sides = [side for side in (tree.lhs, tree.rhs) if not is_scalar(side)]
        side_labels = [labels(side) for side in sides]
        if None in side_labels or not side_labels:
            return None
        return set().union(*(side or set() for side in side_labels))
    if isinstance(tree, promql_parser.ParenExpr | promql_parser.UnaryExpr):
        return labels(tree.expr)
    return None


def is_scalar(tree: Any) -> bool:
    """Return whether *tree* is a scalar."""
    if isinstance(tree, promql_parser.ParenExpr):
        return is_scalar(tree.expr)
    return isinstance(tree, promql_parser.NumberLiteral) or function(tree) == "time"
