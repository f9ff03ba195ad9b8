"""Changes of workflows that break the replay of their histories, for the test that replay sees them."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow

from temporal_slo.reference.workflows.booking import BookingRequest, BookingResult, BookRideWorkflow
from temporal_slo.reference.workflows.booking_steps import (
    SEND_BOOKING_CONFIRMATION,
    ManifestEntry,
    Notification,
    Payment,
)
from temporal_slo.reference.workflows.fleet import BusServiceRequest, BusServiceResult, BusServiceWorkflow, Manifest
from temporal_slo.reference.workflows.wallet import WalletTopUpWorkflow
from temporal_slo.reference.workflows.wallet_messages import TopUpResult, WalletTopUpRequest


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


@workflow.defn(name="WalletTopUpWorkflow")
class Twice(WalletTopUpWorkflow):
    """Cancels an expired payment once more at the end, as the guide does: a step was added."""

    @workflow.init
    def __init__(self, request: WalletTopUpRequest) -> None:
        """See base class."""
        super().__init__(request)

    @workflow.run
    async def run(self, request: WalletTopUpRequest) -> TopUpResult:
        """See base class."""
        return await super().run(request)

    async def _settle(self) -> None:
        if not self._paid:
            self._payment_state = "pending"
        await super()._settle()


@workflow.defn(name="WalletTopUpWorkflow")
class Deaf(WalletTopUpWorkflow):
    """Waits for a variable that no webhook sets, as the guide does: a wait got another condition."""

    @workflow.init
    def __init__(self, request: WalletTopUpRequest) -> None:
        """See base class."""
        super().__init__(request)

    @workflow.run
    async def run(self, request: WalletTopUpRequest) -> TopUpResult:
        """See base class."""
        return await super().run(request)

    async def _wait_for_payment(self) -> tuple[str, int]:
        with suppress(TimeoutError):
            await workflow.wait_condition(lambda: False, timeout=timedelta(minutes=10))
        return next(iter(self._paid.items()))


@workflow.defn(name="BusServiceWorkflow")
class Untracked(BusServiceWorkflow):
    """Arrives as soon as the manifest is sealed: a step was removed."""

    @workflow.init
    def __init__(self, request: BusServiceRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: BusServiceRequest) -> BusServiceResult:
        """See base class."""
        return await super().run(request)

    async def _track(self) -> None:
        """Do nothing."""


@workflow.defn(name="BusServiceWorkflow")
class Forgetful(BusServiceWorkflow):
    """Opens the manifest again in each run: the carried manifest is ignored."""

    @workflow.init
    def __init__(self, request: BusServiceRequest) -> None:
        super().__init__(request)

    @workflow.run
    async def run(self, request: BusServiceRequest) -> BusServiceResult:
        """See base class."""
        return await super().run(replace(request, manifest=Manifest()))
