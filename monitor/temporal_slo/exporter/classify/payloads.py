"""Decoding payloads: data converters and remote codecs."""

import dataclasses
import importlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Self

import httpx
from google.protobuf import json_format
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import DataConverter, PayloadCodec, PayloadConverter, WorkflowSerializationContext

from temporal_slo.errors import UsageError
from temporal_slo.settings import ExporterSettings

DECODE_TIMEOUT: Final = timedelta(seconds=30)

ENDPOINT_TIMEOUT: Final = timedelta(seconds=10)

# Not 500: many codec servers answer it to what they can't decode.
AWAY: Final = {
    httpx.codes.TOO_MANY_REQUESTS,
    httpx.codes.BAD_GATEWAY,
    httpx.codes.SERVICE_UNAVAILABLE,
    httpx.codes.GATEWAY_TIMEOUT,
}

Decode = Callable[[Payload, str], Awaitable[object]]
"""Turns a payload, and the id of the workflow that it is of, into the value that it stands for."""

DEFAULT_CONVERTER: Final = "temporalio.converter:default"


@dataclass(frozen=True, slots=True)
class Decoder:
    """Decodes the payloads of one namespace.

    Attributes:
        decode: Decodes a payload.
        close: Closes the connections of the remote codec, if there is one.
    """

    decode: Decode
    close: Callable[[], Awaitable[None]]

    @classmethod
    def of(cls, settings: ExporterSettings, namespace: str) -> Self:
        """Return the decoder that *settings* describe.

        Raises:
            UsageError: The data converter or the codec endpoint is wrong.
        """
        converter = load_converter(settings.data_converter, "--data-converter")
        if not settings.codec_endpoint:
            return cls(converter_decode(converter, namespace), _nothing_to_close)
        if converter.payload_codec:
            raise UsageError(
                "--codec-endpoint", "the data converter has a codec of its own", "give one of --data-converter and this"
            )
        codec = RemoteCodec(settings.codec_endpoint, namespace, authorization=settings.codec_authorization)
        return cls(converter_decode(dataclasses.replace(converter, payload_codec=codec), namespace), codec.close)


async def _nothing_to_close() -> None:
    pass


class CodecAwayError(Exception):
    """The codec endpoint does not answer: what it would decode may be decoded later."""


class _Bare(PayloadConverter):
    """Leaves payloads as the codec decoded them."""

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """Return what was given."""
        return list(values)

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """Return what was given."""
        del type_hints
        return list(payloads)


def converter_decode(converter: DataConverter, namespace: str) -> Decode:
    """Return how *converter*, with its codec, decodes results of workflows in *namespace*."""
    bare = dataclasses.replace(converter, payload_converter_class=_Bare)

    async def decode(payload: Payload, workflow_id: str) -> object:
        context = WorkflowSerializationContext(namespace=namespace, workflow_id=workflow_id)
        (plain,) = await bare.with_context(context).decode([payload])
        if plain.metadata.get("encoding") == b"json/protobuf":
            # JSON as it is: the converter would ask for the workers' message classes.
            return json.loads(plain.data)
        (value,) = converter.with_context(context).payload_converter.from_payloads([plain])
        return json_format.MessageToDict(value) if isinstance(value, Message) else value

    return decode


def load_converter(name: str, where: str) -> DataConverter:
    """Return the data converter called `module:attribute`; a function of no arguments may return it.

    Args:
        name: Its name.
        where: The option or variable that holds the name.

    Raises:
        UsageError: There is none of that name.
    """
    remedy = f"name a temporalio.converter.DataConverter as module:attribute, for example {DEFAULT_CONVERTER}"
    module, _, attribute = name.partition(":")
    if not module or not attribute:
        raise UsageError(f"{where} {name}", "is not module:attribute", remedy)
    try:
        found: object = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        if callable(found):
            found = found()
    except Exception as error:
        # A user's module may raise anything while it is imported.
        raise UsageError(f"{where} {name}", f"can't be loaded ({type(error).__name__}: {error})", remedy) from error
    if not isinstance(found, DataConverter):
        raise UsageError(f"{where} {name}", f"is a {type(found).__name__}, not a data converter", remedy)
    return found


class RemoteCodec(PayloadCodec):
    """A codec behind an HTTP endpoint, by Temporal's codec server protocol.

    Args:
        endpoint: URL that `/decode` is appended to; `{namespace}` in it stands for the namespace.
        namespace: Temporal namespace of the payloads.
        authorization: Value of the header of that name, if any.
        http: Makes the requests.

    Raises:
        UsageError: The endpoint is no URL.
    """

    def __init__(
        self,
        endpoint: str,
        namespace: str,
        *,
        authorization: str | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._endpoint = _url(endpoint.replace("{namespace}", namespace))
        self._headers = {"Content-Type": "application/json", "X-Namespace": namespace}
        if authorization:
            self._headers["Authorization"] = authorization
        self._http = http or httpx.AsyncClient(timeout=ENDPOINT_TIMEOUT.total_seconds())

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encode *payloads*."""
        return await self._post("encode", payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decode *payloads*.

        Raises:
            CodecAwayError: The endpoint does not answer, or says that it can't now.
            httpx.HTTPStatusError: It refuses.
        """
        return await self._post("decode", payloads)

    async def _post(self, action: str, payloads: Sequence[Payload]) -> list[Payload]:
        body = json_format.MessageToJson(Payloads(payloads=payloads), indent=None)
        try:
            answer = await self._http.post(f"{self._endpoint}/{action}", content=body, headers=self._headers)
        except httpx.TransportError as error:
            raise CodecAwayError from error
        if answer.status_code in AWAY:
            raise CodecAwayError
        answer.raise_for_status()
        return list(json_format.Parse(answer.content, Payloads()).payloads)

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()


def _url(endpoint: str) -> str:
    try:
        url = httpx.URL(endpoint)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in {"http", "https"} or not url.host:
        # It is not quoted: a URL may hold a password.
        raise UsageError("--codec-endpoint", "is no HTTP URL", "write for example http://codec:8081/{namespace}")
    return endpoint.rstrip("/")
