"""The business outcome of a completed run, read from its result."""

import asyncio
import dataclasses
import importlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Protocol

import httpx
import jmespath
from google.protobuf import json_format
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.history.v1 import HistoryEvent
from temporalio.converter import (
    DataConverter,
    PayloadCodec,
    PayloadConverter,
    WorkflowSerializationContext,
)

from temporal_slo.errors import UsageError
from temporal_slo.names import OUTCOME_BAD, OUTCOME_GOOD, OUTCOME_NONE

GOOD: Final = OUTCOME_GOOD
BAD: Final = OUTCOME_BAD
EXCLUDED: Final = "excluded"
UNKNOWN: Final = "unknown"

DEFAULT_CONVERTER: Final = "temporalio.converter:default"
UNDECODABLE_MAX: Final = 20
"""Results in a row that can't be decoded, after which no more are tried."""

DECODE_TIMEOUT: Final = timedelta(seconds=30)
ENDPOINT_TIMEOUT: Final = timedelta(seconds=10)

# Not 500: many codec servers answer it to what they can't decode.
AWAY: Final = {
    httpx.codes.TOO_MANY_REQUESTS,
    httpx.codes.BAD_GATEWAY,
    httpx.codes.SERVICE_UNAVAILABLE,
    httpx.codes.GATEWAY_TIMEOUT,
}

log = logging.getLogger(__name__)

Decode = Callable[[Payload, str], Awaitable[object]]
"""Turns a payload, and the id of the workflow that it is of, into the value that it stands for."""


class CodecAwayError(Exception):
    """The codec endpoint does not answer: what it would decode may be decoded later."""


class Outcome(Protocol):
    """How the business outcome of a workflow type is read, as the spec has it."""

    @property
    def from_(self) -> str:
        """JMESPath expression into the result."""

    @property
    def good(self) -> Sequence[str]:
        """Values, as text, that mean a kept promise."""

    @property
    def bad(self) -> Sequence[str]:
        """Values that mean a broken one."""

    @property
    def excluded(self) -> Sequence[str]:
        """Values that count as neither."""


class OutcomeReader:
    """Reads the outcomes of one namespace's completed runs.

    Args:
        specs: How to read them, by workflow type; their expressions are valid.
        decode: Decodes results.

    Attributes:
        undecodable: Results so far that could not be decoded.
        stopped: Whether too many in a row could not: then none is tried any more.
    """

    def __init__(self, specs: Mapping[str, Outcome], decode: Decode) -> None:
        self._rules = {workflow_type: _Rule(spec) for workflow_type, spec in specs.items()}
        self._decode = decode
        self._in_a_row = 0
        self.undecodable = 0
        self.stopped = False

    def wants(self, workflow_type: str) -> bool:
        """Return whether the close events of this type's completed runs are worth fetching."""
        return workflow_type in self._rules and not self.stopped

    def without_event(self, workflow_type: str) -> str:
        """Return the outcome of a completed run whose close event is not there, or not wanted."""
        return UNKNOWN if workflow_type in self._rules else OUTCOME_NONE

    async def read(self, workflow_type: str, workflow_id: str, event: HistoryEvent | None) -> str | None:
        """Return the outcome of a completed run: good, bad, excluded or unknown; or none.

        None if it can't be told yet, for the codec endpoint is away: it may be asked again.

        Args:
            workflow_type: The outcome is none if it has no spec.
            workflow_id: Part of what some codecs encrypt with.
            event: The run's close event; None if it is gone.
        """
        payload = _result(event)
        if payload is None or not self.wants(workflow_type):
            return self.without_event(workflow_type)
        try:
            async with asyncio.timeout(DECODE_TIMEOUT.total_seconds()):
                value = await self._decode(payload, workflow_id)
        except (CodecAwayError, TimeoutError):
            return None
        except Exception as error:  # noqa: BLE001 a user's converter may raise anything
            self._fail(error)
            return UNKNOWN
        self._in_a_row = 0
        return self._rules[workflow_type](value)

    def _fail(self, error: Exception) -> None:
        self.undecodable += 1
        self._in_a_row += 1
        if self._in_a_row >= UNDECODABLE_MAX and not self.stopped:
            self.stopped = True
            # Its name alone: the message may hold what the customer wrote.
            name = type(error).__name__
            log.warning(
                "%d results in a row can't be decoded (%s): business outcomes are unknown from now on; configure the"
                " data converter or the codec endpoint that the workers use, and restart",
                self._in_a_row,
                name,
            )


class _Rule:
    def __init__(self, spec: Outcome) -> None:
        self._expression = jmespath.compile(spec.from_)
        kinds = {GOOD: spec.good, BAD: spec.bad, EXCLUDED: spec.excluded}
        self._outcomes: dict[str | None, str] = {
            value: outcome for outcome, values in kinds.items() for value in values
        }

    def __call__(self, value: object) -> str:
        try:
            found = self._expression.search(value)
        except Exception:  # noqa: BLE001 the types of the result may be such that jmespath itself stumbles
            return UNKNOWN
        return self._outcomes.get(_text(found), UNKNOWN)


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool | int | float) else None


def _result(event: HistoryEvent | None) -> Payload | None:
    if event is None:
        return None
    payloads = event.workflow_execution_completed_event_attributes.result.payloads
    return payloads[0] if payloads else None


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
