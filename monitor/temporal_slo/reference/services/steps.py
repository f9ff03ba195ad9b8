"""What every endpoint of the services does around its effect."""

import asyncio
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Request, Response

from temporal_slo.reference.services.calls import Answer, Call, Effect, Performer
from temporal_slo.reference.services.fault_rules import Kind
from temporal_slo.reference.web import problems
from temporal_slo.reference.web.wire import Wire

PREFIX: Final = "/api/v1"
KEY_MAX: Final = 512
_SUBJECTS: Final = ("reservation_id", "reference", "booking_id", "workflow_id")

_KEY: Final = Header(
    alias="X-Activity-ID",
    min_length=1,
    max_length=KEY_MAX,
    pattern=r"^[\x21-\x7e]+$",
    description="Idempotency key: calls with the same key take effect once, and get the same response.",
)


class Step:
    """One call of an endpoint: a dependency of its handler."""

    def __init__(self, request: Request, performer: Performer, key: str | None) -> None:
        self._request = request
        self._performer = performer
        self._key = key

    async def take(self, effect: Effect, body: Wire | None = None) -> Response:
        """Perform the call and return its response, unless a fault holds it back.

        Args:
            effect: Performs the call in the books.
            body: The request.
        """
        answer = await self._performer.perform(self._call(body), effect)
        silence = answer.faults.of(Kind.NO_RESPONSE)
        if silence:
            await self._until_disconnected(self._performer.wait(silence))
        return _response(answer)

    def _call(self, body: Wire | None) -> Call:
        request = self._request
        values: dict[str, Any] = {**(body.model_dump() if body else {}), **request.path_params}
        return Call(
            method=request.method,
            endpoint=endpoint_of(request.scope["route"].path),
            subjects=tuple(values[name] for name in _SUBJECTS if name in values),
            user_id=values.get("user_id", ""),
            key=self._key,
            content=f"{request.method} {request.url.path} {body.model_dump_json() if body else ''}",
        )

    async def _until_disconnected(self, wait: Any) -> None:  # noqa: ANN401 a coroutine
        # A client that gave up would otherwise hold back a shutdown.
        waiting = [asyncio.ensure_future(wait), asyncio.ensure_future(self._request.receive())]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()


def endpoint_of(path: str) -> str:
    """Return the name of an endpoint: its path below /api/v1 without parameters."""
    parts = path.removeprefix(PREFIX).strip("/").split("/")
    return "/".join(part for part in parts if not part.startswith("{"))


def _performer(request: Request) -> Performer:
    performer: Performer = request.app.state.performer
    return performer


def _with_key(
    request: Request, performer: Annotated[Performer, Depends(_performer)], key: Annotated[str, _KEY]
) -> Step:
    return Step(request, performer, key)


def _without_key(
    request: Request, performer: Annotated[Performer, Depends(_performer)], key: Annotated[str | None, _KEY] = None
) -> Step:
    return Step(request, performer, key)


KeyedStep = Annotated[Step, Depends(_with_key)]
"""A call that needs an idempotency key."""
FreeStep = Annotated[Step, Depends(_without_key)]
"""A call that may have an idempotency key."""


def _response(answer: Answer) -> Response:
    media_type = "application/json" if answer.status < 400 else problems.MEDIA_TYPE  # noqa: PLR2004 errors start there
    return Response(answer.body, answer.status, media_type=media_type)
