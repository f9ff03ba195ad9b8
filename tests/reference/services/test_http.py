"""What the services answer to requests that are no calls, and when something is broken."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from temporal_slo.reference.services.app import create_app
from temporal_slo.reference.services.books import Books
from tests.reference.services.steps import fare, seat
from tests.reference.services_process import ServicesUnderTest

LIMIT = 64 * 1024


async def chunks(size: int) -> AsyncIterator[bytes]:
    """Yield a body in chunks, whose length the server does not know before."""
    for _ in range(size // 1024):
        yield b" " * 1024


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize(("size", "status"), [(LIMIT, 415), (LIMIT + 1024, 413)])
async def test_large_body(services: ServicesUnderTest, size: int, status: int, chunked: bool) -> None:  # noqa: FBT001
    """A body of more than 64 KiB is refused with 413, whether its length is announced or not."""
    content = chunks(size) if chunked else b" " * size
    response = await services.http.post("/api/v1/seats/reserve", content=content, headers={"X-Activity-ID": "k"})
    assert (response.status_code, response.json()["status"]) == (status, status)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/api/v1/buses", 405)], ids=["path", "method"]
)
async def test_unknown(services: ServicesUnderTest, method: str, path: str, status: int) -> None:
    """Unknown paths and methods are problems, too."""
    response = await services.http.request(method, path)
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert response.json()["status"] == status


@pytest.mark.parametrize(
    ("media_type", "status"),
    [
        *((media_type, 415) for media_type in ("application/x-www-form-urlencoded", "application/jsonp", None)),
        *((media_type, 200) for media_type in ("application/json; charset=utf-8", "application/vnd.seat+json")),
    ],
)
async def test_media_type(services: ServicesUnderTest, media_type: str | None, status: int) -> None:
    """A body that is not sent as JSON, which `curl -d` does not do by itself, gets 415 with the header to send."""
    headers = {"X-Activity-ID": "k"} | ({"content-type": media_type} if media_type else {})
    content = json.dumps(seat()).encode()
    response = await services.http.post("/api/v1/seats/reserve", content=content, headers=headers)
    assert response.status_code == status, response.text
    if status == 415:
        assert response.json()["detail"] == "send JSON, with the header content-type: application/json"


async def test_values_are_not_repeated(services: ServicesUnderTest) -> None:
    """An error names what is wrong with a request, but not the value."""
    response = await services.send("seats/reserve", {**seat(), "busId": "<script>"}, "k")
    assert response.json() == {
        "type": "about:blank",
        "title": "Unprocessable Entity",
        "status": 422,
        "detail": "body.busId: String should match pattern '^[A-Za-z0-9][A-Za-z0-9._:@-]*$'",
    }


async def test_locked_books(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While the books cannot be written calls get 503 and have no effect; the same key succeeds afterwards."""
    with closing(Books(tmp_path / "books.db", busy_timeout=0.05)) as books:
        transport = httpx.ASGITransport(create_app(books))
        async with httpx.AsyncClient(transport=transport, base_url="http://services/api/v1") as http:
            with closing(sqlite3.connect(tmp_path / "books.db")) as other:
                other.execute("BEGIN IMMEDIATE")
                refused = await http.post("/seats/reserve", json=seat(), headers={"X-Activity-ID": "k"})
            assert (refused.status_code, refused.json()["detail"]) == (503, "the books cannot be written")
            response = await http.post("/seats/reserve", json=seat(), headers={"X-Activity-ID": "k"})
            assert (response.status_code, response.json()["seatNumber"]) == (200, "S01")
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "books: database is locked"
    ]


async def test_bug(tmp_path: Path) -> None:
    """A bug is a problem with status 500 that does not quote the error."""
    with closing(Books(tmp_path / "books.db")) as books:
        app = create_app(books)

        @app.get("/bug")
        async def bug() -> None:
            raise RuntimeError("secret")

        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://services") as http:
            response = await http.get("/bug")
    assert (response.status_code, response.json()["detail"]) == (500, "internal error")


async def test_pruning(services: ServicesUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The books list the last calls and keep the keys of the last days; all calls stay in the totals."""
    monkeypatch.setattr("temporal_slo.reference.services.calls.CALLS_KEPT", 15)
    monkeypatch.setattr("temporal_slo.reference.services.calls.PRUNE_INTERVAL", 10)
    await services.post("seats/reserve", seat("old"), "old")
    await services.post("seats/reserve", seat("new"), "new")
    with closing(sqlite3.connect(services.books)) as db, db:
        db.execute("UPDATE keys SET at = '2020-01-01T00:00:00Z' WHERE key = 'old'")
    await asyncio.gather(*(services.get("buses") for _ in range(38)))
    assert [call["seq"] for call in await services.calls()] == list(range(26, 41))
    assert [row["key"] for row in services.rows("SELECT key FROM keys")] == ["new"]
    assert (await services.totals())["calls"] == {"books": 1, "buses": 38, "seats/reserve": 2}


@pytest.mark.parametrize(("amount", "status"), [(0, 422), (1, 200), (10**12, 200), (10**12 + 1, 422)])
async def test_amounts(services: ServicesUnderTest, amount: int, status: int) -> None:
    """An amount is at least 1 and at most 10^12, so that no sum of amounts is too large for the books."""
    response = await services.send("payments/charge", fare(amount=amount), "k")
    assert response.status_code == status
