"""Fault rules that the load installs in the services: they cause its failures, as test cards do at card issuers."""

from collections.abc import Mapping
from typing import Any, Final

from temporal_slo.reference.load.calls import Http


def _rule(endpoint: str, user: str, kind: str, **more: object) -> dict[str, object]:
    return {"endpoint": endpoint, "userPrefix": f"{user}-", "kind": kind, **more}


RULES: Final[Mapping[str, Mapping[str, Any]]] = {
    "load-declined": _rule("payments/charge", "declined", "decline"),
    "load-unreachable": _rule("payments/charge", "unreachable", "outage"),
    "load-unconfirmed": _rule("bookings/confirm", "refundless", "reject"),
    "load-refundless": _rule("payments/refund", "refundless", "reject"),
    # Time for the user to cancel through the API.
    "load-hesitant": _rule("seats/reserve", "hesitant", "latency", seconds=2),
    "load-uncreditable": _rule("wallets/credit", "uncreditable", "reject"),
}
"""By name. They apply to users of one kind each, so that they do not affect other users of the same services."""


async def install(services: Http) -> None:
    """Install the rules, or replace them by the same: loads may run one after another or together."""
    for name, rule in RULES.items():
        await services.send("PUT", f"/faults/{name}", rule)
