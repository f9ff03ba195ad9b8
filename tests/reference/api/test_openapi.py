"""The OpenAPI document of the API, and that the API keeps to it."""

import asyncio
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode

from temporal_slo.reference.api.app import create_app
from temporal_slo.reference.api.webhooks import PATH
from temporal_slo.reference.web.paystack import SIGNATURE

from .desk import SIGNING, Desk

# Hypothesis takes random numbers that the API draws in its own thread for some of the strategy.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")

EXAMPLES = 10


def document() -> dict[str, Any]:
    """Return the OpenAPI document, which needs neither Temporal nor services."""
    none: Any = None
    return create_app(none, none, SIGNING).openapi()


OPERATIONS = [
    (path, method, operation)
    for path, operations in document()["paths"].items()
    for method, operation in operations.items()
]
WITH_INPUT = [(path, method) for path, method, it in OPERATIONS if {"parameters", "requestBody"} & it.keys()]


async def check(desk: Desk, path: str, method: str, mode: GenerationMode) -> None:
    """Send generated requests of one kind to an operation, and check the responses."""
    url = str(desk.http.base_url)

    def send() -> None:
        operation = schemathesis.openapi.from_url(f"{url}/openapi.json")[path][method]

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(deadline=None, max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
        def conforms(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(auth=signed)

        conforms()

    # The API serves in the loop of the tests.
    await asyncio.to_thread(send)


def signed(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Sign a webhook, so that its body is parsed."""
    if request.path_url == PATH:
        body = request.body or b""
        assert isinstance(body, bytes | str)
        request.headers[SIGNATURE] = SIGNING.of(body.encode() if isinstance(body, str) else body)
    return request


@pytest.mark.parametrize(("path", "method"), [(path, method) for path, method, _ in OPERATIONS])
async def test_valid(desk: Desk, path: str, method: str) -> None:
    """Every request that the document allows is accepted or refused, and answered as the document states."""
    await check(desk, path, method, GenerationMode.POSITIVE)


@pytest.mark.parametrize(("path", "method"), WITH_INPUT)
async def test_invalid(desk: Desk, path: str, method: str) -> None:
    """Every request that the document does not allow gets an error below 500 that the document states."""
    await check(desk, path, method, GenerationMode.NEGATIVE)


def test_complete() -> None:
    """Every operation has a summary, a description, an ID, and its errors with examples; no schema is unused."""
    for path, method, operation in OPERATIONS:
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["description"], where
        errors = {status: found for status, found in operation["responses"].items() if int(status) >= 400}
        assert {"500"} <= errors.keys(), where
        for status, found in errors.items():
            content = found["content"]["application/problem+json"]
            assert content["example"]["status"] == int(status), where
    ids = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(ids)) == len(OPERATIONS) == 10


def test_examples() -> None:
    """Every field of every request and response body has an example that is valid, or is an object or a default."""
    components = document()["components"]
    for name, schema in components["schemas"].items():
        if name == "Problem":
            continue
        for field, found in schema["properties"].items():
            described = {"examples", "$ref", "default", "const", "enum", "items"} & found.keys()
            assert described, f"{name}.{field} has no example"
            validator = Draft202012Validator({**found, "components": components})
            for example in found.get("examples", []):
                assert validator.is_valid(example), f"{name}.{field}: {example}"
