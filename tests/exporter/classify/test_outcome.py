import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import httpx
import pytest
from google.protobuf import json_format
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.history.v1 import HistoryEvent, WorkflowExecutionCompletedEventAttributes
from temporalio.converter import (
    DataConverter,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
    default,
)

from temporal_slo.errors import UsageError
from temporal_slo.exporter.classify import outcome
from temporal_slo.exporter.classify.outcome import OutcomeReader
from temporal_slo.exporter.classify.payloads import (
    DECODE_TIMEOUT,
    CodecUnavailableError,
    RemoteCodec,
    converter_decode,
    load_converter,
)
from temporal_slo.testing import FixedClock
from tests.integration.endings import Reversed

CARD = "4111-1111"
RIDE = SimpleNamespace(
    from_="status", good=("CONFIRMED", "true", "7"), bad=("FAILED", "false", "1.5"), excluded=("CANCELLED",)
)


def closed(*payloads: Payload) -> HistoryEvent:
    """Return the close event of a run that completed with these payloads as its result."""
    attributes = WorkflowExecutionCompletedEventAttributes(result=Payloads(payloads=payloads))
    return HistoryEvent(workflow_execution_completed_event_attributes=attributes)


def plain(value: object) -> HistoryEvent:
    """Return the close event of a run that completed with *value*."""
    return closed(*default().payload_converter.to_payloads([value]))


def reader(converter: DataConverter | None = None, rule: SimpleNamespace = RIDE) -> OutcomeReader:
    """Return a reader of the outcome of rides."""
    return OutcomeReader({"Ride": rule}, converter_decode(converter or default(), "shop"))


def reader_with(expression: str) -> OutcomeReader:
    """Return a reader of the outcome of rides with another expression."""
    return reader(rule=SimpleNamespace(**{**vars(RIDE), "from_": expression}))


async def read(event: HistoryEvent | None, outcome_reader: OutcomeReader | None = None) -> str | None:
    """Return the outcome of a ride with this close event."""
    return await (outcome_reader or reader()).read("Ride", "w", event)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("CONFIRMED", "good"),
        ("FAILED", "bad"),
        ("CANCELLED", "excluded"),
        ("confirmed", "unknown"),
        (True, "good"),
        (False, "bad"),
        (7, "good"),
        (7.0, "unknown"),
        (1.5, "bad"),
        (None, "unknown"),
        (["CONFIRMED"], "unknown"),
        ({"CONFIRMED": 1}, "unknown"),
    ],
)
async def test_value(status: object, expected: str) -> None:
    """The JSON text of a value is looked up in good, bad and excluded; a value in none of them is unknown."""
    assert await read(plain({"status": status})) == expected


@pytest.mark.parametrize("result", [None, "CONFIRMED", 7, [], {"state": "CONFIRMED"}])
async def test_result_without_the_value(result: object) -> None:
    """If the expression selects nothing in the result, the outcome is unknown."""
    assert await read(plain(result)) == "unknown"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("legs[0].status", "good"),
        ("legs[?status=='FAILED'] | [0].status", "unknown"),
        ("contains(@, 'x')", "unknown"),
        ("sort(@)", "unknown"),
        ("length(legs) == `1`", "good"),
    ],
)
async def test_expression(expression: str, expected: str) -> None:
    """The value is selected by JMESPath; if the expression fails on the result, the outcome is unknown."""
    assert await read(plain({"legs": [{"status": "CONFIRMED"}]}), reader_with(expression)) == expected


async def test_no_result() -> None:
    """Without a result or a close event the outcome is unknown, and no decoding failure is counted."""
    rides = reader()
    assert await read(closed(), rides) == await read(None, rides) == "unknown"
    assert rides.undecodable == 0


async def test_type_without_outcome() -> None:
    """The outcome of a workflow type without outcome in the spec is none, and is not read."""
    rides = reader()
    assert (rides.reads("Wallet"), rides.without_event("Wallet")) == (False, "none")
    assert await rides.read("Wallet", "w", plain({"status": "FAILED"})) == "none"
    assert (rides.reads("Ride"), rides.without_event("Ride")) == (True, "unknown")


async def test_protobuf_results() -> None:
    """Protobuf results are read as JSON; those in JSON encoding without their message classes."""
    unknown = Payload(
        metadata={"encoding": b"json/protobuf", "messageType": b"shop.Ride"}, data=b'{"status": "CONFIRMED"}'
    )
    assert await read(closed(unknown)) == "good"
    binary = Payload(
        metadata={"encoding": b"binary/protobuf", "messageType": b"temporal.api.common.v1.WorkflowType"},
        data=b"\n\x09CONFIRMED",
    )
    assert await read(closed(binary), reader_with("name")) == "good"


async def encrypted(value: object = CARD) -> HistoryEvent:
    """Return the close event of a run whose result was encoded by a codec."""
    return closed(*await DataConverter(payload_codec=Reversed()).encode([{"status": value}]))


