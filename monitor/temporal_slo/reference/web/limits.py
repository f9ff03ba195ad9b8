"""Limit on the size of request bodies."""

from http import HTTPStatus
from typing import Final

from fastapi import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_MAX: Final = 64 * 1024


class BodyLimit:
    """Middleware that answers 413 to a request whose body is larger than 64 KiB, without reading all of it.

    Args:
        app: The application.
        limit: Maximum size of a body, in bytes.
    """

    def __init__(self, app: ASGIApp, limit: int = BODY_MAX) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count the bytes of its body."""
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._limit:
                # FastAPI passes on only this error while it reads a body; it turns any other into a status 400.
                raise HTTPException(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"the body is larger than {self._limit} bytes",
                    {"connection": "close"},
                )
            return message

        await self._app(scope, counted if scope["type"] == "http" else receive, send)
