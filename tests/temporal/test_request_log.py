import json
from contextlib import suppress

from temporal_slo.errors import TemporalRequestError
from temporal_slo.temporal.request_log import LOG_SIZE, LoggedRequest, RequestLog
from temporal_slo.testing import FixedClock


def test_requests() -> None:
    """A request is logged with its text, code, rows and duration; one that fails has no rows."""
    log, clock = RequestLog(), FixedClock()
    with log.record("a page", clock) as entry:
        clock.forward(0.25)
        entry.rows = 17
    with suppress(TemporalRequestError), log.record("another page", clock):
        clock.forward(3)
        raise TemporalRequestError("UNAVAILABLE", "connection refused")
    assert [*log.requests] == [
        LoggedRequest("a page", "OK", 17, 0.25),
        LoggedRequest("another page", "UNAVAILABLE", None, 3),
    ]


def test_dropped_requests() -> None:
    """The newest requests of a poll are kept, and those before them counted."""
    log = RequestLog()
    log.start_poll(5.0)
    for number in range(LOG_SIZE + 3):
        with log.record(f"page {number}"):
            pass
    assert (len(log.requests), log.requests[0].request, log.dropped) == (LOG_SIZE, "page 3", 3)
    assert log.debug_info()["requests_dropped"] == 3


def test_next_poll() -> None:
    """A new poll drops the requests of the one before, and their count."""
    log = RequestLog()
    for _ in range(LOG_SIZE + 1):
        with log.record("a page"):
            pass
    log.start_poll(7.0)
    assert log.debug_info() == {"start": 7.0, "requests": [], "requests_dropped": 0}


def test_debug_info() -> None:
    """The log is JSON of its fields."""
    log, clock = RequestLog(), FixedClock()
    log.start_poll(5.0)
    with log.record("a page", clock):
        clock.forward(2)
    request = {"request": "a page", "code": "OK", "rows": None, "seconds": 2}
    assert json.loads(json.dumps(log.debug_info())) == {"start": 5, "requests": [request], "requests_dropped": 0}