async def test_codec() -> None:
    """The converter's codec decodes the result."""
    assert await read(await encrypted("CONFIRMED"), reader(DataConverter(payload_codec=Reversed()))) == "good"


class Contextual(Reversed, WithSerializationContext):
    """A codec that needs the serialization context."""

    def __init__(self, context: SerializationContext | None = None) -> None:
        self.context = context

    def with_context(self, context: SerializationContext) -> "Contextual":
        """Return a codec with this context."""
        return Contextual(context)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Check the context and decode."""
        assert self.context == WorkflowSerializationContext(namespace="shop", workflow_id="w")
        return await super().decode(payloads)


async def test_context() -> None:
    """A codec gets the namespace and the workflow id of the payload."""
    assert await read(await encrypted("FAILED"), reader(DataConverter(payload_codec=Contextual()))) == "bad"


async def test_stops_decoding(caplog: pytest.LogCaptureFixture) -> None:
    """After 20 consecutive decoding failures decoding stops, which is logged once, without the payload."""
    rides = reader()
    event = await encrypted()
    for _ in range(19):
        assert await read(event, rides) == "unknown"
    assert await read(plain({"status": "FAILED"}), rides) == "bad"
    assert not rides.stopped
    with caplog.at_level(logging.DEBUG):
        for _ in range(25):
            assert await read(event, rides) == "unknown"
    assert (rides.stopped, rides.undecodable, rides.reads("Ride")) == (True, 39, False)
    assert await read(plain({"status": "FAILED"}), rides) == "unknown"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "decoding 20 consecutive results failed (" in caplog.text


async def test_decodes_again(caplog: pytest.LogCaptureFixture) -> None:
    """Ten minutes after decoding stopped it is tried again: once if that fails, and from then on if it succeeds."""
    clock, key = FixedClock(), {"right": False}

    async def decode(_: Payload, __: str) -> object:
        if not key["right"]:
            raise ValueError
        return {"status": "FAILED"}

    rides = OutcomeReader({"Ride": RIDE}, decode, clock)
    with caplog.at_level(logging.INFO):
        for _ in range(20):
            await read(plain(1), rides)
        clock.forward(599)
        assert rides.stopped
        clock.forward(1)
        assert not rides.stopped
        assert [await read(plain(1), rides) for _ in range(3)] == ["unknown"] * 3
        assert (rides.stopped, rides.undecodable) == (True, 21)
        key["right"] = True
        clock.forward(600)
        assert [await read(plain(1), rides) for _ in range(3)] == ["bad"] * 3
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


@pytest.mark.parametrize("error", [CodecUnavailableError(), ConnectionRefusedError(), FileNotFoundError("key.pem")])
async def test_outage_of_the_codec(error: Exception) -> None:
    """An outage is waited out with backoff: it makes no outcome unknown, and does not stop decoding."""
    clock, calls, down = FixedClock(), 0, True

    async def decode(_: Payload, __: str) -> object:
        nonlocal calls
        calls += 1
        if down:
            raise error
        return {"status": "FAILED"}

    rides = OutcomeReader({"Ride": RIDE}, decode, clock)
    for _ in range(600):
        assert await read(plain(1), rides) is None
        clock.forward(0.5)
    assert (rides.stopped, rides.undecodable) == (False, 0)
    # 1 s, 2 s, 4 s … 30 s, each less a jitter of at most a half.
    assert calls < 40
    down = False
    clock.forward(30)
    assert not rides.waits("Ride")
    assert await read(plain(1), rides) == "bad"


async def test_logs_once(caplog: pytest.LogCaptureFixture) -> None:
    """Results in flight when decoding stops do not log the stop again."""

    async def decode(_: Payload, __: str) -> object:
        await asyncio.sleep(0)
        raise ValueError

    rides = OutcomeReader({"Ride": RIDE}, decode)
    await asyncio.gather(*(read(plain(1), rides) for _ in range(28)))
    assert (rides.undecodable, len(caplog.records)) == (28, 1)


async def test_payloads_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The error message of a data converter, which may contain the payload, is not logged."""

    async def decode(payload: Payload, _: str) -> object:
        raise ValueError(payload.data)

    rides = OutcomeReader({"Ride": RIDE}, decode)
    with caplog.at_level(logging.DEBUG):
        for _ in range(20):
            await read(await encrypted(), rides)
    assert rides.stopped
    assert "ValueError" in caplog.text
    assert CARD not in caplog.text
    assert CARD[::-1] not in caplog.text


@pytest.mark.parametrize("error", [CodecUnavailableError(), TimeoutError()])
async def test_codec_unavailable(error: Exception) -> None:
    """While the codec is unavailable the outcome must be read later, and no decoding failure is counted."""

    async def decode(_: Payload, __: str) -> object:
        raise error

    rides = OutcomeReader({"Ride": RIDE}, decode)
    assert await read(plain({"status": "FAILED"}), rides) is None
    assert rides.undecodable == 0


