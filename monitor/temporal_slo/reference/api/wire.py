"""Values in requests to the API, and what it reads from other services."""

import hashlib
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from temporal_slo.reference.web.problems import ProblemError, documented
from temporal_slo.reference.web.wire import Id

REQUEST_ID: Final = r"[A-Za-z0-9._-]{1,64}"

RequestId = Annotated[
    str,
    Field(
        pattern=f"^{REQUEST_ID}$",
        description="Chosen by the client; a repeated request with the same ID has no further effect",
        examples=["2f1c9a"],
    ),
]
ShortId = Annotated[Id, Field(max_length=64)]
# Without control characters, which the services refuse, and which could forge lines of a log.
ShortText = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
LOCATION: Final[dict[str, Any]] = {
    "headers": {"Location": {"description": "Where to follow the workflow", "schema": {"type": "string"}}}
}
"""Header of a response that started a workflow, for the OpenAPI document."""

UserPath = Annotated[ShortId, Path(alias="userId", examples=["user-7"])]


class Answer(BaseModel):
    """A JSON object from outside, of which the API uses only some fields."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


def unavailable(detail: str) -> ProblemError:
    """Return a 503, with the seconds after which the client may repeat the request."""
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": "5"})


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of an operation for the OpenAPI document; 503 has the seconds to wait."""
    responses = documented(*statuses)
    if HTTPStatus.SERVICE_UNAVAILABLE in responses:
        header = {"description": "Seconds to wait before a retry", "schema": {"type": "integer"}}
        responses[HTTPStatus.SERVICE_UNAVAILABLE]["headers"] = {"Retry-After": header}
    return responses


def digest(body: BaseModel, *more: str) -> str:
    """Return a digest that is equal for equal requests.

    Args:
        body: Body of the request. A default and a missing value are the same, so that a new optional field does not
            change the digest of requests without it.
        more: Parameters of the path.
    """
    text = "\n".join((body.model_dump_json(exclude_defaults=True), *more))
    return hashlib.sha256(text.encode()).hexdigest()
