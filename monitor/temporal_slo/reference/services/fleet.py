"""Buses, their timetables and manifests."""

from datetime import datetime
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from temporal_slo.reference.services.books import Db
from temporal_slo.reference.services.refusals import refuse, refuse_unless_same
from temporal_slo.reference.web.wire import Empty, Id, Moment, Request, ServiceDate, Wire

BUSES: Final = tuple(f"bus-{number}" for number in range(12))
DEPARTS: Final = "06:00:00Z"
ARRIVES: Final = "18:00:00Z"


class Service(Request):
    """One day of one bus."""

    bus_id: Id
    service_date: ServiceDate


class ManifestEntry(Service):
    """A booking to add to a manifest."""

    booking_id: Id


class Timetable(Wire):
    """When a bus departs and arrives on a day."""

    departs_at: Moment
    arrives_at: Moment


class TimetableRequest(Request):
    """A timetable to set; the bus arrives after it departs."""

    departs_at: Moment
    arrives_at: Moment

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.arrives_at <= self.departs_at:
            raise ValueError("arrivesAt must be after departsAt")
        return self


class Manifest(Timetable):
    """A manifest without its bookings."""

    sealed: bool


class SealedManifest(Wire):
    """The bookings of a sealed manifest, in the order in which they were added."""

    bookings: list[str]


class Position(Wire):
    """Where a bus is.

    Attributes:
        progress: Share of the way from departure to arrival.
        arrived: Whether it has arrived.
    """

    progress: Annotated[float, Field(ge=0, le=1)]
    arrived: bool


class Buses(Wire):
    """The buses of the fleet."""

    buses: list[str]


def buses(_: Db) -> Buses:
    """Return the buses of the fleet."""
    return Buses(buses=list(BUSES))


def set_timetable(db: Db, bus_id: str, service_date: str, request: TimetableRequest) -> Timetable:
    """Set when a bus departs and arrives on a day."""
    timetable = Timetable(departs_at=request.departs_at, arrives_at=request.arrives_at)
    departs_at, arrives_at = (moment.isoformat() for moment in (request.departs_at, request.arrives_at))
    db.execute("INSERT OR REPLACE INTO timetables VALUES (?, ?, ?, ?)", (bus_id, service_date, departs_at, arrives_at))
    return timetable


def timetable(db: Db, bus_id: str, service_date: str) -> Timetable:
    """Return the timetable of a day: the one set, or the default."""
    row = db.execute(
        "SELECT departs_at, arrives_at FROM timetables WHERE bus_id = ? AND service_date = ?", (bus_id, service_date)
    ).fetchone()
    departs_at, arrives_at = row or (f"{service_date}T{DEPARTS}", f"{service_date}T{ARRIVES}")
    return Timetable(departs_at=datetime.fromisoformat(departs_at), arrives_at=datetime.fromisoformat(arrives_at))


def open_manifest(db: Db, request: Service) -> Manifest:
    """Open the manifest of a day; one that exists stays as it is."""
    times = timetable(db, request.bus_id, request.service_date)
    sealed = _ensure_manifest(db, request)
    return Manifest(departs_at=times.departs_at, arrives_at=times.arrives_at, sealed=sealed)


def add_booking(db: Db, request: ManifestEntry) -> Empty:
    """Add a booking to the manifest of a day."""
    booking = db.execute("SELECT confirmed FROM bookings WHERE booking_id = ?", (request.booking_id,)).fetchone()
    refuse(booking and not booking["confirmed"], "the booking was released")
    known = db.execute("SELECT * FROM manifest_bookings WHERE booking_id = ?", (request.booking_id,)).fetchone()
    if known:
        refuse_unless_same(known, bus_id=request.bus_id, service_date=request.service_date)
        return Empty()
    refuse(_ensure_manifest(db, request), "the manifest is sealed")
    db.execute(
        "INSERT INTO manifest_bookings (booking_id, bus_id, service_date) VALUES (?, ?, ?)",
        (request.booking_id, request.bus_id, request.service_date),
    )
    return Empty()


def seal(db: Db, request: Service) -> SealedManifest:
    """Seal the manifest of a day, and return its bookings."""
    db.execute(
        "INSERT INTO manifests VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET sealed = 1",
        (request.bus_id, request.service_date),
    )
    rows = db.execute(
        "SELECT booking_id FROM manifest_bookings WHERE bus_id = ? AND service_date = ? ORDER BY seq",
        (request.bus_id, request.service_date),
    )
    return SealedManifest(bookings=[row["booking_id"] for row in rows])


def position(db: Db, bus_id: str, service_date: str, now: datetime) -> Position:
    """Return where a bus is, by its timetable and the clock."""
    times = timetable(db, bus_id, service_date)
    progress = (now - times.departs_at) / (times.arrives_at - times.departs_at)
    return Position(progress=min(max(progress, 0.0), 1.0), arrived=now >= times.arrives_at)


def _ensure_manifest(db: Db, service: Service) -> bool:
    """Open the manifest unless it exists, and return whether it is sealed."""
    key = (service.bus_id, service.service_date)
    db.execute("INSERT OR IGNORE INTO manifests (bus_id, service_date) VALUES (?, ?)", key)
    row = db.execute("SELECT sealed FROM manifests WHERE bus_id = ? AND service_date = ?", key).fetchone()
    return bool(row["sealed"])
