"""The OpenAPI document of the services, and that they keep to it."""

import uuid
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest
import schemathesis
from hypothesis import given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from temporal_slo.reference.services.app import create_app
from temporal_slo.reference.services.books import Books
from temporal_slo.reference.services.fault_rules import Endpoint
from temporal_slo.reference.services.steps import PREFIX, endpoint_of

# Hypothesis takes random numbers that the API draws in its own thread for some of the strategy.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")

EXAMPLES = 10
ACTIVITY_ID = "X-Activity-ID"


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    with closing(Books(Path(":memory:"))) as books:
        return create_app(books).openapi()


OPERATIONS = [
    (path, method, bool({"parameters", "requestBody"} & operation.keys()))
    for path, operations in document()["paths"].items()
    for method, operation in operations.items()
]


def check(path: str, method: str, mode: GenerationMode, books: Books) -> None:
    """Send generated requests of one kind to an operation, and check the responses."""
    operation = schemathesis.openapi.from_asgi("/openapi.json", create_app(books))[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(deadline=None, max_examples=EXAMPLES, database=None)
    def conforms(case: schemathesis.Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE and ACTIVITY_ID in case.headers:
            # The generator repeats keys, which is valid only for the same request.
            case.headers[ACTIVITY_ID] = uuid.uuid4().hex
        # A rule between two fields of a request is no part of a schema; only PUT requests have one.
        case.call_and_validate(excluded_checks=[positive_data_acceptance] if method == "put" else [])

    conforms()


@pytest.mark.parametrize(("path", "method"), [(path, method) for path, method, _ in OPERATIONS])
def test_valid(path: str, method: str, tmp_path: Path) -> None:
    """Every request that the document allows is accepted or refused, and answered as the document states."""
    with closing(Books(tmp_path / "books.db")) as books:
        check(path, method, GenerationMode.POSITIVE, books)


@pytest.mark.parametrize(("path", "method"), [(path, method) for path, method, has_input in OPERATIONS if has_input])
def test_invalid(path: str, method: str, tmp_path: Path) -> None:
    """Every request that the document does not allow gets an error below 500 that the document states."""
    with closing(Books(tmp_path / "books.db")) as books:
        check(path, method, GenerationMode.NEGATIVE, books)


def test_endpoints() -> None:
    """Every endpoint below /api/v1 can fail, under its own name, and no others can."""
    served = {endpoint_of(path) for path, _, _ in OPERATIONS if path.startswith(PREFIX)}
    assert {*served, "*"} == set(get_args(Endpoint))
