"""Fault injection: each kind, whom it concerns, and that it can be repeated."""

import asyncio
import time
from itertools import takewhile
from pathlib import Path

import httpx
import pytest

from tests.reference.services.steps import STEPS, Step, fare, perform, refused, seat
from tests.reference.services_process import ServicesUnderTest, running_services

CALLS = 60
LONG = 600.0


async def failing(services: ServicesUnderTest, first: int, count: int) -> list[int]:
    """Reserve seats one after the other, and return the numbers of those that failed."""
    statuses = {
        number: (await services.send("seats/reserve", seat(f"r{number}"), f"k{number}")).status_code
        for number in range(first, first + count)
    }
    assert set(statuses.values()) <= {200, 500}
    return [number for number, status in statuses.items() if status == 500]


@pytest.mark.parametrize(("kind", "status"), [("outage", 503), ("error", 500)])
async def test_retryable(services: ServicesUnderTest, kind: str, status: int) -> None:
    """An outage or an error has no effect; the same key succeeds when the fault has ended."""
    await services.put_fault("f", endpoint="payments/charge", kind=kind)
    await refused(services, "payments/charge", fare(), "k1", status)
    assert services.rows("SELECT * FROM charges") == []
    await services.delete_fault("f")
    assert await services.post("payments/charge", fare(), "k1") == {"transactionId": "r1-payment"}
    assert [call["attempt"] for call in await services.calls("payments/charge", "ada-1")] == [1, 2]


@pytest.mark.parametrize(
    ("kind", "status", "detail"),
    [("reject", 409, "payments/charge refused the call"), ("decline", 402, "card declined")],
)
async def test_final(services: ServicesUnderTest, kind: str, status: int, detail: str) -> None:
    """A rejection or a decline has no effect and is the final answer to its key; another key succeeds later."""
    await services.put_fault("f", endpoint="payments/charge", kind=kind, count=1)
    for _ in range(2):
        assert await refused(services, "payments/charge", fare(), "k1", status) == detail
    assert services.rows("SELECT * FROM charges") == []
    assert await services.post("payments/charge", fare(), "k2") == {"transactionId": "r1-payment"}


async def test_fault_after_effect(services: ServicesUnderTest) -> None:
    """A call that took effect is never rejected or declined afterwards: its key gets the stored response."""
    charged = await services.post("payments/charge", fare(), "k1")
    await services.put_fault("f1", endpoint="*", kind="reject")
    await services.put_fault("f2", endpoint="payments/charge", kind="decline")
    assert await services.post("payments/charge", fare(), "k1") == charged
    await services.put_fault("f3", endpoint="*", kind="outage")
    await refused(services, "payments/charge", fare(), "k1", 503)


async def test_latency(services: ServicesUnderTest) -> None:
    """A delayed call has no effect before its time has passed."""
    await services.put_fault("f", endpoint="seats/reserve", kind="latency", seconds=0.4)
    begin = time.monotonic()
    call = asyncio.create_task(services.post("seats/reserve", seat(), "k1"))
    await services.called("seats/reserve", "ada-1")
    assert services.rows("SELECT * FROM reservations") == []
    await call
    assert time.monotonic() - begin >= 0.4
    assert len(services.rows("SELECT * FROM reservations")) == 1


@pytest.mark.parametrize("how", ["delete", "delete all", "replace"])
async def test_end_of_latency(services: ServicesUnderTest, how: str) -> None:
    """A delayed call goes on when its rule is deleted or replaced."""
    await services.put_fault("f", endpoint="seats/reserve", kind="latency", seconds=LONG)
    call = asyncio.create_task(services.post("seats/reserve", seat(), "k1"))
    await services.called("seats/reserve", "ada-1")
    if how == "replace":
        await services.put_fault("f", endpoint="books", kind="outage")
    else:
        (await services.http.delete("/faults/f" if how == "delete" else "/faults")).raise_for_status()
    assert (await call)["seatNumber"] == "S01"


async def test_no_response(services: ServicesUnderTest) -> None:
    """A call without a response has taken effect; its key gets the response when the fault has ended."""
    await services.put_fault("f", endpoint="payments/charge", kind="no_response", seconds=LONG)
    async with httpx.AsyncClient(base_url=services.url, timeout=0.3) as impatient:
        for _ in range(2):
            with pytest.raises(httpx.ReadTimeout):
                await impatient.post("/api/v1/payments/charge", json=fare(), headers={"X-Activity-ID": "k1"})
    assert len(services.rows("SELECT * FROM charges")) == 1
    await services.delete_fault("f")
    assert await services.post("payments/charge", fare(), "k1") == {"transactionId": "r1-payment"}


async def test_late_response(services: ServicesUnderTest) -> None:
    """A client that waits long enough gets the response after all."""
    await services.put_fault("f", endpoint="payments/charge", kind="no_response", seconds=0.3)
    begin = time.monotonic()
    assert await services.post("payments/charge", fare(), "k1") == {"transactionId": "r1-payment"}
    assert time.monotonic() - begin >= 0.3


@pytest.mark.parametrize("kind", ["latency", "no_response"])
async def test_shutdown(tmp_path: Path, kind: str) -> None:
    """A shutdown does not wait for faults: a delayed call gets 503 and has no effect."""
    async with running_services(tmp_path) as services:
        await services.put_fault("f", endpoint="seats/reserve", kind=kind, seconds=LONG)
        async with httpx.AsyncClient(base_url=services.url) as http:
            key = {"X-Activity-ID": "k1"}
            call = asyncio.create_task(http.post("/api/v1/seats/reserve", json=seat(), headers=key))
            await services.called("seats/reserve", "ada-1")
            services.shut_down()
            response = await call
    assert response.status_code == (503 if kind == "latency" else 200)
    assert len(services.rows("SELECT * FROM reservations")) == (kind == "no_response")


