import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import Client

from temporal_slo.reference.api.bookings import BookingBody
from temporal_slo.reference.api.wire import digest
from temporal_slo.reference.workflows.booking import EXECUTION_TIMEOUT
from tests.conftest import Temporal

from .desk import Desk, assert_problem, both, new, open_desk, ride, without


async def test_book(desk: Desk) -> None:
    """A booking is accepted with its workflow ID and links, and its status becomes CONFIRMED with the booking ID."""
    body = ride()
    response = await desk.post("bookings", body)
    workflow_id = f"booking-{body['requestId']}"
    assert response.status_code == 202
    assert response.json() == {
        "workflowId": workflow_id,
        "status": "ACCEPTED",
        "links": {
            "status": f"/api/v1/bookings/{workflow_id}/status",
            "cancel": f"/api/v1/bookings/{workflow_id}/cancel",
        },
    }
    assert response.headers["location"] == response.json()["links"]["status"]
    status = await desk.closed(f"bookings/{workflow_id}/status")
    assert (status["workflowId"], status["status"], status["error"]) == (workflow_id, "CONFIRMED", None)
    assert status["bookingId"]
    (charged,) = desk.services.rows("SELECT amount FROM charges WHERE user_id = ?", body["userId"])
    assert charged["amount"] == 2500


async def test_execution_timeout(desk: Desk) -> None:
    """A booking is started with the execution timeout and the task queue of bookings, under its workflow type."""
    body = ride()
    await desk.post("bookings", body)
    found = await desk.client.get_workflow_handle(f"booking-{body['requestId']}").describe()
    config = found.raw_description.execution_config
    assert config.workflow_execution_timeout.ToTimedelta() == EXECUTION_TIMEOUT
    assert (found.task_queue, found.workflow_type) == ("booking-tasks", "BookRideWorkflow")


async def test_service_date(desk: Desk) -> None:
    """The day of departure reaches the manifest."""
    body = ride(serviceDate="2031-05-06")
    await desk.post("bookings", body)
    status = await desk.closed(f"bookings/booking-{body['requestId']}/status")
    (entry,) = desk.services.rows(
        "SELECT service_date, bus_id FROM manifest_bookings WHERE booking_id = ?", status["bookingId"]
    )
    assert entry == {"service_date": "2031-05-06", "bus_id": "bus-3"}


async def test_past_service_date(desk: Desk) -> None:
    """A booking for a day that has passed is refused before it starts; one for today is accepted."""
    today = datetime.now(UTC).date()
    past = ride(serviceDate=(today - timedelta(days=1)).isoformat())
    assert_problem(await desk.post("bookings", past), 409, "serviceDate is in the past")
    assert_problem(await desk.get(f"bookings/booking-{past['requestId']}/status"), 404)
    # Midnight may pass between the two readings of the clock.
    ahead = ride(serviceDate=max(today, datetime.now(UTC).date()).isoformat())
    assert (await desk.post("bookings", ahead)).status_code == 202


async def test_repeated(desk: Desk) -> None:
    """A repeated request gets the same response while the booking runs and after it, and starts nothing twice."""
    body = ride()
    first, *others = await both(*(desk.post("bookings", body) for _ in range(5)))
    workflow_id = first.json()["workflowId"]
    await desk.closed(f"bookings/{workflow_id}/status")
    run_id = await desk.run_id(workflow_id)
    others.append(await desk.post("bookings", {**body, "serviceDate": None}))
    assert {(response.status_code, response.text) for response in [first, *others]} == {(202, first.text)}
    assert len(desk.services.rows("SELECT 1 FROM charges WHERE user_id = ?", body["userId"])) == 1
    assert len(await desk.services.calls("seats/reserve", str(body["userId"]))) == 1
    assert await desk.run_id(workflow_id) == run_id


