import pytest

from .desk import Desk, assert_problem, both, new, top_up


async def test_top_up(desk: Desk) -> None:
    """A top-up is accepted with its reference; once the customer has paid, the wallet is credited."""
    user, request_id = new("user"), new("r")
    response = await desk.post(f"wallets/{user}/topups", {"requestId": request_id, "amount": 5000})
    reference = f"topup-{request_id}"
    path = f"/api/v1/topups/{reference}/status"
    assert response.status_code == 202
    assert response.json() == {"workflowId": reference, "reference": reference, "links": {"status": path}}
    assert response.headers["location"] == path
    await desk.services.called("paystack/transactions", user)
    assert (await desk.get(f"topups/{reference}/status")).json()["status"] == "RUNNING"
    assert (await desk.get(f"wallets/{user}")).json() == {"userId": user, "balance": 0}
    event = await desk.services.pay(reference, 5000)
    status = await desk.closed(f"topups/{reference}/status")
    expected = {"workflowId": reference, "status": "CREDITED", "transactionId": event["data"]["id"], "error": None}
    assert status == expected
    assert (await desk.get(f"wallets/{user}")).json() == {"userId": user, "balance": 5000}


async def test_repeated(desk: Desk) -> None:
    """A repeated request gets the same response while the top-up runs and after it, and starts nothing twice."""
    user, body = new("user"), {"requestId": new("r"), "amount": 5000}
    first, *others = await both(*(desk.post(f"wallets/{user}/topups", body) for _ in range(5)))
    reference = first.json()["reference"]
    await desk.services.called("paystack/transactions", user)
    await desk.services.pay(reference, 5000)
    await desk.closed(f"topups/{reference}/status")
    run_id = await desk.run_id(reference)
    others.append(await desk.post(f"wallets/{user}/topups", body))
    assert {(response.status_code, response.text) for response in [first, *others]} == {(202, first.text)}
    assert len(await desk.services.calls("wallets/credit", user)) == 1
    assert await desk.run_id(reference) == run_id


async def test_reused_request_id(desk: Desk) -> None:
    """Another amount or another user under the same request ID is a conflict."""
    reference, user = await top_up(desk)
    body = {"requestId": reference.removeprefix("topup-"), "amount": 5000}
    assert (await desk.post(f"wallets/{user}/topups", body)).status_code == 202
    assert_problem(await desk.post(f"wallets/{user}/topups", {**body, "amount": 5001}), 409)
    assert_problem(await desk.post(f"wallets/{new('user')}/topups", body), 409)


async def test_declined(desk: Desk) -> None:
    """A payment that failed is the status DECLINED."""
    reference, user = await top_up(desk)
    await desk.services.pay(reference, 5000, success=False)
    status = await desk.closed(f"topups/{reference}/status")
    assert (status["status"], status["transactionId"], status["error"]) == ("DECLINED", None, "Payment failed")
    assert (await desk.get(f"wallets/{user}")).json()["balance"] == 0


@pytest.mark.parametrize(
    "body", [{}, {"requestId": "r"}, {"requestId": "r", "amount": 0}, {"requestId": "", "amount": 5}]
)
async def test_invalid(desk: Desk, body: dict[str, object]) -> None:
    """An invalid body is refused."""
    assert_problem(await desk.post("wallets/user-1/topups", body), 422)


@pytest.mark.parametrize("workflow_id", ["topup-unknown", "booking-unknown", "topup-"])
async def test_unknown(desk: Desk, workflow_id: str) -> None:
    """What is no top-up has no status."""
    assert_problem(await desk.get(f"topups/{workflow_id}/status"), 404)


@pytest.mark.parametrize("user", ["..", "a b", "x" * 65])
async def test_invalid_user(desk: Desk, user: str) -> None:
    """An identifier that no user can have names no wallet."""
    assert_problem(await desk.http.get(f"/api/v1/wallets/{user.replace('.', '%2e')}"), 404)
    assert_problem(await desk.post(f"wallets/{user.replace('.', '%2e')}/topups", {"requestId": "r", "amount": 1}), 404)
