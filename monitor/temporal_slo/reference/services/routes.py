"""The endpoints of the services under /api/v1."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from temporal_slo.reference.services import approvals, bookings, cards, fleet, paystack, totals, wallets
from temporal_slo.reference.services.calls import Clock
from temporal_slo.reference.services.steps import PREFIX, FreeStep, KeyedStep
from temporal_slo.reference.web import problems
from temporal_slo.reference.web.wire import Empty, Id, ServiceDate, rfc3339

PathId = Annotated[Id, Path()]
PathDate = Annotated[ServiceDate, Path()]

# 409 is a refusal; 500 and 503 are injected faults, and 503 also a database that cannot be written.
_STEP: dict[str, Any] = {"responses": problems.documented(409, 500, 503)}
_FOUND: dict[str, Any] = {"responses": problems.documented(404, 409, 500, 503)}


def router(clock: Clock, *, deliver: bool) -> APIRouter:
    """Return the endpoints.

    Args:
        clock: Returns the time now.
        deliver: Whether events of payments are delivered to a webhook.
    """
    routes = APIRouter(prefix=PREFIX)
    _add_bookings(routes, clock)
    _add_fleet(routes, clock)
    _add_paystack(routes, deliver=deliver)
    _add_wallets(routes)
    _add_approvals(routes, clock)
    return routes


def _add_bookings(routes: APIRouter, clock: Clock) -> None:
    @routes.post("/seats/reserve", response_model=bookings.Seat, **_STEP)
    async def reserve_seat(body: bookings.SeatRequest, step: KeyedStep) -> Response:
        """Reserve a seat."""
        return await step.take(lambda db: bookings.reserve(db, body, clock()), body)

    @routes.post("/seats/release", response_model=Empty, **_STEP)
    async def release_seat(body: bookings.Reservation, step: KeyedStep) -> Response:
        """Release a seat, its booking and its place on the manifest."""
        return await step.take(lambda db: bookings.release(db, body), body)

    @routes.post("/payments/charge", response_model=cards.Charge, responses=problems.documented(402, 409, 500, 503))
    async def charge(body: cards.ChargeRequest, step: KeyedStep) -> Response:
        """Charge the fare of a reservation; 402 if the issuer of the card declines."""
        return await step.take(lambda db: cards.charge(db, body), body)

    @routes.post("/payments/refund", response_model=cards.Refund, **_STEP)
    async def refund(body: bookings.Reservation, step: KeyedStep) -> Response:
        """Refund the fare of a reservation, and block a later charge."""
        return await step.take(lambda db: cards.refund(db, body), body)

    @routes.post("/bookings/confirm", response_model=bookings.Booking, **_STEP)
    async def confirm_booking(body: bookings.ConfirmRequest, step: KeyedStep) -> Response:
        """Confirm the booking of a seat that is held and paid."""
        return await step.take(lambda db: bookings.confirm(db, body, clock()), body)

    @routes.post("/notifications/send", response_model=Empty, **_STEP)
    async def send_notification(body: bookings.Notification, step: KeyedStep) -> Response:
        """Send a message to a user."""
        return await step.take(lambda db: bookings.notify(db, body, clock()), body)


def _add_fleet(routes: APIRouter, clock: Clock) -> None:
    @routes.post("/manifests/open", response_model=fleet.Manifest, **_STEP)
    async def open_manifest(body: fleet.Service, step: KeyedStep) -> Response:
        """Open the manifest of a bus and day."""
        return await step.take(lambda db: fleet.open_manifest(db, body), body)

    @routes.post("/manifests/add-booking", response_model=Empty, **_STEP)
    async def add_booking(body: fleet.ManifestEntry, step: KeyedStep) -> Response:
        """Add a booking to a manifest that is not sealed."""
        return await step.take(lambda db: fleet.add_booking(db, body), body)

    @routes.post("/manifests/seal", response_model=fleet.SealedManifest, **_STEP)
    async def seal_manifest(body: fleet.Service, step: KeyedStep) -> Response:
        """Seal a manifest."""
        return await step.take(lambda db: fleet.seal(db, body), body)

    @routes.get("/buses", response_model=fleet.Buses, **_STEP)
    async def list_buses(step: FreeStep) -> Response:
        """List the buses of the fleet."""
        return await step.take(fleet.buses)

    @routes.get("/buses/{bus_id}/position", response_model=fleet.Position, **_STEP)
    async def bus_position(
        bus_id: PathId, service_date: Annotated[ServiceDate, Query(alias="serviceDate")], step: FreeStep
    ) -> Response:
        """Return where a bus is, by its timetable and the clock."""
        return await step.take(lambda db: fleet.position(db, bus_id, service_date, clock()))

    @routes.put("/timetables/{bus_id}/{service_date}", response_model=fleet.Timetable, **_STEP)
    async def set_timetable(
        bus_id: PathId, service_date: PathDate, body: fleet.TimetableRequest, step: FreeStep
    ) -> Response:
        """Set when a bus departs and arrives on a day; without it, from 06:00 to 18:00 UTC."""
        return await step.take(lambda db: fleet.set_timetable(db, bus_id, service_date, body), body)


def _add_paystack(routes: APIRouter, *, deliver: bool) -> None:
    @routes.post("/paystack/transactions", response_model=paystack.Transaction, **_STEP)
    async def initiate(body: paystack.TransactionRequest, step: KeyedStep) -> Response:
        """Ask for a payment."""
        return await step.take(lambda db: paystack.initiate(db, body), body)

    @routes.get("/paystack/transactions/{reference}", response_model=paystack.UserTransaction, **_FOUND)
    async def find(reference: PathId, step: FreeStep) -> Response:
        """Return a payment that was asked for."""
        return await step.take(lambda db: paystack.find(db, reference))

    @routes.post("/paystack/transactions/{reference}/pay", response_model=paystack.Event, **_FOUND)
    async def pay(reference: PathId, body: paystack.Pay, step: FreeStep, request: Request) -> Response:
        """Pay as the customer, and send the event to the webhook."""
        response = await step.take(lambda db: paystack.pay(db, reference, body, deliver=deliver), body)
        if deliver:
            request.app.state.webhook.notify()
        return response

    @routes.post("/paystack/transactions/{reference}/cancel", response_model=paystack.Transaction, **_STEP)
    async def cancel(reference: PathId, body: paystack.Cancel, step: KeyedStep) -> Response:
        """Cancel a payment that was asked for, unless it was paid."""
        return await step.take(lambda db: paystack.cancel(db, reference), body)

    @routes.post("/paystack/transactions/{reference}/refund", response_model=Empty, **_STEP)
    async def refund_payment(reference: PathId, body: paystack.RefundRequest, step: KeyedStep) -> Response:
        """Refund a payment, take back its credit, and block a later one."""
        return await step.take(lambda db: paystack.refund(db, reference, body), body)


def _add_wallets(routes: APIRouter) -> None:
    @routes.post("/wallets/credit", response_model=wallets.Balance, **_STEP)
    async def credit_wallet(body: wallets.CreditRequest, step: KeyedStep) -> Response:
        """Credit a payment to a wallet."""
        return await step.take(lambda db: wallets.credit(db, body), body)

    @routes.get("/wallets/{user_id}", response_model=wallets.Wallet, **_STEP)
    async def wallet(user_id: PathId, step: FreeStep) -> Response:
        """Return the balance of a wallet."""
        return await step.take(lambda db: wallets.wallet(db, user_id))

    @routes.post("/invoices", response_model=wallets.Invoice, **_STEP)
    async def invoice(body: wallets.Document, step: KeyedStep) -> Response:
        """Issue the invoice of a transaction."""
        return await step.take(lambda db: wallets.invoice(db, body), body)

    @routes.post("/receipts", response_model=Empty, **_STEP)
    async def receipt(body: wallets.Document, step: KeyedStep) -> Response:
        """Send the receipt of a transaction."""
        return await step.take(lambda db: wallets.receipt(db, body), body)


def _add_approvals(routes: APIRouter, clock: Clock) -> None:
    @routes.post("/approvals", response_model=approvals.Requested, **_STEP)
    async def request_approval(body: approvals.ApprovalRequest, step: KeyedStep) -> Response:
        """Open an approval, or return its decision."""
        return await step.take(lambda db: approvals.request_approval(db, body, rfc3339(clock())), body)

    @routes.post("/approvals/remind", response_model=Empty, **_FOUND)
    async def remind(body: approvals.Approver, step: KeyedStep) -> Response:
        """Remind the approvers."""
        return await step.take(lambda db: approvals.remind(db, body), body)

    @routes.post("/approvals/close", response_model=Empty, **_STEP)
    async def close(body: approvals.Closure, step: KeyedStep) -> Response:
        """Close an approval with a decision."""
        return await step.take(lambda db: approvals.close(db, body), body)

    @routes.get("/approvals", response_model=approvals.Approvals, **_STEP)
    async def list_approvals(
        step: FreeStep,
        state: approvals.State | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[int, Query(ge=0, le=2**62)] = 0,
    ) -> Response:
        """List approvals, oldest first."""
        return await step.take(lambda db: approvals.listed(db, state, limit, cursor))

    @routes.get("/books", response_model=totals.Totals, **_STEP)
    async def books_totals(step: FreeStep) -> Response:
        """Return the totals of the books."""
        return await step.take(totals.totals)
