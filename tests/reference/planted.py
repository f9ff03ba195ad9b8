"""Changes of workflows that break the replay of their histories, for the test that replay sees them."""

from temporalio import workflow

from temporal_slo.reference.workflows.booking import BookingRequest, BookingResult, BookRideWorkflow
from temporal_slo.reference.workflows.booking_steps import (
    SEND_BOOKING_CONFIRMATION,
    ManifestEntry,
    Notification,
    Payment,
)


@workflow.defn(name="BookRideWorkflow")
class Unannounced(BookRideWorkflow):
    """Books without a confirmation message: a step was removed."""

    @workflow.run
    async def run(self, request: BookingRequest) -> BookingResult:
        """See base class."""
        return await super().run(request)

    async def _send_confirmation(self, notification: Notification) -> None:
        """Send nothing."""


@workflow.defn(name="BookRideWorkflow")
class Hasty(BookRideWorkflow):
    """Announces the booking before it is on the manifest: two steps changed places."""

    @workflow.run
    async def run(self, request: BookingRequest) -> BookingResult:
        """See base class."""
        return await super().run(request)

    async def _assign_to_manifest(self, entry: ManifestEntry) -> None:
        await self._step(SEND_BOOKING_CONFIRMATION, Notification("", entry.booking_id), type(None))


@workflow.defn(name="BookRideWorkflow")
class Unforgiving(BookRideWorkflow):
    """Refunds after a decline: a compensation was added."""

    @workflow.run
    async def run(self, request: BookingRequest) -> BookingResult:
        """See base class."""
        return await super().run(request)

    async def _process_payment(self, request: BookingRequest) -> Payment:
        self._compensations.append("refundPayment")
        return await super()._process_payment(request)
