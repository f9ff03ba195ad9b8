import asyncio

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError

from temporal_slo.reference.activities.fleet import start_bus_service
from temporal_slo.reference.activities.service_client import REFUSED, UNAVAILABLE
from temporal_slo.reference.workflows.fleet import (
    MANIFEST_BUSY,
    MANIFEST_SEALED,
    OPEN_MANIFEST,
    SEAL_MANIFEST,
    TRACK_POSITION,
    Boarding,
    BusServiceRequest,
    BusServiceResult,
)
from temporal_slo.servers.process import until

from .depot import ADD, DEADLINE, OPEN, POSITION, QUICK, SEAL, Bus, Depot, scheduled
from .recorded import Recorder

ACCEPTED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED
SOON = 4.0
"""Seconds until departure: enough to book on a busy machine."""


async def test_bus_service(depot: Depot, recorded: Recorder) -> None:
    """The first booking starts the bus service; at departure the manifest is sealed; the bus is tracked to arrival."""
    bus = await depot.bus(departs_in=SOON, travels=1)
    boarding = [await bus.add(booking) for booking in ("first", "second")]
    opened = await bus.manifest()
    assert (opened.sealed, opened.bookings, opened.progress) == (False, ["first", "second"], 0)
    assert opened.timetable
    assert boarding == [Boarding(booking, opened.timetable.departs_at) for booking in ("first", "second")]
    assert await bus.handle.result() == BusServiceResult("ARRIVED", 2)
    closed = await bus.manifest()
    assert (closed.sealed, closed.bookings, closed.progress) == (True, ["first", "second"], 1)
    (history,) = await bus.histories()
    assert scheduled(history)[0] == OPEN_MANIFEST
    assert scheduled(history)[3:5] == [SEAL_MANIFEST, TRACK_POSITION]
    await recorded("fleet/arrived", bus.handle)


async def test_booking_added_twice(depot: Depot, recorded: Recorder) -> None:
    """A booking that is added again, at the same time or later, gets the same answer and is recorded once."""
    bus = await depot.bus()
    async with depot.failing(ADD, "latency", seconds=600):
        updates = [asyncio.ensure_future(bus.add("twice", update)) for update in ("one", "other", "one")]
        await depot.services.called(ADD)
        await asyncio.wait(updates, timeout=0.5)
    first, *others = await asyncio.gather(*updates)
    others += [await bus.add("twice", update) for update in ("other", "third")]
    assert others == [first] * 4
    assert await bus.recordings() == 1
    assert bus.recorded() == (await bus.manifest()).bookings == ["twice"]
    await bus.handle.terminate()
    await recorded("fleet/booking-added-twice", bus.handle)


async def test_sealed(depot: Depot) -> None:
    """After departure a new booking is refused with ManifestSealed; one on the manifest gets the same answer again."""
    bus = await depot.bus(departs_in=SOON)
    boarding = await bus.add("early")
    await bus.sealed()
    refusal = await bus.refusal("late")
    assert (refusal.type, refusal.non_retryable) == (MANIFEST_SEALED, True)
    assert refusal.message == f"the manifest of bus {bus.request.bus.bus_id} of 2031-05-06 is sealed: late is refused"
    assert await bus.add("early", "again") == boarding
    assert bus.recorded() == ["early"]
    # Refused by the validator: it leaves nothing in the history, however often it is retried.
    (history,) = await bus.histories()
    assert [event.event_type for event in history.events].count(ACCEPTED) == 2


async def test_booking_while_sealing(depot: Depot, recorded: Recorder) -> None:
    """A booking that is being recorded at departure is on the sealed manifest; one that comes then is refused."""
    bus = await depot.bus(departs_in=SOON, travels=1)
    async with depot.failing(ADD, "latency", seconds=600):
        accepted = asyncio.ensure_future(bus.add("accepted"))
        await bus_sealing(bus)
        assert (await bus.refusal("refused")).type == MANIFEST_SEALED
        assert not accepted.done()
    assert (await accepted).booking_id == "accepted"
    assert await bus.handle.result() == BusServiceResult("ARRIVED", 1)
    assert bus.recorded() == (await bus.manifest()).bookings == ["accepted"]
    await recorded("fleet/booking-while-sealing", bus.handle)


