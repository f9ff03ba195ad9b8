"""The start time of a workflow, and how it is passed to the next run."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio import workflow
from temporalio.common import RawValue
from temporalio.converter import CompositePayloadConverter, JSONPlainPayloadConverter, PayloadConverter

from temporal_slo.interceptor._chain import CHAIN_START, pass_on_start

START = datetime(2026, 1, 2, tzinfo=UTC)


def continued_input(monkeypatch: pytest.MonkeyPatch, converter: PayloadConverter) -> Any:  # noqa: ANN401 as good as the SDK's
    """Return the input of the next run, for a user who sets neither headers nor a memo."""
    monkeypatch.setattr(workflow, "payload_converter", lambda: converter)
    input_ = SimpleNamespace(headers={}, memo=None)
    try:
        pass_on_start(START, cast("workflow.Info", SimpleNamespace(raw_memo={})), cast("Any", input_))
    except Exception:  # noqa: BLE001 the hook counts the error
        input_.refused = True
    return input_


def test_start_is_in_header_and_memo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Header and memo both hold the start time as an ISO 8601 string."""
    input_ = continued_input(monkeypatch, PayloadConverter.default)
    memo = input_.memo[CHAIN_START]
    assert isinstance(memo, RawValue)
    assert input_.headers[CHAIN_START] == memo.payload
    assert datetime.fromisoformat(json.loads(memo.payload.data)) == START


def test_no_memo_that_the_next_run_cannot_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memo is unchanged if the converter cannot decode plain JSON: reading it would fail the next run."""
    mine = CompositePayloadConverter(JSONPlainPayloadConverter(encoding="json/mine"))
    input_ = continued_input(monkeypatch, mine)
    assert input_.refused
    assert input_.memo is None
    assert CHAIN_START in input_.headers
