import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.service import RetryConfig

from temporal_slo.errors import UsageError
from temporal_slo.reference import load
from temporal_slo.reference.load import DEFAULT_MIX, ENDINGS, Load, Mix, Outcome, Start, Tally, plan
from temporal_slo.reference.load.buses import PASSENGERS
from temporal_slo.reference.load.rules import RULES
from temporal_slo.reference.workflows.timings import ActivityTimings
from temporal_slo.servers.temporal import TemporalServer
from tests.conftest import Temporal

from .application import application, application_with_api
from .services_process import ServicesUnderTest, running_services
from .shop import ending

KNOWN = ", ".join(Outcome)
EVEN = Mix(dict.fromkeys(Outcome, 1))
BOOKINGS = Mix({outcome: 1 for outcome in Outcome if outcome.workflow == "booking"})
QUICK = ActivityTimings(start_to_close=10, retry_initial=0.05, retry_maximum=0.1, max_attempts=2)
BOARDING = timedelta(seconds=6)
BUS_TIMEOUT = timedelta(seconds=15)
"""Execution timeout: longer than the trip of a bus, and the time until a stuck one times out."""


@dataclass(frozen=True)
class Loaded:
    """A reference application for load tests only.

    Attributes:
        client: Client of its namespace.
        services: Its services.
    """

    client: Client
    services: ServicesUnderTest

    def load(self, rate: float, count: int | None = None, **options: Any) -> Load:  # noqa: ANN401 fields of Load
        """Return a load for it."""
        return Load(
            rate,
            self.services.url,
            count=count,
            **{"timings": QUICK, "execution_timeout": BUS_TIMEOUT, "boarding": BOARDING, **options},
        )


@pytest.fixture(scope="module")
async def loaded(temporal: Temporal, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Loaded]:
    """A reference application for load tests only."""
    client = await temporal.namespace("load-tests")
    async with application(client, tmp_path_factory.mktemp("load")) as services:
        yield Loaded(client, services)


def test_plan_repeats() -> None:
    """The same seed gives the same plan; another seed gives another plan."""
    assert plan(500, DEFAULT_MIX, 11) == plan(500, DEFAULT_MIX, 11) != plan(500, DEFAULT_MIX, 12)


def test_plan_holds_the_mix() -> None:
    """Every 100 workflows match the mix exactly."""
    hundreds = plan(300, DEFAULT_MIX, 3)
    shares = [Counter(hundreds[start : start + 100]) for start in (0, 100, 200)]
    assert shares == [DEFAULT_MIX.weights] * 3


def test_plan_is_shuffled() -> None:
    """Each batch of outcomes is shuffled differently."""
    size = len(Outcome)
    batches = plan(2 * size, EVEN, 3)
    assert len({tuple(Outcome), tuple(batches[:size]), tuple(batches[size:])}) == 3


def test_mix_round_trip() -> None:
    """A printed mix parses to the same mix; outcomes that are not listed do not occur."""
    mix = Mix.parse(" booking.confirmed=3, topup.failed = 1 ")
    assert mix.weights == {Outcome.BOOKING_CONFIRMED: 3, Outcome.TOPUP_FAILED: 1}
    assert Mix.parse(str(mix)) == mix
    assert plan(8, mix, 1).count(Outcome.BOOKING_CONFIRMED) == 6


EXAMPLE = "use e.g. booking.confirmed=80,topup.credited=20"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"--mix: '' is not workflow.outcome=weight; {EXAMPLE}"),
        ("bus.arrived", f"--mix: 'bus.arrived' is not workflow.outcome=weight; {EXAMPLE}"),
        ("confirmed=3", f"--mix: unknown outcome 'confirmed'; use {KNOWN}"),
        ("bus.stuck=-1", "--mix: invalid weight '-1' of bus.stuck; use a whole number from 0 to 1000"),
        ("bus.stuck=0.5", "--mix: invalid weight '0.5' of bus.stuck; use a whole number from 0 to 1000"),
        ("bus.stuck=1001", "--mix: invalid weight '1001' of bus.stuck; use a whole number from 0 to 1000"),
        ("bus.stuck=1,bus.stuck=2", "--mix: duplicate outcome bus.stuck; list each outcome once"),
        ("bus.stuck=0,bus.arrived=0", "--mix: all weights are 0; set at least one weight above 0"),
    ],
)
def test_bad_mix(text: str, message: str) -> None:
    """An invalid mix is rejected with the error and its remedy."""
    with pytest.raises(UsageError) as refused:
        Mix.parse(text)
    assert str(refused.value) == message


async def _ends_as_planned(client: Client, starts: list[Start]) -> None:
    handles = [client.get_workflow_handle(start.workflow_id) for start in starts]
    statuses = [status for status, _ in await asyncio.gather(*map(ending, handles))]
    assert list(zip(starts, statuses, strict=True)) == [(start, start.ending.status) for start in starts]
    for start, handle in zip(starts, handles, strict=True):
        if start.ending.result:
            assert ((await handle.result())["status"], start) == (start.ending.result, start)


async def test_every_outcome(loaded: Loaded) -> None:
    """Workflows end on the server with their planned outcome, and only what succeeded stays charged and credited."""
    starts: list[Start] = []
    each = 5
    settings = loaded.load(15, each * len(Outcome), mix=EVEN, seed=5)
    tally = await load.run(loaded.client, settings, on_started=starts.append)
    assert tally == Tally(Counter(dict.fromkeys(Outcome, each)))
    assert len({start.workflow_id for start in starts}) == each * len(Outcome)
    await _ends_as_planned(loaded.client, starts)
    kept = loaded.services.rows("SELECT user_id FROM charges WHERE amount > refunded")
    charged = {Outcome.BOOKING_CONFIRMED, Outcome.BOOKING_FAILED}
    assert users(kept) == sorted(start.user_id for start in starts if start.outcome in charged)
    kept = loaded.services.rows("SELECT user_id FROM credits WHERE NOT reversed")
    assert users(kept) == sorted(start.user_id for start in starts if start.ending.result == "CREDITED")
    (on_buses,) = loaded.services.rows("SELECT COUNT(*) AS count FROM manifest_bookings WHERE bus_id NOT LIKE 'bus-%'")
    buses = [start for start in starts if start.outcome.workflow == "bus"]
    assert 0 < on_buses["count"] <= len(buses) * PASSENGERS


