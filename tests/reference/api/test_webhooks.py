import asyncio
import hashlib
import hmac
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from temporal_slo.reference.api.webhooks import PATH, PaystackSignature

from .desk import SIGNING, Desk, assert_problem, both, charge, new, top_up

FUZZ = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


async def expired(desk: Desk) -> tuple[str, str]:
    """Return reference and user of a top-up that closed, because its payment failed."""
    reference, user = await top_up(desk)
    await desk.webhook(charge(reference, 5000, success=False))
    assert (await desk.closed(f"topups/{reference}/status"))["status"] == "DECLINED"
    return reference, user


def test_signature() -> None:
    """The signature is HMAC-SHA512 of the raw body in lower-case hexadecimal, as Paystack documents it."""
    expected = hmac.new(b"sk_test_1", b'{"a": 1}', hashlib.sha512).hexdigest()
    signature = PaystackSignature("sk_test_1")
    assert signature.of(b'{"a": 1}') == expected
    assert signature.signs(b'{"a": 1}', expected)
    assert not signature.signs(b'{"a":1}', expected)
    assert not PaystackSignature("sk_test_2").signs(b'{"a": 1}', expected)


def test_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signatures are compared by `hmac.compare_digest`, as bytes."""
    compared: list[tuple[object, object]] = []
    original = hmac.compare_digest

    def recorded(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return original(one, other)

    monkeypatch.setattr("temporal_slo.reference.api.webhooks.hmac.compare_digest", recorded)
    assert not PaystackSignature("sk").signs(b"body", "a" * 128)
    ((one, other),) = compared
    assert isinstance(one, bytes)
    assert isinstance(other, bytes)


def test_secret_is_hidden() -> None:
    """The secret is in no repr of the verifier."""
    signature = PaystackSignature("sk_live_hidden")
    assert "hidden" not in f"{signature!r} {signature!s}"


@given(signature=st.text(st.characters(exclude_categories=())))
@settings(deadline=None)
def test_any_signature(signature: str) -> None:
    """No text is an error, whatever its characters; only the signature itself is accepted."""
    assert PaystackSignature("sk").signs(b"body", signature) == (signature == PaystackSignature("sk").of(b"body"))


async def test_credited_once(desk: Desk) -> None:
    """A webhook that is repeated, also after the top-up has closed, credits once and starts no other run."""
    reference, user = await top_up(desk)
    event = await desk.services.pay(reference, 5000)
    body = charge(reference, 5000, event["data"]["id"])
    responses = await both(*(desk.webhook(body) for _ in range(5)))
    assert (await desk.closed(f"topups/{reference}/status"))["status"] == "CREDITED"
    handle = desk.client.get_workflow_handle(reference)
    run_id = (await handle.describe()).run_id
    late = await both(*(desk.webhook(body) for _ in range(5)))
    assert {response.status_code for response in [*responses, *late]} == {200}
    assert {response.json()["status"] for response in late} == {"settled"}
    assert (await handle.describe()).run_id == run_id
    assert (await desk.get(f"wallets/{user}")).json()["balance"] == 5000
    assert len(desk.services.rows("SELECT 1 FROM credits WHERE user_id = ?", user)) == 1


async def test_late(desk: Desk) -> None:
    """A payment whose webhook arrives after the top-up was cancelled is refunded by another run of its workflow."""
    reference, user = await expired(desk)
    body = charge(reference, 5000, f"{reference}-late")
    response = await desk.webhook(body)
    assert (response.status_code, response.json()) == (200, {"status": "delivered"})
    status = await desk.closed(f"topups/{reference}/status")
    assert (status["status"], status["transactionId"]) == ("REFUNDED", f"{reference}-late")
    assert (await desk.get(f"wallets/{user}")).json()["balance"] == 0
    assert (await desk.webhook(body)).json() == {"status": "settled"}
    # The other run keeps the digest: the request that started the first one is still known.
    again = await desk.post(f"wallets/{user}/topups", {"requestId": reference.removeprefix("topup-"), "amount": 5000})
    assert again.status_code == 202


async def test_second_payment(desk: Desk) -> None:
    """A second payment of a top-up that was credited is refunded, whenever its webhook arrives."""
    reference, user = await top_up(desk)
    await desk.services.pay(reference, 5000)
    await desk.closed(f"topups/{reference}/status")
    second = await desk.services.pay(reference, 5000)
    transaction_id = second["data"]["id"]
    await desk.webhook(charge(reference, 5000, transaction_id))

    await desk.services.called("paystack/transactions/refund", user)
    await desk.closed(f"topups/{reference}/status")
    (refund,) = desk.services.rows("SELECT transaction_id FROM refunds WHERE reference = ?", reference)
    assert refund["transaction_id"] == transaction_id
    assert (await desk.get(f"wallets/{user}")).json()["balance"] == 5000


async def test_late_failure(desk: Desk) -> None:
    """The event of a failed payment starts nothing, if the top-up has closed."""
    reference, _ = await expired(desk)
    run_id = (await desk.client.get_workflow_handle(reference).describe()).run_id
    assert (await desk.webhook(charge(reference, 5000, success=False))).json() == {"status": "settled"}
    assert (await desk.client.get_workflow_handle(reference).describe()).run_id == run_id


async def test_cancelled_before_it_was_initiated(desk: Desk) -> None:
    """A transaction that was cancelled before it was initiated has no user, and is no top-up's."""
    reference = new("topup")
    await desk.services.post(f"paystack/transactions/{reference}/cancel", {}, key=new("key"))
    assert_problem(await desk.webhook(charge(reference, 5000)), 404, "no top-up has this reference")


