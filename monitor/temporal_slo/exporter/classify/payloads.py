"""Decoding of payloads: data converters and remote codecs."""

import dataclasses
import importlib
import json
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Self

import httpx
from google.protobuf import json_format
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import DataConverter, PayloadCodec, PayloadConverter, WorkflowSerializationContext

from temporal_slo import names
from temporal_slo.errors import UsageError
from temporal_slo.names.samples import Sample
from temporal_slo.settings import DEFAULT_CONVERTER, ExporterSettings

DECODE_TIMEOUT: Final = timedelta(seconds=30)
"""Time limit of decoding one result."""

ENDPOINT_TIMEOUT: Final = timedelta(seconds=10)
"""Time limit of each phase of a request to a codec endpoint: connect, write, read."""

UNAVAILABLE_CODES: Final = frozenset(
    {
        httpx.codes.UNAUTHORIZED,
        httpx.codes.FORBIDDEN,
        httpx.codes.PROXY_AUTHENTICATION_REQUIRED,
        httpx.codes.REQUEST_TIMEOUT,
        httpx.codes.TOO_MANY_REQUESTS,
    }
)
"""Codes below 500 that say nothing about the payload: they end with an outage, or with a rotation of credentials."""

log = logging.getLogger(__name__)

Decode = Callable[[Payload, str], Awaitable[object]]
"""Returns the value of a payload; the second argument is the id of its workflow."""


class Converters:
    """Makes the data converter, again for each namespace that starts; after a failure the last good one stays in use.

    Args:
        settings: Of the exporter.

    Raises:
        UsageError: The data converter or the codec endpoint is invalid at the start.
    """

    def __init__(self, settings: ExporterSettings) -> None:
        self._settings = settings
        self._error: str | None = None
        self._current = self._load()
        if settings.codec_endpoint:
            _checked_url(settings.codec_endpoint.replace("{namespace}", "namespace"))

    def current(self) -> DataConverter:
        """Make the data converter and return it; if that fails, return the last good one."""
        before, self._error = self._error, None
        try:
            self._current = self._load()
        except UsageError as error:
            self._error = str(error)
            if self._error != before:
                log.warning("data converter cannot be made, keeping the last good one: %s", error)
        if before and not self._error:
            log.info("data converter can be made again")
        return self._current

    def samples(self) -> Iterator[Sample]:
        """Yield whether the data converter could be made the last time."""
        yield Sample(names.EXPORTER_CONVERTER_SUCCESSFUL, {}, int(self._error is None))

    def _load(self) -> DataConverter:
        converter = load_converter(self._settings.data_converter, "--data-converter")
        if self._settings.codec_endpoint and converter.payload_codec:
            raise UsageError(
                "--codec-endpoint",
                "conflicts with the codec of the data converter",
                "set only one of --codec-endpoint and --data-converter",
            )
        return converter


@dataclass(frozen=True, slots=True)
class Decoder:
    """Decodes the payloads of one namespace.

    Attributes:
        decode: Decodes a payload.
        close: Closes the connections to the codec endpoint, if there is one.
    """

    decode: Decode
    close: Callable[[], Awaitable[None]]

    @classmethod
    def of(cls, settings: ExporterSettings, namespace: str, converter: DataConverter) -> Self:
        """Return the decoder configured by *settings*, with the data converter *converter*."""
        if not settings.codec_endpoint:
            return cls(converter_decode(converter, namespace), _close_nothing)
        codec = RemoteCodec(settings.codec_endpoint, namespace, authorization=settings.codec_authorization)
        return cls(converter_decode(dataclasses.replace(converter, payload_codec=codec), namespace), codec.close)


async def _close_nothing() -> None:
    pass


class CodecUnavailableError(Exception):
    """The codec endpoint is unavailable; decoding may succeed later."""


class _PassThroughConverter(PayloadConverter):
    """Returns payloads as the codec decoded them."""

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """Return the arguments unchanged."""
        return list(values)

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """Return the arguments unchanged."""
        del type_hints
        return list(payloads)


def converter_decode(converter: DataConverter, namespace: str) -> Decode:
    """Return a function that decodes payloads of workflows in *namespace* with *converter* and its codec."""
    codec_only = dataclasses.replace(converter, payload_converter_class=_PassThroughConverter)

    async def decode(payload: Payload, workflow_id: str) -> object:
        context = WorkflowSerializationContext(namespace=namespace, workflow_id=workflow_id)
        (plain,) = await codec_only.with_context(context).decode([payload])
        if plain.metadata.get("encoding") == b"json/protobuf":
            # Parsed as JSON: the converter would need the message classes of the workers.
            return json.loads(plain.data)
        (value,) = converter.with_context(context).payload_converter.from_payloads([plain])
        return json_format.MessageToDict(value) if isinstance(value, Message) else value

    return decode


def load_converter(name: str, where: str) -> DataConverter:
    """Import a data converter.

    Args:
        name: `module:attribute` of the data converter, or of a function without arguments that returns it.
        where: The option that contains the name, for error messages.

    Raises:
        UsageError: The name is invalid, cannot be imported, or is not a data converter.
    """
    remedy = f"use the module:attribute of a temporalio.converter.DataConverter, for example {DEFAULT_CONVERTER}"
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
        # The module of a user may raise any error on import.
        raise UsageError(f"{where} {name}", f"cannot be imported ({type(error).__name__}: {error})", remedy) from error
    if not isinstance(found, DataConverter):
        raise UsageError(f"{where} {name}", f"is a {type(found).__name__}, not a data converter", remedy)
    return found


class RemoteCodec(PayloadCodec):
    """A codec behind a codec endpoint, which speaks Temporal's codec server protocol.

    Args:
        endpoint: URL without `/decode`; `{namespace}` in it is replaced.
        namespace: Temporal namespace of the payloads.
        authorization: Value of the Authorization header; None for none.
        http: HTTP client; None for a new one.

    Raises:
        UsageError: The endpoint is not an HTTP URL.
    """

    def __init__(
        self,
        endpoint: str,
        namespace: str,
        *,
        authorization: str | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._endpoint = _checked_url(endpoint.replace("{namespace}", namespace))
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
            CodecUnavailableError: The endpoint is unreachable, or reports that it is unavailable.
            httpx.HTTPStatusError: The endpoint returned another error.
        """
        return await self._post("decode", payloads)

    async def _post(self, action: str, payloads: Sequence[Payload]) -> list[Payload]:
        body = json_format.MessageToJson(Payloads(payloads=payloads), indent=None)
        try:
            response = await self._http.post(f"{self._endpoint}/{action}", content=body, headers=self._headers)
        except httpx.TransportError as error:
            raise CodecUnavailableError from error
        if response.is_server_error or response.status_code in UNAVAILABLE_CODES:
            raise CodecUnavailableError
        response.raise_for_status()
        return list(json_format.Parse(response.content, Payloads()).payloads)

    async def close(self) -> None:
        """Close the connections to the endpoint."""
        await self._http.aclose()


def _checked_url(endpoint: str) -> str:
    try:
        url = httpx.URL(endpoint)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in {"http", "https"} or not url.host:
        # The message does not quote the URL, which may contain a password.
        raise UsageError("--codec-endpoint", "is not an HTTP URL", "set it to a URL like http://codec:8081/{namespace}")
    return endpoint.rstrip("/")
