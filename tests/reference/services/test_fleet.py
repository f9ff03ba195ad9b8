"""Manifests, timetables and positions of buses."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.reference.services.steps import DAY, refused
from tests.reference.services_process import ServicesUnderTest, running_services


async def test_manifest(services: ServicesUnderTest) -> None:
    """A manifest takes bookings until it is sealed, and lists them in their order."""
    opened = await services.post("manifests/open", DAY, "k1")
    assert opened == {"departsAt": "2031-05-07T06:00:00Z", "arrivesAt": "2031-05-07T18:00:00Z", "sealed": False}
    for booking in ("b2", "b1", "b3"):
        await services.post("manifests/add-booking", {**DAY, "bookingId": booking}, f"add-{booking}")
    assert await services.post("manifests/seal", DAY, "k2") == {"bookings": ["b2", "b1", "b3"]}
    assert await refused(services, "manifests/add-booking", {**DAY, "bookingId": "b4"}, "k3") == (
        "the manifest is sealed"
    )
    assert (await services.post("manifests/open", DAY, "k4"))["sealed"] is True


async def test_recorded_booking(services: ServicesUnderTest) -> None:
    """A booking that is on the manifest can be added again after sealing: a retry does not fail."""
    await services.post("manifests/add-booking", {**DAY, "bookingId": "b1"}, "k1")
    await services.post("manifests/seal", DAY, "k2")
    assert await services.post("manifests/add-booking", {**DAY, "bookingId": "b1"}, "k3") == {}


async def test_buses(services: ServicesUnderTest) -> None:
    """The fleet has twelve buses."""
    assert await services.get("buses") == {"buses": [f"bus-{number}" for number in range(12)]}


@pytest.mark.parametrize(
    ("hour", "progress", "arrived"),
    [(5, 0.0, False), (6, 0.0, False), (9, 0.25, False), (18, 1.0, True), (19, 1.0, True)],
)
async def test_position(tmp_path: Path, hour: int, progress: float, arrived: bool) -> None:  # noqa: FBT001 a case
    """A bus is where its timetable and the clock say; by default it runs from 06:00 to 18:00 UTC."""
    async with running_services(tmp_path, clock=lambda: datetime(2031, 5, 7, hour, tzinfo=UTC)) as services:
        position = await services.get("buses/bus-3/position?serviceDate=2031-05-07")
        assert position == {"progress": progress, "arrived": arrived}


async def test_timetable(services: ServicesUnderTest) -> None:
    """A timetable that was set is that of the manifest, in UTC."""
    times = {"departsAt": "2031-05-07T10:00:00+01:00", "arrivesAt": "2031-05-07T11:30:00.5Z"}
    response = await services.http.put("/api/v1/timetables/bus-3/2031-05-07", json=times)
    assert response.json() == {"departsAt": "2031-05-07T09:00:00Z", "arrivesAt": "2031-05-07T11:30:00Z"}
    assert {**response.json(), "sealed": False} == await services.post("manifests/open", DAY, "k1")
    other_day = await services.post("manifests/open", {**DAY, "serviceDate": "2031-05-08"}, "k2")
    assert other_day["departsAt"] == "2031-05-08T06:00:00Z"


@pytest.mark.parametrize(
    ("day", "departs", "arrives"),
    [
        ("2031-05-07", "2031-05-07T10:00:00Z", "2031-05-07T10:00:00Z"),
        ("2031-05-07", "2031-05-07T10:00:00", "2031-05-07T11:00:00"),
        ("2031-05-07", 1936000000, 1936000001),
        ("2031-02-29", "2031-03-01T10:00:00Z", "2031-03-01T11:00:00Z"),
    ],
    ids=["no time between", "no time zone", "not a string", "no such day"],
)
async def test_bad_timetable(services: ServicesUnderTest, day: str, departs: object, arrives: object) -> None:
    """A timetable of a real day with arrival after departure, both RFC 3339, is required."""
    times = {"departsAt": departs, "arrivesAt": arrives}
    response = await services.http.put(f"/api/v1/timetables/bus-3/{day}", json=times)
    assert response.status_code == 422