async def bus_sealing(bus: Bus) -> None:
    """Wait until a bus has started whose departure waits for a booking."""

    async def sealing() -> bool:
        return bool(await bus.depot.services.calls(ADD)) and (await bus.manifest()).sealed

    await bus.depot.services.called(ADD)
    await until(sealing, deadline=DEADLINE, what="the bus seals its manifest")


async def test_departed(depot: Depot, recorded: Recorder) -> None:
    """A bus that has departed before its manifest was opened takes no booking."""
    bus = await depot.bus(departs_in=-1, travels=2)
    assert (await bus.refusal("missed")).type == MANIFEST_SEALED
    assert await bus.handle.result() == BusServiceResult("ARRIVED", 0)
    assert bus.recorded() == []
    await recorded("fleet/departed-before-opened", bus.handle)


async def test_refused_booking(depot: Depot, recorded: Recorder) -> None:
    """A booking that the fleet service refuses fails its update for good; under another update ID it is tried again."""
    bus = await depot.bus()
    async with depot.failing(ADD, "reject"):
        refusals = [await bus.refusal("odd", update) for update in ("one", "one", "other")]
    refusals.append(await bus.refusal("odd", "one"))
    assert [(refusal.type, refusal.non_retryable) for refusal in refusals] == [(REFUSED, True)] * 4
    assert await bus.recordings() == 2
    assert (await bus.add("odd", "third")).booking_id == "odd"
    assert (await bus.manifest()).bookings == ["odd"]
    await bus.handle.terminate()
    await recorded("fleet/booking-refused", bus.handle)


async def test_outage(depot: Depot, recorded: Recorder) -> None:
    """An outage fails a booking after the last attempt, but never the bus, which goes on when the outage is over."""
    bus = await depot.bus()
    async with depot.failing(OPEN, "outage"):
        await bus.start()
        await called_often(depot, OPEN)
    async with depot.failing(ADD, "outage"):
        assert (await bus.refusal("unlucky")).type == UNAVAILABLE
    assert (await bus.add("lucky")).booking_id == "lucky"
    await bus.handle.terminate()
    await recorded("fleet/outage", bus.handle)


async def test_outage_at_departure(depot: Depot, recorded: Recorder) -> None:
    """A bus that cannot be sealed or located is retried until it can."""
    bus = await depot.bus(departs_in=0.1, travels=1)
    async with depot.failing(POSITION, "outage"):
        async with depot.failing(SEAL, "outage"):
            await bus.start()
            await called_often(depot, SEAL)
        await called_often(depot, POSITION)
    assert await bus.handle.result() == BusServiceResult("ARRIVED", 0)
    await recorded("fleet/outage-at-departure", bus.handle)


async def called_often(depot: Depot, endpoint: str) -> None:
    """Wait until an activity was attempted more often than a booking would be."""
    before = len(await depot.services.calls(endpoint))
    await depot.services.called(endpoint, times=before + QUICK.max_attempts + 2)


async def test_refused_bus(depot: Depot, recorded: Recorder) -> None:
    """A bus whose manifest the fleet service refuses to open ends as Failed, and so do its bookings."""
    bus = await depot.bus()
    async with depot.failing(OPEN, "reject"):
        handle = await bus.start()
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
    cause = raised.value.cause.__cause__
    assert isinstance(cause, ApplicationError)
    assert cause.type == REFUSED
    await recorded("fleet/manifest-refused", bus.handle)


async def test_bounded_history(depot: Depot) -> None:
    """No history of a bus with many bookings is longer than the bound, and no booking is lost or recorded twice."""
    bus = await depot.bus(max_events=400)
    bookings = [f"booking-{number}" for number in range(120)]
    # As many at the same time as the server allows for one workflow.
    for at_once in range(0, len(bookings), 10):
        await asyncio.gather(*(bus.add_patiently(booking) for booking in bookings[at_once : at_once + 10]))
    histories = await bus.histories()
    assert len(histories) > 3
    assert max(len(history.events) for history in histories) <= 400
    assert sorted(bus.recorded()) == sorted((await bus.manifest()).bookings) == sorted(bookings)
    assert await bus.recordings() == len(bookings)


