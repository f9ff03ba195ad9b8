"""The command `temporal-slo preview`."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx

from temporal_slo.durations import format_duration
from temporal_slo.errors import PartError, UsageError
from temporal_slo.preview import frames, picture
from temporal_slo.preview.picture import make_folder
from temporal_slo.preview.programs import Programs, ensure
from temporal_slo.preview.variables import Values, resolve, substitute
from temporal_slo.servers.tools import Print

POINTS: Final = 240
REQUEST_TIMEOUT: Final = 60.0
NOT_PROMETHEUS: Final = "this is not the API of a Prometheus; check --prometheus"
UID: Final = re.compile(r"[A-Za-z0-9_-]+")
WITHOUT_QUERIES: Final = ("row", "text")
"""Panel types without queries."""


@dataclass(frozen=True, slots=True)
class PreviewOptions:
    """The options of the command.

    Attributes:
        files: Dashboards as classic JSON.
        prometheus: URL of Prometheus.
        out: Output folder for one picture per dashboard.
        time_range: Length of the displayed time range, which ends now.
        variables: Values of dashboard variables by name.
        rate_interval: Value of `$__rate_interval`.
        width: Width of the pictures in pixels.
        tools: Folder of downloaded programs.
    """

    files: Sequence[Path]
    prometheus: str
    out: Path
    time_range: timedelta
    variables: Mapping[str, str]
    rate_interval: timedelta
    width: int
    tools: Path


async def preview(options: PreviewOptions, output: Print) -> None:
    """Render each dashboard as a picture.

    Raises:
        UsageError: A file is not a dashboard, the folder cannot be written, or a program cannot be downloaded.
        PartError: Prometheus or Chromium failed.
    """
    dashboards = {path: _read(path) for path in options.files}
    try:
        async with httpx.AsyncClient(base_url=options.prometheus, timeout=REQUEST_TIMEOUT) as http:
            # Check this before half a gigabyte is downloaded.
            _result(await http.post("/api/v1/query", data={"query": "1"}))
            make_folder(options.out)
            programs = ensure(options.tools, output)
            for path, dashboard in dashboards.items():
                target = options.out / f"{dashboard.get('uid') or path.stem}.png"
                await _DashboardPreview(options, http, dashboard).draw(programs, target)
                output(f"{target}")
    except httpx.InvalidURL:
        # Without the URL, which may contain a password.
        raise UsageError("--prometheus", "is not a URL", "give one such as http://localhost:9090") from None
    except httpx.HTTPError as error:
        raise PartError("Prometheus", f"is unreachable: {str(error) or type(error).__name__}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        dashboard = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(str(path), f"cannot be read: {error.strerror}", "correct the path") from error
    except ValueError as error:
        raise UsageError(str(path), "is not JSON", "give a dashboard file") from error
    if not isinstance(dashboard, dict) or "panels" not in dashboard:
        raise UsageError(str(path), "is not a dashboard", "give classic dashboard JSON")
    if dashboard.get("uid") and not UID.fullmatch(str(dashboard["uid"])):
        # It becomes the file name of the picture.
        raise UsageError(str(path), "has a uid that is not a file name", "use only letters, digits, - and _")
    return dashboard


class _DashboardPreview:
    def __init__(self, options: PreviewOptions, http: httpx.AsyncClient, dashboard: dict[str, Any]) -> None:
        self._options = options
        self._http = http
        self._dashboard = dashboard
        self._end = time.time()
        self._start = self._end - options.time_range.total_seconds()
        self._step = max(options.time_range.total_seconds() / POINTS, 1.0)
        self._values: Values = {}

    async def draw(self, programs: Programs, target: Path) -> None:
        variables = self._dashboard.get("templating", {}).get("list", [])
        self._values = await resolve(variables, self._options.variables, self._built_in(), self._label_values)
        data = {panel["id"]: await self._frames(panel) for panel in self._dashboard["panels"] if "id" in panel}
        html = picture.page(self._interpolated_titles(), data, int(self._start * 1000), int(self._end * 1000))
        picture.draw(programs, html, target, (self._options.width, picture.height(self._dashboard)))

    def _built_in(self) -> dict[str, str]:
        seconds = f"{self._options.time_range.total_seconds():.0f}"
        return {
            "__rate_interval": format_duration(self._options.rate_interval),
            "__interval": f"{self._step:.0f}s",
            "__range": f"{seconds}s",
            "__range_s": seconds,
        }

    def _interpolated_titles(self) -> dict[str, Any]:
        """Return the dashboard with variables in panel titles replaced."""
        panels = [
            {**panel, "title": substitute(panel.get("title", ""), self._values)} for panel in self._dashboard["panels"]
        ]
        return {**self._dashboard, "panels": panels}

    async def _frames(self, panel: dict[str, Any]) -> list[dict[str, Any]]:
        if panel["type"] in WITHOUT_QUERIES:
            return []
        targets = [target for target in panel.get("targets", []) if not target.get("hide")]
        data_frames: list[dict[str, Any]] = []
        for target in targets:
            data_frames += await self._query_frames(target, multiple=len(targets) > 1)
        return data_frames

    async def _query_frames(self, target: dict[str, Any], *, multiple: bool) -> list[dict[str, Any]]:
        query, ref = substitute(target["expr"], self._values), target.get("refId", "A")
        if target.get("instant"):
            series = await self._query("query", query=query, time=f"{self._end:.3f}")
            if target.get("format") == "table":
                return frames.table(series, ref, multiple=multiple)
        else:
            times = {"start": f"{self._start:.3f}", "end": f"{self._end:.3f}", "step": f"{self._step:.0f}"}
            series = await self._query("query_range", query=query, **times)
        return frames.series(series, ref, target.get("legendFormat", ""))

    async def _label_values(self, selector: str, label: str) -> list[str]:
        parameters = {"match[]": selector} if selector else {}
        response = await self._http.get(f"/api/v1/label/{label}/values", params=parameters)
        return [str(value) for value in _data(response) or ()]

    async def _query(self, endpoint: str, **parameters: str) -> list[Any]:
        return _result(await self._http.post(f"/api/v1/{endpoint}", data=parameters))


def _result(response: httpx.Response) -> list[Any]:
    data = _data(response)
    result = data.get("result") if isinstance(data, dict) else None
    if not isinstance(result, list):
        raise PartError("Prometheus", NOT_PROMETHEUS)
    return result


def _data(response: httpx.Response) -> Any:  # noqa: ANN401 JSON
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or "status" not in body:
        raise PartError("Prometheus", f"returned HTTP {response.status_code}: {NOT_PROMETHEUS}")
    if body["status"] != "success":
        raise PartError("Prometheus", f"rejected a query: {body.get('error')}")
    return body.get("data")