async def test_decode_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding that takes too long is cancelled, and the outcome must be read later."""

    async def decode(_: Payload, __: str) -> object:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(outcome, "DECODE_TIMEOUT", DECODE_TIMEOUT / 1000)
    assert await read(plain(1), OutcomeReader({"Ride": RIDE}, decode)) is None


def remote(
    respond: Callable[[httpx.Request], httpx.Response], endpoint: str = "http://codec/{namespace}/"
) -> PayloadCodec:
    """Return a remote codec whose endpoint returns these responses."""
    return RemoteCodec(
        endpoint, "shop", authorization="Bearer 7", http=httpx.AsyncClient(transport=httpx.MockTransport(respond))
    )


async def test_remote_codec() -> None:
    """Requests follow Temporal's codec server protocol: payloads as protobuf JSON, the namespace in a header."""
    requests: list[httpx.Request] = []

    async def decoded(payloads: Sequence[Payload]) -> bytes:
        return json_format.MessageToJson(Payloads(payloads=await Reversed().decode(payloads))).encode()

    event = await encrypted("CONFIRMED")
    payload = event.workflow_execution_completed_event_attributes.result.payloads[0]
    body = await decoded([payload])

    def respond(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, content=body)

    assert await read(event, reader(DataConverter(payload_codec=remote(respond)))) == "good"
    (request,) = requests
    assert (request.method, str(request.url)) == ("POST", "http://codec/shop/decode")
    headers = {"content-type": "application/json", "x-namespace": "shop", "authorization": "Bearer 7"}
    assert headers.items() <= dict(request.headers).items()
    sent = json.loads(request.content)
    assert set(sent) == {"payloads"}
    assert set(sent["payloads"][0]) == {"metadata", "data"}
    assert json_format.Parse(request.content, Payloads()).payloads[0] == payload


@pytest.mark.parametrize("code", [401, 403, 408, 429, 500, 502, 503, 504, 520])
async def test_remote_codec_unavailable(code: int) -> None:
    """If the endpoint reports that it is unavailable, the outcome must be read later."""
    rides = reader(DataConverter(payload_codec=remote(lambda _: httpx.Response(code))))
    assert await read(await encrypted(), rides) is None


async def test_remote_codec_unreachable() -> None:
    """If the endpoint is unreachable or too slow, the outcome must be read later."""
    for error in (httpx.ConnectError("refused"), httpx.ReadTimeout("slow")):

        def respond(_: httpx.Request, error: Exception = error) -> httpx.Response:
            raise error

        assert await read(await encrypted(), reader(DataConverter(payload_codec=remote(respond)))) is None


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(400, text="cannot decrypt"),
        httpx.Response(422, text='{"payloads": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "e30="}]}'),
        httpx.Response(404),
        httpx.Response(302, headers={"location": "https://login"}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, text='{"payloads": []}'),
    ],
)
async def test_remote_codec_error(response: httpx.Response) -> None:
    """If the endpoint returns an error, or no payloads, decoding has failed: the outcome is unknown."""
    rides = reader(DataConverter(payload_codec=remote(lambda _: response)))
    assert await read(await encrypted(), rides) == "unknown"
    assert rides.undecodable == 1


@pytest.mark.parametrize("endpoint", ["codec:8081", "ftp://codec", "http://", "http://u:p@a:port", ""])
def test_bad_endpoint(endpoint: str) -> None:
    """An endpoint that is not an HTTP URL is rejected with an example, and not quoted: it may contain a password."""
    message = r"--codec-endpoint: is not an HTTP URL; set it to a URL like http://codec:8081/\{namespace\}"
    with pytest.raises(UsageError, match=f"^{message}$"):
        RemoteCodec(endpoint, "shop")


@pytest.mark.parametrize("name", ["temporalio.converter:default", "temporalio.converter:DataConverter.default"])
def test_load_converter(name: str) -> None:
    """A data converter is imported by module and attribute, which may be a function that returns it."""
    assert isinstance(load_converter(name, "--data-converter"), DataConverter)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("temporalio.converter", "is not module:attribute"),
        (":default", "is not module:attribute"),
        ("no.such.module:default", "cannot be imported (ModuleNotFoundError: No module named 'no')"),
        ("temporalio.converter:nothing", "cannot be imported (AttributeError: "),
        ("json:dumps", "cannot be imported (TypeError: "),
        ("json:decoder", "is a module, not a data converter"),
    ],
)
def test_bad_converter(name: str, what: str) -> None:
    """A name that is not of a data converter is rejected in one line: where, what, and the remedy."""
    with pytest.raises(UsageError) as caught:
        load_converter(name, "--data-converter")
    assert str(caught.value).startswith(f"--data-converter {name}: {what}")
    assert str(caught.value).endswith(
        "use the module:attribute of a temporalio.converter.DataConverter, for example temporalio.converter:default"
    )