async def test_numeric_id(desk: Desk) -> None:
    """A transaction ID may be a number, as Paystack's are."""
    reference, _ = await top_up(desk)
    await desk.webhook(charge(reference, 5000, 4099260516))
    assert (await desk.closed(f"topups/{reference}/status"))["transactionId"] == "4099260516"


@pytest.mark.parametrize("reference", ["topup-unknown", "", "order-1", "topup-../x", "x" * 150, "topup-a\n"])
async def test_unknown_reference(desk: Desk, reference: str) -> None:
    """The event of a reference that is no top-up's is not found."""
    assert_problem(await desk.webhook(charge(reference, 5000)), 404, "no top-up has this reference")


@pytest.mark.parametrize("signature", ["", "0" * 128, "é" * 128, "x", b"\xff\xfe", "a" * 5000])
async def test_bad_signature(desk: Desk, signature: str | bytes) -> None:
    """A wrong signature is refused, whatever its characters."""
    encoded = signature.encode() if isinstance(signature, str) else signature
    response = await desk.webhook(charge("topup-1", 5000), encoded)
    assert_problem(response, 401, "the signature is missing or does not match the body")


async def test_missing_signature(desk: Desk) -> None:
    """A webhook without a signature is refused, also if its body is malformed."""
    assert_problem(await desk.http.post(PATH, content=b"{"), 401)
    assert_problem(await desk.http.post(PATH), 401)


async def test_signature_of_parsed_body(desk: Desk) -> None:
    """The raw body is signed: the same JSON in other bytes has another signature."""
    body = charge("topup-1", 5000)
    assert_problem(await desk.webhook(body + b" ", SIGNING.of(body)), 401)