def users(rows: list[dict[str, Any]]) -> list[str]:
    """Return the users of rows, sorted."""
    return sorted(row["user_id"] for row in rows)


async def test_through_the_api(temporal: Temporal, tmp_path: Path) -> None:
    """Bookings and top-ups that are started through the API end as planned; the API learns of payments by webhook."""
    client = await temporal.namespace("load-api-tests")
    starts: list[Start] = []
    mix = Mix({outcome: 1 for outcome in Outcome if outcome.workflow != "bus"})
    async with application_with_api(client, tmp_path) as (services, api):
        settings = Load(15, services.url, api, 2 * len(mix.weights), mix, timings=QUICK)
        tally = await load.run(client, settings, on_started=starts.append)
        assert tally == Tally(Counter(dict.fromkeys(mix.weights, 2)))
        await _ends_as_planned(client, starts)
        totals = await services.totals()
    assert totals["paystack"]["undeliveredEvents"] == 0


async def test_retried_start(loaded: Loaded) -> None:
    """A retried start, as after a lost response, starts no second run, even if the first has closed."""
    starts: list[Start] = []
    settings = loaded.load(50, len(Outcome), mix=EVEN)
    first = await load.run(loaded.client, settings, on_started=starts.append)
    await _ends_as_planned(loaded.client, starts)
    handles = [loaded.client.get_workflow_handle(start.workflow_id) for start in starts]
    runs = [(await handle.describe()).run_id for handle in handles]
    assert (await load.run(loaded.client, settings)).started == first.started
    assert [(await handle.describe()).run_id for handle in handles] == runs


async def test_rate(loaded: Loaded) -> None:
    """Workflows start at the rate: at 20 per second, the 21st starts one second after the first."""
    loop = asyncio.get_running_loop()
    times: list[float] = []
    settings = loaded.load(20, 21, mix=Mix.parse("booking.confirmed=1"))
    await load.run(loaded.client, settings, on_started=lambda _: times.append(loop.time()))
    assert times[-1] - times[0] == pytest.approx(1.0, abs=0.5)


async def test_stop(loaded: Loaded) -> None:
    """An unlimited load stops on request, and its tally matches the server."""
    stop = asyncio.Event()
    starts: list[Start] = []

    def started(start: Start) -> None:
        starts.append(start)
        if len(starts) == 17:
            stop.set()

    mix = Mix.parse("booking.canceled=1,booking.confirmed=2")
    settings = loaded.load(1000, mix=mix, max_in_flight=9)
    tally = await load.run(loaded.client, settings, stop=stop, on_started=started)
    assert tally.started.total() == len(starts) >= 17
    assert tally.abandoned == 0
    await _ends_as_planned(loaded.client, starts)


async def _without_retries(server: TemporalServer) -> Client:
    # Retries of the client would hide a short outage.
    return await Client.connect(server.address, retry_config=RetryConfig(max_elapsed_time_millis=1))


async def test_server_outage(tmp_path: Path) -> None:
    """During a server outage the load reports errors and retries; every workflow is started exactly once."""
    server = TemporalServer(tmp_path, durable=True)
    try:
        await server.ready()
        # Retries of the client would hide a short outage.
        client = await Client.connect(
            server.address, retry_config=RetryConfig(max_retries=0, max_elapsed_time_millis=1)
        )
        starts: list[Start] = []
        errors: list[Exception] = []

        def started(start: Start) -> None:
            starts.append(start)
            if len(starts) == 11:
                server.child.kill()

        def failed(_start: Start, error: Exception) -> None:
            errors.append(error)
            if len(errors) == 1:
                server.restart()

        async with application(client, tmp_path) as services:
            settings = Load(40, services.url, count=35, mix=BOOKINGS, timings=QUICK)
            tally = await load.run(client, settings, on_started=started, on_error=failed)
            assert tally == Tally(Counter(dict.fromkeys(BOOKINGS.weights, 5)), errors=len(errors))
            assert errors
            assert len({start.workflow_id for start in starts}) == len(starts) == 35
            await _ends_as_planned(client, starts)
            rows = client.list_workflows("WorkflowType = 'BookRideWorkflow'")
            assert len([row async for row in rows]) == 35
    finally:
        server.child.stop()


async def test_stop_during_outage(tmp_path: Path) -> None:
    """A load that is stopped during a server outage abandons its workflows and counts them."""
    server = TemporalServer(tmp_path)
    await server.ready()
    client = await _without_retries(server)
    server.child.stop()
    stop = asyncio.Event()
    async with running_services(tmp_path) as services:
        settings = Load(100, services.url, count=5, mix=BOOKINGS)
        tally = await load.run(client, settings, stop=stop, on_error=lambda *_: stop.set())
    assert (tally.started.total(), tally.abandoned) == (0, tally.errors)


def test_users_are_known() -> None:
    """Every outcome has an ending; the test users of endings are ordinary ones, or have a fault rule."""
    assert set(ENDINGS) == set(Outcome)
    with_rule = {rule["userPrefix"].removesuffix("-") for rule in RULES.values()}
    assert {ending.user for ending in ENDINGS.values()} == with_rule | {"ok"}
