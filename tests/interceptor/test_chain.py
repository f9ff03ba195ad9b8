"""When a workflow began, and what of it the next run is told."""

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio import workflow
from temporalio.common import RawValue
from temporalio.converter import CompositePayloadConverter, JSONPlainPayloadConverter, PayloadConverter

from temporal_slo.interceptor._chain import CHAIN_START, pass_on_start

BEGAN = datetime(2026, 1, 2, tzinfo=UTC)


def handed_on(monkeypatch: pytest.MonkeyPatch, converter: PayloadConverter) -> Any:  # noqa: ANN401 as good as the SDK's
    """Return what a run continues as new with, whose user has given neither headers nor a memo."""
    monkeypatch.setattr(workflow, "payload_converter", lambda: converter)
    given = SimpleNamespace(headers={}, memo=None)
    try:
        pass_on_start(BEGAN, cast("workflow.Info", SimpleNamespace(raw_memo={})), cast("Any", given))
    except Exception:  # noqa: BLE001 the hook counts it
        given.refused = True
    return given


def test_next_run_is_told_by_header_and_memo(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both hold the time as a text."""
    given = handed_on(monkeypatch, PayloadConverter.default)
    memo = given.memo[CHAIN_START]
    assert isinstance(memo, RawValue)
    assert given.headers[CHAIN_START] == memo.payload
    assert datetime.fromisoformat(json.loads(memo.payload.data)) == BEGAN


def test_no_memo_that_the_next_run_could_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A converter that does not know plain JSON would fail every task of the next run that looks at its memo."""
    mine = CompositePayloadConverter(JSONPlainPayloadConverter(encoding="json/mine"))
    given = handed_on(monkeypatch, mine)
    assert given.refused
    assert given.memo is None
    assert CHAIN_START in given.headers