@pytest.mark.parametrize("step", STEPS, ids=str)
async def test_user_prefix(services: ServicesUnderTest, step: Step) -> None:
    """A rule for some users concerns all their calls, also those that name only a reservation, reference or booking."""
    await perform(services, *takewhile(step.path.__ne__, (step.path for step in STEPS)))
    await services.put_fault("f", endpoint="*", userPrefix="nobody-", kind="outage")
    assert (await services.send(step.path, step.body, "k1")).status_code == 200
    (call,) = (call for call in await services.calls() if call["key"] == "k1")
    assert call["userId"] == step.user
    await services.put_fault("f", endpoint="*", userPrefix=step.user[:4], kind="outage")
    await refused(services, step.path, step.body, "k2", 503)


async def test_seed(services: ServicesUnderTest) -> None:
    """The same seed makes the same calls fail, about as many as the rate says; another seed makes others fail."""
    outcomes = []
    for run, seed in enumerate((7, 7, 8)):
        await services.put_fault("f", endpoint="seats/reserve", kind="error", rate=0.3, seed=seed)
        failed = await failing(services, 1000 * run, CALLS)
        outcomes.append([number % 1000 for number in failed])
    assert outcomes[0] == outcomes[1] != outcomes[2]
    assert 0.1 * CALLS < len(outcomes[0]) < 0.5 * CALLS


async def test_restart(tmp_path: Path) -> None:
    """Rules survive a restart, and go on with the call at which they were."""
    rule = {"endpoint": "seats/reserve", "kind": "error", "rate": 0.3, "seed": 7, "after": 5, "count": 9}
    failed: list[list[int]] = []
    for name, parts in (("one", (CALLS,)), ("two", (20, CALLS - 20))):
        (tmp_path / name).mkdir()
        numbers: list[int] = []
        for index, count in enumerate(parts):
            async with running_services(tmp_path / name) as services:
                if index == 0:
                    await services.put_fault("f", **rule)
                numbers += await failing(services, sum(parts[:index]), count)
        failed.append(numbers)
    assert failed[0] == failed[1]
    assert (len(failed[0]), min(failed[0]) >= 5) == (9, True)


async def test_several_rules(services: ServicesUnderTest) -> None:
    """Several rules concern the same call; the list counts for each how many calls it concerned and failed."""
    await services.put_fault("slow", endpoint="*", kind="latency", seconds=0.2)
    await services.put_fault("down", endpoint="seats/reserve", kind="outage", after=1, count=1)
    begin = time.monotonic()
    statuses = [(await services.send("seats/reserve", seat(), "k1")).status_code for _ in range(3)]
    assert (statuses, time.monotonic() - begin >= 0.6) == ([200, 503, 200], True)
    faults = (await services.http.get("/faults")).json()["faults"]
    assert [(fault["name"], fault["matched"], fault["injected"]) for fault in faults] == [
        ("down", 3, 1),
        ("slow", 3, 3),
    ]


async def test_reads_fail(services: ServicesUnderTest) -> None:
    """A read fails, too, but the faults themselves stay under control."""
    await services.put_fault("f", endpoint="*", kind="outage")
    for path in ("buses", "wallets/bob-1", "books", "approvals", "buses/bus-1/position?serviceDate=2031-05-07"):
        assert (await services.http.get(f"/api/v1/{path}")).status_code == 503, path
    assert (await services.http.get("/healthz")).text == "ok\n"
    await services.delete_fault("f")
    assert len(await services.calls()) == 5


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"endpoint": "payments/charges", "kind": "outage"}, "body.endpoint: Input should be '*'"),
        ({"endpoint": "*", "kind": "explosion"}, "body.kind: Input should be 'outage'"),
        ({"endpoint": "*", "kind": "decline"}, "only the endpoint payments/charge can decline"),
        ({"endpoint": "*", "kind": "latency"}, "a fault of kind latency needs seconds above 0"),
        ({"endpoint": "*", "kind": "error", "rate": 1.5}, "body.rate: Input should be less than or equal to 1"),
        ({"endpoint": "*", "kind": "error", "user_prefix": "a"}, "body.user_prefix: Extra inputs are not permitted"),
    ],
    ids=["endpoint", "kind", "decline", "seconds", "rate", "field"],
)
async def test_bad_rule(services: ServicesUnderTest, rule: dict[str, object], message: str) -> None:
    """A rule that would never fail a call, or not as meant, is refused with the reason."""
    response = await services.http.put("/faults/f", json=rule)
    assert (response.status_code, message in response.json()["detail"]) == (422, True), response.text
    assert (await services.http.get("/faults")).json() == {"faults": []}


async def test_too_many_rules(services: ServicesUnderTest) -> None:
    """There are at most 100 rules; one more is refused, but one of them can be replaced."""
    for number in range(100):
        await services.put_fault(f"f{number}", endpoint="books", kind="error")
    rule = {"endpoint": "books", "kind": "outage"}
    assert (await services.http.put("/faults/f100", json=rule)).status_code == 409
    await services.put_fault("f7", **rule)
    assert (await services.http.delete("/faults/f100")).status_code == 404
