"""Temporal's workflow service at the level of messages, for tests of what sends them."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from google.protobuf.message import Message
from temporalio.api.common.v1 import GrpcStatus
from temporalio.api.errordetails.v1 import NotFoundFailure
from temporalio.api.workflowservice import v1
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

Answer = Message | Exception
Handler = Callable[[Any], Answer | Awaitable[Answer]]


class FakeService:
    """Answers each method with a message or an error, or with what a function makes of the request.

    Methods without an answer return an empty message.

    Args:
        answers: By the name of the SDK's method.

    Attributes:
        requests: The messages received, in order.
        methods: How often each method was called.
        options: Metadata and timeout of the last request.
    """

    def __init__(self, **answers: Answer | Handler) -> None:
        self.answers = answers
        self.requests: list[Any] = []
        self.methods = Counter[str]()
        self.options: tuple[Mapping[str, str], timedelta | None] = ({}, None)

    @property
    def client(self) -> Client:
        """A client with this service, which is all that a gateway uses of it."""
        return _Client(self)  # type: ignore[return-value]

    def __getattr__(self, method: str) -> Callable[..., Any]:
        async def respond(
            request: Message, *, metadata: Mapping[str, str] | None = None, timeout: timedelta | None = None
        ) -> Message:
            self.requests.append(request)
            self.methods[method] += 1
            self.options = (metadata or {}, timeout)
            answer = self.answers.get(method, _empty)
            if callable(answer):
                answered = answer(request)
                answer = await answered if isinstance(answered, Awaitable) else answered
            if isinstance(answer, Exception):
                raise answer
            return answer

        return respond


class _Client:
    def __init__(self, service: FakeService) -> None:
        self.workflow_service = service
        self.namespace = "default"


def _empty(request: Message) -> Message:
    response: Message = getattr(v1, type(request).__name__.replace("Request", "Response"))()
    return response


def not_found() -> RPCError:
    """The error of a server that has no such workflow or schedule."""
    status = GrpcStatus(code=int(RPCStatusCode.NOT_FOUND), message="workflow not found")
    status.details.add().Pack(NotFoundFailure())
    return RPCError(status.message, RPCStatusCode.NOT_FOUND, status.SerializeToString())
