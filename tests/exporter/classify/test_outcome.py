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
    CodecAwayError,
    RemoteCodec,
    converter_decode,
    load_converter,
)
from tests.integration.endings import Reversed

CARD = "4111-1111"
RIDE = SimpleNamespace(
    from_="status", good=("CONFIRMED", "true", "7"), bad=("FAILED", "false", "1.5"), excluded=("CANCELLED",)
)


def closed(*payloads: Payload) -> HistoryEvent:
    """The close event of a run that completed with a result of these payloads."""
    attributes = WorkflowExecutionCompletedEventAttributes(result=Payloads(payloads=payloads))
    return HistoryEvent(workflow_execution_completed_event_attributes=attributes)


def plain(value: object) -> HistoryEvent:
    """The close event of a run that completed with *value*."""
    return closed(*default().payload_converter.to_payloads([value]))


def reader(converter: DataConverter | None = None, rule: SimpleNamespace = RIDE) -> OutcomeReader:
    """A reader of rides."""
    return OutcomeReader({"Ride": rule}, converter_decode(converter or default(), "shop"))


def ruled(expression: str) -> OutcomeReader:
    """A reader of rides by another expression."""
    return reader(rule=SimpleNamespace(**{**vars(RIDE), "from_": expression}))


async def read(event: HistoryEvent | None, by: OutcomeReader | None = None) -> str | None:
    """The outcome of a ride that closed with *event*."""
    return await (by or reader()).read("Ride", "w", event)


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
    """A value is looked up as its JSON text among good, bad and excluded; one in none of them is unknown."""
    assert await read(plain({"status": status})) == expected


@pytest.mark.parametrize("result", [None, "CONFIRMED", 7, [], {"state": "CONFIRMED"}])
async def test_result_without_the_value(result: object) -> None:
    """A result in which the expression finds nothing is unknown."""
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
    """The value is found by JMESPath; an expression that does not fit the result makes it unknown."""
    assert await read(plain({"legs": [{"status": "CONFIRMED"}]}), ruled(expression)) == expected


async def test_no_result() -> None:
    """Without a result, or with its event gone, the outcome is unknown, which is no failure to decode."""
    rides = reader()
    assert await read(closed(), rides) == await read(None, rides) == "unknown"
    assert rides.undecodable == 0


async def test_type_without_outcome() -> None:
    """A workflow type without a spec is not wanted and has no outcome."""
    rides = reader()
    assert (rides.wants("Wallet"), rides.without_event("Wallet")) == (False, "none")
    assert await rides.read("Wallet", "w", plain({"status": "FAILED"})) == "none"
    assert (rides.wants("Ride"), rides.without_event("Ride")) == (True, "unknown")


async def test_protobuf_results() -> None:
    """Results of other SDKs that are protobuf messages are read as JSON, without their classes where they are JSON."""
    unknown = Payload(
        metadata={"encoding": b"json/protobuf", "messageType": b"shop.Ride"}, data=b'{"status": "CONFIRMED"}'
    )
    assert await read(closed(unknown)) == "good"
    binary = Payload(
        metadata={"encoding": b"binary/protobuf", "messageType": b"temporal.api.common.v1.WorkflowType"},
        data=b"\n\x09CONFIRMED",
    )
    assert await read(closed(binary), ruled("name")) == "good"


async def encrypted(value: object = CARD) -> HistoryEvent:
    """The close event of a run that completed with a result that a codec has encoded."""
    return closed(*await DataConverter(payload_codec=Reversed()).encode([{"status": value}]))


async def test_codec() -> None:
    """The converter's codec decodes the result."""
    assert await read(await encrypted("CONFIRMED"), reader(DataConverter(payload_codec=Reversed()))) == "good"


class Contextual(Reversed, WithSerializationContext):
    """A codec that can't decode without being told whose payloads they are."""

    def __init__(self, context: SerializationContext | None = None) -> None:
        self.context = context

    def with_context(self, context: SerializationContext) -> "Contextual":
        """Return one that was told."""
        return Contextual(context)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decode."""
        assert self.context == WorkflowSerializationContext(namespace="shop", workflow_id="w")
        return await super().decode(payloads)


async def test_context() -> None:
    """A codec that needs to know the namespace and the workflow is told."""
    assert await read(await encrypted("FAILED"), reader(DataConverter(payload_codec=Contextual()))) == "bad"


async def test_stops(caplog: pytest.LogCaptureFixture) -> None:
    """After 20 results in a row that can't be decoded no more are tried, which is logged once, without the payload."""
    rides = reader()
    event = await encrypted()
    for _ in range(19):
        assert await read(event, rides) == "unknown"
    assert await read(plain({"status": "FAILED"}), rides) == "bad"
    assert not rides.stopped
    with caplog.at_level(logging.DEBUG):
        for _ in range(25):
            assert await read(event, rides) == "unknown"
    assert (rides.stopped, rides.undecodable, rides.wants("Ride")) == (True, 39, False)
    assert await read(plain({"status": "FAILED"}), rides) == "unknown"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "20 results in a row can't be decoded" in caplog.text


async def test_stops_once(caplog: pytest.LogCaptureFixture) -> None:
    """Results under way when decoding stops do not log it again."""

    async def decode(_: Payload, __: str) -> object:
        await asyncio.sleep(0)
        raise ValueError

    rides = OutcomeReader({"Ride": RIDE}, decode)
    await asyncio.gather(*(read(plain(1), rides) for _ in range(28)))
    assert (rides.undecodable, len(caplog.records)) == (28, 1)