@pytest.mark.parametrize(
    "changed", [{"fare": 2501}, {"userId": "another"}, {"segment": "x"}, {"serviceDate": "2031-01-01"}]
)
async def test_reused_request_id(desk: Desk, changed: dict[str, object]) -> None:
    """Another body under the same request ID is a conflict."""
    body = ride()
    await desk.post("bookings", body)
    response = await desk.post("bookings", {**body, **changed})
    assert_problem(response, 409, "another request with this requestId has a different body")


def test_digest() -> None:
    """A new optional field does not change the digest of a request without it; a new value does."""

    class Newer(BookingBody):
        luggage: int = 0

    body = ride()
    of = digest(BookingBody.model_validate(body))
    assert digest(Newer.model_validate(body)) == of
    assert digest(Newer.model_validate({**body, "luggage": 1})) != of
    assert digest(BookingBody.model_validate(body), "path") != of


async def test_declined(desk: Desk) -> None:
    """A declined card is the status FAILED with the reason of the issuer."""
    body = ride(userId=new("broke"))
    await desk.services.put_fault(
        str(body["userId"]), endpoint="payments/charge", kind="decline", userPrefix=body["userId"]
    )
    await desk.post("bookings", body)
    status = await desk.closed(f"bookings/booking-{body['requestId']}/status")
    assert (status["status"], status["bookingId"]) == ("FAILED", None)
    assert "declined" in status["error"]


async def test_cancel(desk: Desk) -> None:
    """A running booking is cancelled with the reason given, and cannot be cancelled again once it has closed."""
    body = ride()
    user, workflow_id = str(body["userId"]), f"booking-{body['requestId']}"
    async with desk.failing(user, "payments/charge", "latency", seconds=60):
        await desk.post("bookings", body)
        await desk.services.called("payments/charge", user)
        assert (await desk.get(f"bookings/{workflow_id}/status")).json()["status"] == "RUNNING"
        response = await desk.post(f"bookings/{workflow_id}/cancel", {"reason": "changed plans"})
        assert (response.status_code, response.json()["workflowId"]) == (202, workflow_id)
    status = await desk.closed(f"bookings/{workflow_id}/status")
    assert (status["status"], status["error"]) == ("CANCELLED", "Booking cancelled by user: changed plans")
    assert_problem(await desk.post(f"bookings/{workflow_id}/cancel"), 409, "the booking is no longer running")


async def test_cancel_without_body(api_client: Client, desk: Desk) -> None:
    """A cancellation without a body has the default reason."""
    workflow_id = f"booking-{new('r')}"
    handle = await api_client.start_workflow(
        "BookRideWorkflow", id=workflow_id, task_queue="unpolled", args=["never run"]
    )
    assert (await desk.http.post(f"/api/v1/bookings/{workflow_id}/cancel")).status_code == 202
    signals = [event.workflow_execution_signaled_event_attributes async for event in handle.fetch_history_events()]
    (payload,) = signals[-1].input.payloads
    assert payload.data == b'"User requested cancellation"'
    await handle.terminate()


@pytest.mark.parametrize("workflow_id", ["booking-unknown", "topup-unknown", "bus-1-2031-01-01", "booking-", "a%20b"])
async def test_unknown(desk: Desk, workflow_id: str) -> None:
    """What is no booking has no status and cannot be cancelled."""
    assert_problem(await desk.get(f"bookings/{workflow_id}/status"), 404)
    assert_problem(await desk.post(f"bookings/{workflow_id}/cancel"), 404)