MALFORMED = {
    "empty": b"",
    "truncated": charge("topup-1", 5000)[:-2],
    "not an object": b"[]",
    "no event": b"{}",
    "event of another type": b'{"event": 1}',
    "no data": b'{"event": "charge.success"}',
    "amount as text": charge("topup-1", 5000).replace(b"5000", b'"5000"'),
    "amount as fraction": charge("topup-1", 5000).replace(b"5000", b"5000.5"),
    "negative amount": charge("topup-1", -1),
    "huge amount": charge("topup-1", 10**30),
    "more digits than Python parses": charge("topup-1", 5000).replace(b"5000", b"5" * 5000),
    "amount NaN": charge("topup-1", 5000).replace(b"5000", b"NaN"),
    "NaN anywhere": b'{"event": "transfer.success", "x": NaN}',
    "duplicate keys": b'{"event": "charge.failed", "event": "charge.success"}',
    "duplicate keys inside": charge("topup-1", 5000).replace(b'"channel": "card"', b'"amount": 1'),
    "transaction ID with control characters": charge("topup-1", 5000, "a\n"),
    "reference with a lone surrogate": charge("topup-\ud800", 5000),
    "transaction ID true": charge("topup-1", 5000, transaction_id=True),
    "contradiction": charge("topup-1", 5000).replace(b'"status": "success"', b'"status": "failed"'),
    "UTF-16": charge("topup-1", 5000).decode().encode("utf-16"),
    "Latin-1": '{"event": "é"}'.encode("latin-1"),
    "byte order mark": b"\xef\xbb\xbf" + charge("topup-1", 5000),
    "deep": b"[" * 60_000,
    "deep objects": b'{"a":' * 10_000,
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed(desk: Desk, body: bytes) -> None:
    """A signed body that is no event of Paystack is refused."""
    assert_problem(await desk.webhook(body), 400, "the body is not a Paystack event")


@pytest.mark.parametrize("event", ["transfer.success", "", "charge.dispute.create"])
async def test_other_event(desk: Desk, event: str) -> None:
    """An event that is not of a charge is accepted and ignored, so that Paystack does not repeat it."""
    response = await desk.webhook(json.dumps({"event": event, "data": {"reference": "topup-1"}}).encode())
    assert (response.status_code, response.json()) == (200, {"status": "ignored"})


async def test_too_large(desk: Desk) -> None:
    """A body above 64 KiB is refused before its signature is verified; one of 64 KiB is read."""
    largest = b" " * (64 * 1024)
    assert_problem(await desk.webhook(largest), 400)
    assert_problem(await desk.webhook(largest + b" ", "0"), 413)


async def test_too_large_while_reading(desk: Desk) -> None:
    """A body without a declared length is refused as soon as it exceeds the limit, before its end has arrived."""
    reader, writer = await asyncio.open_connection(desk.http.base_url.host, desk.http.base_url.port)
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    for _ in range(65):
        writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
        await writer.drain()
    async with asyncio.timeout(10):
        response = await reader.read()
    assert response.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in response
    writer.close()


async def test_other_bodies_are_bounded(desk: Desk) -> None:
    """The bodies of the other routes are bounded, too."""
    response = await desk.http.post("/api/v1/bookings", content=b" " * (64 * 1024 + 1))
    assert_problem(response, 413)


EVENTS = st.fixed_dictionaries(
    {"event": st.sampled_from(["charge.success", "charge.failed"]) | st.text()},
    optional={
        "data": st.fixed_dictionaries(
            {},
            optional={
                "id": st.text() | st.integers() | st.none() | st.booleans(),
                "reference": st.text() | st.from_regex(r"topup-[A-Za-z0-9._-]{1,64}", fullmatch=True) | st.integers(),
                "amount": st.integers() | st.floats() | st.text(),
                "status": st.sampled_from(["success", "failed"]) | st.text() | st.none(),
            },
        )
        | st.none()
        | st.lists(st.integers())
    },
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@FUZZ
@given(body=(EVENTS | JSON).map(lambda value: json.dumps(value).encode()) | st.binary(), cut=st.integers(0, 3))
async def test_fuzz_signed(desk: Desk, body: bytes, cut: int) -> None:
    """Whatever is signed is answered 200, 400 or 404, never with an error of the server."""
    body = body[: len(body) - cut]
    response = await desk.webhook(body)
    assert response.status_code in {200, 400, 404}
    if response.status_code != 200:
        assert_problem(response, response.status_code)
    else:
        assert response.json() == {"status": "ignored"}


@FUZZ
@given(body=EVENTS.map(lambda value: json.dumps(value).encode()) | st.binary(), signature=st.binary())
async def test_fuzz_signature(desk: Desk, body: bytes, signature: bytes) -> None:
    """Whatever is not signed is refused."""
    # Other bytes cannot be sent in a header.
    header = bytes(byte for byte in signature if byte > 31 and byte != 127).strip()
    assert_problem(await desk.webhook(body, header), 401)