async def test_secrets_stay_inside(caplog: pytest.LogCaptureFixture) -> None:
    """What a converter says about a payload that it can't decode is not logged."""

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


@pytest.mark.parametrize("error", [CodecAwayError(), TimeoutError()])
async def test_decoder_away(error: Exception) -> None:
    """While the decoder does not answer the outcome can't be told yet, which is no failure to decode."""

    async def decode(_: Payload, __: str) -> object:
        raise error

    rides = OutcomeReader({"Ride": RIDE}, decode)
    assert await read(plain({"status": "FAILED"}), rides) is None
    assert rides.undecodable == 0


async def test_decoder_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that never answers is given up."""

    async def decode(_: Payload, __: str) -> object:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(outcome, "DECODE_TIMEOUT", DECODE_TIMEOUT / 1000)
    assert await read(plain(1), OutcomeReader({"Ride": RIDE}, decode)) is None


def remote(
    answer: Callable[[httpx.Request], httpx.Response], endpoint: str = "http://codec/{namespace}/"
) -> PayloadCodec:
    """A remote codec whose endpoint answers so."""
    return RemoteCodec(
        endpoint, "shop", authorization="Bearer 7", http=httpx.AsyncClient(transport=httpx.MockTransport(answer))
    )


async def test_remote_codec() -> None:
    """The endpoint is asked by Temporal's protocol: payloads as protobuf JSON, the namespace in a header."""
    requests: list[httpx.Request] = []

    async def decoded(payloads: Sequence[Payload]) -> bytes:
        return json_format.MessageToJson(Payloads(payloads=await Reversed().decode(payloads))).encode()

    event = await encrypted("CONFIRMED")
    payload = event.workflow_execution_completed_event_attributes.result.payloads[0]
    body = await decoded([payload])

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, content=body)

    assert await read(event, reader(DataConverter(payload_codec=remote(answer)))) == "good"
    (request,) = requests
    assert (request.method, str(request.url)) == ("POST", "http://codec/shop/decode")
    wanted = {"content-type": "application/json", "x-namespace": "shop", "authorization": "Bearer 7"}
    assert wanted.items() <= dict(request.headers).items()
    sent = json.loads(request.content)
    assert set(sent) == {"payloads"}
    assert set(sent["payloads"][0]) == {"metadata", "data"}
    assert json_format.Parse(request.content, Payloads()).payloads[0] == payload


@pytest.mark.parametrize("code", [429, 502, 503, 504])
async def test_remote_codec_away(code: int) -> None:
    """An endpoint that says it can't now leaves the outcome to be told later."""
    rides = reader(DataConverter(payload_codec=remote(lambda _: httpx.Response(code))))
    assert await read(await encrypted(), rides) is None


async def test_remote_codec_unreachable() -> None:
    """So does one that can't be reached, or is too slow."""
    for error in (httpx.ConnectError("refused"), httpx.ReadTimeout("slow")):

        def answer(_: httpx.Request, error: Exception = error) -> httpx.Response:
            raise error

        assert await read(await encrypted(), reader(DataConverter(payload_codec=remote(answer)))) is None


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(400, text="cannot decrypt"),
        httpx.Response(403, text='{"payloads": [{"metadata": {"encoding": "anNvbi9wbGFpbg=="}, "data": "e30="}]}'),
        httpx.Response(500),
        httpx.Response(404),
        httpx.Response(302, headers={"location": "https://login"}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, text='{"payloads": []}'),
    ],
)
async def test_remote_codec_refuses(answer: httpx.Response) -> None:
    """An endpoint that refuses, or answers with anything but payloads, can't decode: the outcome is unknown."""
    rides = reader(DataConverter(payload_codec=remote(lambda _: answer)))
    assert await read(await encrypted(), rides) == "unknown"
    assert rides.undecodable == 1


@pytest.mark.parametrize("endpoint", ["codec:8081", "ftp://codec", "http://", "http://u:p@a:port", ""])
def test_bad_endpoint(endpoint: str) -> None:
    """An endpoint that is no HTTP URL is refused with an example, and not quoted: it may hold a password."""
    wanted = r"--codec-endpoint: is no HTTP URL; write for example http://codec:8081/\{namespace\}"
    with pytest.raises(UsageError, match=f"^{wanted}$"):
        RemoteCodec(endpoint, "shop")


@pytest.mark.parametrize("name", ["temporalio.converter:default", "temporalio.converter:DataConverter.default"])
def test_load_converter(name: str) -> None:
    """A converter is found by module and attribute, or made by the function found there."""
    assert isinstance(load_converter(name, "--data-converter"), DataConverter)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("temporalio.converter", "is not module:attribute"),
        (":default", "is not module:attribute"),
        ("no.such.module:default", "can't be loaded (ModuleNotFoundError: No module named 'no')"),
        ("temporalio.converter:nothing", "can't be loaded (AttributeError: "),
        ("json:dumps", "can't be loaded (TypeError: "),
        ("json:decoder", "is a module, not a data converter"),
    ],
)
def test_bad_converter(name: str, what: str) -> None:
    """A name that leads to no converter is refused in one line: where, what, and the remedy."""
    with pytest.raises(UsageError) as caught:
        load_converter(name, "--data-converter")
    assert str(caught.value).startswith(f"--data-converter {name}: {what}")
    assert str(caught.value).endswith(
        "name a temporalio.converter.DataConverter as module:attribute, for example temporalio.converter:default"
    )