async def test_same_update_in_another_run(depot: Depot, recorded: Recorder) -> None:
    """An update that is retried under the same ID gets the same answer, also from a run that continues as new."""
    bus = await depot.bus(max_events=60)
    first = await bus.add("retried")
    again = [await bus.add("retried")]
    for number in range(8):
        await bus.add_patiently(f"other-{number}")
    assert len(await bus.histories()) > 1
    again.append(await bus.add("retried"))
    assert again == [first, first]
    assert await bus.recordings() == 9
    await bus.handle.terminate()
    *_, second, first_run = await bus.runs()
    await recorded("fleet/continued-as-new", first_run)
    await recorded("fleet/with-carried-manifest", second)


async def test_busy(depot: Depot) -> None:
    """While a booking delays the continue-as-new of a long history, others get a retryable error; none is lost."""
    bus = await depot.bus(max_events=60)
    await bus.add("before")
    async with depot.failing(ADD, "latency", seconds=600, count=1):
        slow = asyncio.ensure_future(bus.add("slow"))
        await depot.services.called(ADD)
        await held_up(bus, "before", "slow")
        added: list[str] = []

        async def busy() -> ApplicationError | None:
            booking = f"busy-{len(added)}"
            try:
                await bus.add(booking)
            except Exception as error:  # noqa: BLE001 the failure is what the test is about
                cause = error.__cause__
                assert isinstance(cause, ApplicationError)
                return cause
            added.append(booking)
            return None

        refusal = await until(busy, deadline=DEADLINE, what="the bus is busy")
        assert (refusal.type, refusal.non_retryable) == (MANIFEST_BUSY, False)
        assert len(await bus.histories()) == 1
    await slow
    last = f"busy-{len(added)}"
    await bus.add_patiently(last)
    assert len(await bus.histories()) == 2
    assert sorted(bus.recorded()) == sorted(["before", "slow", *added, last])
    assert await bus.recordings() == len(added) + 3


async def held_up(bus: Bus, *bookings: str) -> None:
    """Wait until one of these bookings is being recorded, and not yet on the manifest."""

    async def recording() -> bool:
        return await bus.recordings() == len(bookings)

    await until(recording, deadline=DEADLINE, what="a booking is being recorded")


async def test_started_again(depot: Depot, recorded: Recorder) -> None:
    """A bus service that is terminated after departure and restarted takes its bookings from the fleet service."""
    bus = await depot.bus(departs_in=SOON, travels=3)
    await bus.add("kept")
    await bus.closed_books()
    await bus.handle.terminate()
    assert (await bus.refusal("late")).type == MANIFEST_SEALED
    assert await bus.handle.result() == BusServiceResult("ARRIVED", 1)
    assert (await bus.manifest()).bookings == ["kept"]
    await recorded("fleet/restarted-after-sealing", bus.handle)


async def test_arrived(depot: Depot) -> None:
    """A bus that has arrived is not started again, neither by a booking nor by the daily workflow."""
    bus = await depot.bus(departs_in=-2, travels=1)
    run = (await (await bus.start()).describe()).run_id
    await bus.handle.result()
    with pytest.raises(WorkflowAlreadyStartedError):
        await bus.add("late")
    await bus.start()
    assert (await bus.handle.describe()).run_id == run


async def test_running(depot: Depot) -> None:
    """A bus service that runs is not started again."""
    bus = await depot.bus()
    runs = [(await (await bus.start()).describe()).run_id for _ in range(2)]
    assert runs[0] == runs[1]


async def test_defaults(depot: Depot) -> None:
    """Everything but the bus has a default."""
    bus = await depot.bus(departs_in=-2, travels=1)
    await start_bus_service(depot.client, BusServiceRequest(bus.request.bus), depot.task_queue)
    assert await bus.handle.result() == BusServiceResult("ARRIVED", 0)
