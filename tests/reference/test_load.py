import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.service import RetryConfig, RPCError

from temporal_slo.errors import UsageError
from temporal_slo.reference import load
from temporal_slo.reference.load import DEFAULT_MIX, ENDINGS, Load, Mix, Outcome, Start, Tally, plan
from temporal_slo.reference.services.simulated import TEST_USER_FAULTS
from temporal_slo.reference.workflows.booking import BookingResult
from temporal_slo.servers.temporal import TemporalServer

from .simulated_shop import QUICK, Shop, ending, open_shop

KNOWN = "confirmed, declined, cancelled_by_user, canceled, terminated, timed_out, failed"
EVEN = Mix(dict.fromkeys(Outcome, 1))


@pytest.fixture(scope="module")
async def loaded(client: Client) -> AsyncIterator[Shop]:
    """A shop for load tests only."""
    async with open_shop(client) as shop:
        yield shop


def test_plan_repeats() -> None:
    """The same seed gives the same plan; another seed gives another plan."""
    assert plan(500, DEFAULT_MIX, 11) == plan(500, DEFAULT_MIX, 11) != plan(500, DEFAULT_MIX, 12)


def test_plan_holds_the_mix() -> None:
    """Every 100 bookings match the mix exactly."""
    hundreds = plan(300, DEFAULT_MIX, 3)
    shares = [Counter(hundreds[start : start + 100]) for start in (0, 100, 200)]
    assert shares == [DEFAULT_MIX.weights] * 3


def test_plan_is_shuffled() -> None:
    """Each batch of outcomes is shuffled differently."""
    batches = plan(14, EVEN, 3)
    assert len({tuple(Outcome), tuple(batches[:7]), tuple(batches[7:])}) == 3


def test_mix_round_trip() -> None:
    """A printed mix parses to the same mix; outcomes that are not listed do not occur."""
    mix = Mix.parse(" confirmed=3, failed = 1 ")
    assert mix.weights == {Outcome.CONFIRMED: 3, Outcome.FAILED: 1}
    assert Mix.parse(str(mix)) == mix
    assert plan(8, mix, 1).count(Outcome.CONFIRMED) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--mix: '' is not outcome=weight; use e.g. confirmed=80,declined=20"),
        ("confirmed", "--mix: 'confirmed' is not outcome=weight; use e.g. confirmed=80,declined=20"),
        ("lost=3", f"--mix: unknown outcome 'lost'; use {KNOWN}"),
        ("failed=-1", "--mix: invalid weight '-1' of failed; use a whole number from 0 to 1000"),
        ("failed=0.5", "--mix: invalid weight '0.5' of failed; use a whole number from 0 to 1000"),
        ("failed=1001", "--mix: invalid weight '1001' of failed; use a whole number from 0 to 1000"),
        ("failed=1,failed=2", "--mix: duplicate outcome failed; list each outcome once"),
        ("failed=0,confirmed=0", "--mix: all weights are 0; set at least one weight above 0"),
    ],
)
def test_bad_mix(text: str, message: str) -> None:
    """An invalid mix is rejected with the error and its remedy."""
    with pytest.raises(UsageError) as refused:
        Mix.parse(text)
    assert str(refused.value) == message


async def _ends_as_planned(client: Client, starts: list[Start]) -> None:
    handles = [client.get_workflow_handle(start.workflow_id, result_type=BookingResult) for start in starts]
    statuses = [status for status, _ in await asyncio.gather(*map(ending, handles))]
    assert statuses == [ENDINGS[start.outcome].status for start in starts]
    for start, handle in zip(starts, handles, strict=True):
        if ENDINGS[start.outcome].result:
            assert (await handle.result()).status == ENDINGS[start.outcome].result


async def test_every_outcome(loaded: Shop) -> None:
    """Bookings end on the server with their planned outcome, and only confirmed bookings stay charged."""
    starts: list[Start] = []
    settings = Load(rate=150, count=287, mix=EVEN, seed=5, task_queue=loaded.task_queue, timings=QUICK)
    tally = await load.run(loaded.client, settings, on_started=starts.append)
    assert tally == Tally(Counter(dict.fromkeys(Outcome, 41)))
    assert len({start.workflow_id for start in starts}) == 287
    await _ends_as_planned(loaded.client, starts)
    records = [record for key, record in loaded.services.records.items() if not key.startswith("refundless-")]
    assert sum(record.confirmed for record in records) == 41
    assert all(record.confirmed == (record.balance > 0) for record in records)


