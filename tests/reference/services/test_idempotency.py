"""Each step takes effect once, whatever is repeated."""

import asyncio

import pytest

from tests.reference.services.steps import STEPS, refused, seat
from tests.reference.services_process import ServicesUnderTest

NOT_REPEATABLE = ("paystack/transactions/t1/pay", "approvals/remind")
"""A second call is a second effect: another payment of the customer, another reminder."""


def state(services: ServicesUnderTest) -> dict[str, object]:
    """Return the contents of all tables but those of calls and keys."""
    tables = [row["name"] for row in services.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    ignored = {"calls", "keys", "call_counts", "sqlite_sequence"}
    return {table: services.rows(f"SELECT * FROM {table}") for table in tables if table not in ignored}  # noqa: S608


async def test_same_key(services: ServicesUnderTest) -> None:
    """A repeated key gets the same response and has no effect, also when everything has changed since."""
    responses = [await services.post(step.path, step.body, f"key-{step.path}") for step in STEPS]
    before = state(services)
    assert [await services.post(step.path, step.body, f"key-{step.path}") for step in STEPS] == responses
    assert state(services) == before
    attempts = {call["key"]: call["attempt"] for call in await services.calls()}
    assert set(attempts.values()) == {2}


async def test_same_business_key(services: ServicesUnderTest) -> None:
    """A step that is repeated with another key gets the same response and has no effect; with other details, 409."""
    for step in STEPS:
        response = await services.post(step.path, step.body, f"first-{step.path}")
        if step.path in NOT_REPEATABLE:
            continue
        before = state(services)
        assert await services.post(step.path, step.body, f"second-{step.path}") == response, step
        if step.other:
            assert await refused(services, step.path, {**step.body, **step.other}, f"third-{step.path}")
        assert state(services) == before, step


@pytest.mark.parametrize(
    ("path", "body"), [("seats/reserve", seat(user="eve-1")), ("seats/release", {"reservationId": "r1"})]
)
async def test_key_of_another_call(services: ServicesUnderTest, path: str, body: dict[str, str]) -> None:
    """A key that was used with another path or body is refused with 422."""
    await services.post("seats/reserve", seat(), "k")
    detail = await refused(services, path, body, "k", 422)
    assert detail == "this X-Activity-ID was used with another path or body"
    assert services.rows("SELECT user_id, released FROM reservations") == [{"user_id": "ada-1", "released": 0}]


@pytest.mark.parametrize("key", [None, "", "k" * 513, "a b", "caf\u00e9"])
async def test_bad_key(services: ServicesUnderTest, key: str | None) -> None:
    """A step without a key, or with one that is too long or not printable ASCII, is refused with 400."""
    for step in STEPS:
        if step.path.endswith("/pay"):
            continue
        response = await services.send(step.path, step.body, key)
        assert (response.status_code, response.json()["title"]) == (400, "Bad Request"), step
    assert services.rows("SELECT * FROM calls") == []


async def test_longest_key(services: ServicesUnderTest) -> None:
    """A key may have 512 characters."""
    await services.post("seats/reserve", seat(), "k" * 512)


async def test_refusal_is_stored(services: ServicesUnderTest) -> None:
    """A refusal is final: its key gets it again, even if the step would now be possible."""
    confirmation = {"reservationId": "r1", "paymentId": "r1-payment"}
    assert await refused(services, "bookings/confirm", confirmation, "early") == "no seat is reserved"
    await services.post("seats/reserve", seat(), "k1")
    await services.post("payments/charge", {"reservationId": "r1", "userId": "ada-1", "amount": 5}, "k2")
    assert await refused(services, "bookings/confirm", confirmation, "early") == "no seat is reserved"
    assert await services.post("bookings/confirm", confirmation, "late") == {"bookingId": "r1-booking"}


async def test_same_key_at_once(services: ServicesUnderTest) -> None:
    """Calls with the same key that arrive at once take effect once, and all get the same response."""
    await services.post("paystack/transactions", {"reference": "t9", "userId": "bob-1", "amount": 5}, "k1")
    paid = [services.post("paystack/transactions/t9/pay", {"amount": 5}, "k2") for _ in range(20)]
    events = await asyncio.gather(*paid)
    assert {event["data"]["id"] for event in events} == {"t9-trx-1"}
    assert len(services.rows("SELECT * FROM payments")) == 1
