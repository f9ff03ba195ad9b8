"""Delivery of Paystack events."""

import logging
from pathlib import Path

import pytest

from temporal_slo.servers.process import LOOPBACK, free_port, until
from tests.reference.services.receiver import receiver
from tests.reference.services.steps import top_up
from tests.reference.services_process import SECRET, ServicesUnderTest, running_services, services_process


async def pay(services: ServicesUnderTest, *, success: bool = True) -> dict[str, object]:
    """Initiate the top-up t1 and pay it."""
    await services.post("paystack/transactions", top_up(), "k1")
    return await services.pay("t1", 5000, success=success)


async def delivered(services: ServicesUnderTest) -> None:
    """Wait until no event waits for its delivery."""

    async def none_left() -> bool:
        return not services.rows("SELECT * FROM deliveries")

    await until(none_left, deadline=20, what="delivery")


@pytest.mark.parametrize("success", [True, False])
async def test_event(tmp_path: Path, success: bool) -> None:  # noqa: FBT001 a case
    """Each payment is sent to the webhook once, successful or not, signed with HMAC-SHA512 of its bytes."""
    async with receiver() as hook, running_services(tmp_path, webhook_url=hook.url) as services:
        event = await pay(services, success=success)
        (delivery,) = await hook.received(1)
        await delivered(services)
        assert (delivery.event, delivery.is_signed) == (event, True)
        second = await services.pay("t1", 5000)
        assert [delivery.event for delivery in await hook.received(2)] == [event, second]


@pytest.mark.parametrize(
    ("statuses", "count"), [((500, 503, 302), 4), ((404,), 1), ((401,), 1)], ids=["retried", "unknown", "unauthorised"]
)
async def test_retries(tmp_path: Path, statuses: tuple[int, ...], count: int) -> None:
    """An event is sent again, with the same bytes, until the receiver accepts it or answers that it never will."""
    async with receiver(statuses) as hook, running_services(tmp_path, webhook_url=hook.url) as services:
        await pay(services)
        await hook.received(count)
        await delivered(services)
        assert len(hook.deliveries) == count
        assert len(set(hook.deliveries)) == 1


async def test_receiver_down(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While the receiver is down events wait, which is logged once; a delivery does not hold back the payment."""
    port = free_port()
    with caplog.at_level(logging.WARNING):
        async with running_services(tmp_path, webhook_url=f"http://{LOOPBACK}:{port}/hook") as services:
            await services.post("paystack/transactions", top_up(), "k1")
            events = [await services.pay("t1", amount) for amount in (1, 2, 3)]
            assert (await services.totals())["paystack"]["undeliveredEvents"] == 3
            async with receiver(port=port) as hook:
                deliveries = await hook.received(3)
    assert sorted(str(delivery.event) for delivery in deliveries) == sorted(map(str, events))
    assert [record.getMessage() for record in caplog.records] == ["webhook: no response: ConnectError"]


async def test_kill(tmp_path: Path) -> None:
    """An event that was not delivered before a kill is delivered after it; the secret is never logged."""
    port = free_port()
    async with services_process(tmp_path, webhook_url=f"http://{LOOPBACK}:{port}/hook") as (process, services):
        event = await pay(services)
        process.kill()
        async with receiver(port=port) as hook:
            await process.start()
            (delivery,) = await hook.received(1)
            assert (delivery.event, delivery.is_signed) == (event, True)
    assert SECRET not in (tmp_path / "services.log").read_text()


async def test_no_webhook(services: ServicesUnderTest) -> None:
    """Without a webhook no event waits."""
    await pay(services)
    assert (await services.totals())["paystack"]["undeliveredEvents"] == 0