async def test_other_type(api_client: Client, desk: Desk) -> None:
    """A workflow of another type is no booking, whatever its ID."""
    workflow_id = f"booking-{new('r')}"
    handle = await api_client.start_workflow("Another", id=workflow_id, task_queue="unpolled")
    assert_problem(await desk.get(f"bookings/{workflow_id}/status"), 404, "no such booking")
    assert_problem(await desk.post(f"bookings/{workflow_id}/cancel", {}), 404, "no such booking")
    assert "cancelBooking" not in [
        event.workflow_execution_signaled_event_attributes.signal_name async for event in handle.fetch_history_events()
    ]
    await handle.terminate()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        *((without(ride(), field), field) for field in ("requestId", "userId", "busId", "segment", "fare")),
        *((ride(requestId=value), "requestId") for value in ("", "a/b", "x" * 65, "naïve", 7, None, "a\n")),
        *((ride(fare=value), "fare") for value in (0, -1, 1.5, "2500", True, 10**12 + 1)),
        *((ride(userId=value), "userId") for value in ("", "..", "a b", "x" * 65)),
        *((ride(serviceDate=value), "serviceDate") for value in ("2031-02-30", "tomorrow", 5, "٢٠٣١-01-01")),
        *((ride(segment=value), "segment") for value in ("", "x" * 129, "a\x00b", "a\nb", "\ud800")),
        (ride(unknown=1), "unknown"),
    ],
)
async def test_invalid(desk: Desk, body: dict[str, object], field: str) -> None:
    """An invalid body is refused with the name of the field, and nothing is started."""
    response = await desk.post("bookings", body)
    assert_problem(response, 422)
    assert response.json()["detail"].startswith(f"body.{field}: ")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"a": 1', b"\xff", b"[" * 60_000])
async def test_malformed(desk: Desk, body: bytes) -> None:
    """A body that is no JSON object is refused."""
    response = await desk.http.post("/api/v1/bookings", content=body, headers={"content-type": "application/json"})
    assert response.status_code in {400, 422}
    assert_problem(response, response.status_code)


async def test_status_without_worker(temporal: Temporal, tmp_path: Path) -> None:
    """Without a running worker, bookings are accepted and their status is answered within a second."""
    client = await temporal.namespace("reference-api-without-workers")
    async with open_desk(client, tmp_path, workers=False) as desk:
        path = f"bookings/booking-{(body := ride())['requestId']}"
        assert (await desk.post("bookings", body)).status_code == 202
        begin = time.monotonic()
        status = await desk.get(f"{path}/status")
        assert time.monotonic() - begin < 1
        assert status.json()["status"] == "RUNNING"
        assert (await desk.post(f"{path}/cancel", {})).status_code == 202


@pytest.mark.parametrize(("end", "status"), [("cancel", "CANCELLED"), ("terminate", "TERMINATED")])
async def test_closed_by_temporal(api_client: Client, desk: Desk, end: str, status: str) -> None:
    """A run that was cancelled or terminated in Temporal has a status of its own, with the error of Temporal."""
    body = ride()
    user, workflow_id = str(body["userId"]), f"booking-{body['requestId']}"
    async with desk.failing(user, "seats/reserve", "latency", seconds=60):
        await desk.post("bookings", body)
        await desk.services.called("seats/reserve", user)
        handle = api_client.get_workflow_handle(workflow_id)
        await (handle.cancel() if end == "cancel" else handle.terminate())
    found = await desk.closed(f"bookings/{workflow_id}/status")
    assert (found["status"], found["bookingId"]) == (status, None)
    assert found["error"]


async def test_timed_out(api_client: Client, desk: Desk) -> None:
    """A run that exceeded its execution timeout has the status TIMED_OUT."""
    workflow_id = f"booking-{new('r')}"
    await api_client.start_workflow(
        "BookRideWorkflow", id=workflow_id, task_queue="unpolled", args=[0], execution_timeout=timedelta(seconds=1)
    )
    assert (await desk.closed(f"bookings/{workflow_id}/status"))["status"] == "TIMED_OUT"


async def test_compensated_in_part(desk: Desk) -> None:
    """A run whose compensation failed has the status FAILED, and its error says what is left."""
    body = ride()
    user = str(body["userId"])
    async with (
        desk.failing(user, "bookings/confirm", "reject"),
        desk.failing(user, "payments/refund", "reject"),
    ):
        await desk.post("bookings", body)
        found = await desk.closed(f"bookings/booking-{body['requestId']}/status")
    assert found["status"] == "FAILED"
    assert "compensated only in part" in found["error"]
