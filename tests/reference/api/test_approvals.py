import pytest

from temporal_slo.servers.process import until

from .desk import Desk, assert_problem, new, top_up

APPROVED = {"approved": True, "approver": "finance-1", "reason": "paid in two parts"}
REJECTED = {"approved": False, "approver": "finance-1", "reason": "unknown card"}


async def underpaid(desk: Desk) -> tuple[str, str]:
    """Return reference and user of a top-up of 5000 of which 4500 were paid, once its approval is open."""
    reference, user = await top_up(desk)
    await desk.services.pay(reference, 4500)
    await desk.services.called("approvals", user)

    async def listed() -> bool:
        return any(found["workflowId"] == reference for found in await all_open(desk))

    await until(listed, deadline=20, what=f"approval of {reference}")
    return reference, user


async def all_open(desk: Desk, limit: int = 100) -> list[dict[str, object]]:
    """Return all open approvals, page by page."""
    page = (await desk.get("approvals", limit=limit)).raise_for_status().json()
    found = list(page["approvals"])
    while page["nextCursor"]:
        page = (await desk.get("approvals", limit=limit, cursor=page["nextCursor"])).raise_for_status().json()
        found += page["approvals"]
    return found


async def test_approve(desk: Desk) -> None:
    """An approval is listed while it is open; approved, what was paid is credited, and it is listed as closed."""
    reference, user = await underpaid(desk)
    (found,) = [found for found in await all_open(desk) if found["workflowId"] == reference]
    assert (found["userId"], found["asked"], found["paid"], found["state"]) == (user, 5000, 4500, "open")
    response = await desk.post(f"approvals/{reference}/decision", APPROVED)
    assert (response.status_code, response.json()) == (200, {"workflowId": reference, "decision": "approved"})
    assert reference not in [found["workflowId"] for found in await all_open(desk)]
    closed = (await desk.get("approvals", state="closed", limit=100)).json()["approvals"]
    (found,) = [found for found in closed if found["workflowId"] == reference]
    assert (found["decision"], found["approver"], found["reason"]) == ("approved", "finance-1", "paid in two parts")
    assert (await desk.closed(f"topups/{reference}/status"))["status"] == "CREDITED"
    assert (await desk.get(f"wallets/{user}")).json()["balance"] == 4500


async def test_reject(desk: Desk) -> None:
    """Rejected, the payment is refunded."""
    reference, user = await underpaid(desk)
    response = await desk.post(f"approvals/{reference}/decision", REJECTED)
    assert response.json()["decision"] == "rejected"
    status = await desk.closed(f"topups/{reference}/status")
    assert (status["status"], status["error"]) == ("REJECTED", "Paid 4500 instead of 5000: unknown card")
    assert (await desk.get(f"wallets/{user}")).json()["balance"] == 0
    assert len(desk.services.rows("SELECT 1 FROM refunds WHERE reference = ?", reference)) == 1


async def test_repeated(desk: Desk) -> None:
    """The same decision again gets the same response, also after the top-up has closed; another one is a conflict."""
    reference, _ = await underpaid(desk)
    first = await desk.post(f"approvals/{reference}/decision", APPROVED)
    again = await desk.post(f"approvals/{reference}/decision", APPROVED)
    assert (again.status_code, again.text) == (200, first.text)
    await desk.closed(f"topups/{reference}/status")
    again = await desk.post(f"approvals/{reference}/decision", APPROVED)
    assert (again.status_code, again.text) == (200, first.text)
    assert_problem(await desk.post(f"approvals/{reference}/decision", REJECTED), 409)


async def test_not_open(desk: Desk) -> None:
    """A decision on a top-up that waits for none is a conflict."""
    reference, _ = await top_up(desk)
    assert_problem(await desk.post(f"approvals/{reference}/decision", APPROVED), 409, "no approval is open")


async def test_unknown(desk: Desk) -> None:
    """A decision on an unknown top-up is not found, whatever else has the ID."""
    assert_problem(await desk.post(f"approvals/topup-{new('r')}/decision", APPROVED), 404)
    assert_problem(await desk.post(f"approvals/booking-{new('r')}/decision", APPROVED), 404)


@pytest.mark.parametrize(
    "changed",
    [{"approved": 1}, {"approver": ""}, {"reason": ""}, {"reason": "a\x00b"}, {"reason": "x" * 501}, {"more": 1}],
)
async def test_invalid(desk: Desk, changed: dict[str, object]) -> None:
    """An invalid decision is refused before it reaches a workflow."""
    assert_problem(await desk.post("approvals/topup-1/decision", {**APPROVED, **changed}), 422)


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"cursor": "x"}, {"state": "half"}])
async def test_invalid_query(desk: Desk, query: dict[str, str | int]) -> None:
    """An invalid page is refused."""
    assert_problem(await desk.get("approvals", **query), 422)


async def test_pages(desk: Desk) -> None:
    """Every open approval is on exactly one page."""
    references = {(await underpaid(desk))[0] for _ in range(3)}
    found = [str(approval["workflowId"]) for approval in await all_open(desk, limit=2)]
    assert len(found) == len(set(found))
    assert references <= set(found)