async def test_retried_start(loaded: Shop) -> None:
    """A retried start, as after a lost response, starts no second run, even if the first has closed."""
    starts: list[Start] = []
    settings = Load(rate=50, count=14, mix=EVEN, task_queue=loaded.task_queue, timings=QUICK)
    first = await load.run(loaded.client, settings, on_started=starts.append)
    await _ends_as_planned(loaded.client, starts)
    handles = [loaded.client.get_workflow_handle(start.workflow_id) for start in starts]
    runs = [(await handle.describe()).run_id for handle in handles]
    assert await load.run(loaded.client, settings) == first
    assert [(await handle.describe()).run_id for handle in handles] == runs


async def test_rate(loaded: Shop) -> None:
    """Bookings start at the rate: at 20 per second, the 21st starts one second after the first."""
    loop = asyncio.get_running_loop()
    times: list[float] = []
    settings = Load(rate=20, count=21, mix=Mix.parse("confirmed=1"), task_queue=loaded.task_queue, timings=QUICK)
    await load.run(loaded.client, settings, on_started=lambda _: times.append(loop.time()))
    assert times[-1] - times[0] == pytest.approx(1.0, abs=0.5)


async def test_stop(loaded: Shop) -> None:
    """An unlimited load stops on request, and its tally matches the server."""
    stop = asyncio.Event()
    starts: list[Start] = []

    def started(start: Start) -> None:
        starts.append(start)
        if len(starts) == 17:
            stop.set()

    mix = Mix.parse("canceled=1,confirmed=2")
    settings = Load(rate=1000, mix=mix, task_queue=loaded.task_queue, timings=QUICK, max_in_flight=9)
    tally = await load.run(loaded.client, settings, stop=stop, on_started=started)
    assert tally.started.total() == len(starts) >= 17
    assert tally.abandoned == 0
    await _ends_as_planned(loaded.client, starts)


async def _without_retries(server: TemporalServer) -> Client:
    # Retries of the client would hide a short outage.
    return await Client.connect(server.address, retry_config=RetryConfig(max_elapsed_time_millis=1))


async def test_server_outage(tmp_path: Path) -> None:
    """During a server outage the load reports errors and retries; every booking is started exactly once."""
    server = TemporalServer(tmp_path, durable=True)
    try:
        await server.ready()
        # Retries of the client would hide a short outage.
        client = await Client.connect(
            server.address, retry_config=RetryConfig(max_retries=0, max_elapsed_time_millis=1)
        )
        starts: list[Start] = []
        errors: list[RPCError] = []

        def started(start: Start) -> None:
            starts.append(start)
            if len(starts) == 11:
                server.child.kill()

        def failed(_start: Start, error: RPCError) -> None:
            errors.append(error)
            if len(errors) == 1:
                server.restart()

        async with open_shop(client) as shop:
            settings = Load(rate=40, count=35, mix=EVEN, task_queue=shop.task_queue, timings=QUICK)
            tally = await load.run(client, settings, on_started=started, on_error=failed)
            assert tally == Tally(Counter(dict.fromkeys(Outcome, 5)), errors=len(errors))
            assert errors
            assert len({start.workflow_id for start in starts}) == len(starts) == 35
            await _ends_as_planned(client, starts)
            assert len([row async for row in client.list_workflows()]) == 35
    finally:
        server.child.stop()


async def test_stop_during_outage(tmp_path: Path) -> None:
    """A load that is stopped during a server outage abandons its bookings and counts them."""
    server = TemporalServer(tmp_path)
    await server.ready()
    client = await _without_retries(server)
    server.child.stop()
    stop = asyncio.Event()
    settings = Load(rate=100, count=5)
    tally = await load.run(client, settings, stop=stop, on_error=lambda *_: stop.set())
    assert (tally.started.total(), tally.abandoned) == (0, tally.errors)


def test_users_are_known() -> None:
    """Every outcome has an ending, caused by a test user that the services know."""
    assert set(ENDINGS) == set(Outcome)
    assert {ending.user for ending in ENDINGS.values()} <= set(TEST_USER_FAULTS)
