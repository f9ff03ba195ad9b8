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
from temporal_slo.servers.tools import Say

POINTS: Final = 240
DEADLINE: Final = 60.0
NO_API: Final = "no API of a Prometheus is there; see --prometheus"
UID: Final = re.compile(r"[A-Za-z0-9_-]+")
UNDRAWN: Final = ("row", "text")
"""Panels without data."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What is drawn.

    Attributes:
        files: Dashboards, classic JSON.
        prometheus: Its URL.
        out: Folder that gets a picture for each.
        span: How far back from now.
        given: Values of variables.
        rate: The range of rates.
        width: Pixels.
        tools: Folder for fetched programs.
    """

    files: Sequence[Path]
    prometheus: str
    out: Path
    span: timedelta
    given: Mapping[str, str]
    rate: timedelta
    width: int
    tools: Path


async def preview(wanted: Preview, say: Say) -> None:
    """Draw each dashboard.

    Raises:
        UsageError: A file is no dashboard, the folder cannot be written, or a program is missing and can't be fetched.
        PartError: Prometheus or Chromium failed.
    """
    boards = {path: _read(path) for path in wanted.files}
    try:
        async with httpx.AsyncClient(base_url=wanted.prometheus, timeout=DEADLINE) as http:
            # Before half a gigabyte is fetched.
            _result(await http.post("/api/v1/query", data={"query": "1"}))
            make_folder(wanted.out)
            programs = ensure(wanted.tools, say)
            for path, board in boards.items():
                target = wanted.out / f"{board.get('uid') or path.stem}.png"
                await _Board(wanted, http, board).draw(programs, target)
                say(f"{target}")
    except httpx.InvalidURL:
        # Without the URL, which may have a password.
        raise UsageError("--prometheus", "is not a URL", "write for example http://localhost:9090") from None
    except httpx.HTTPError as error:
        raise PartError("Prometheus", f"did not answer: {str(error) or type(error).__name__}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        board = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(str(path), f"cannot be read: {error.strerror}", "correct the path") from error
    except ValueError as error:
        raise UsageError(str(path), "is not JSON", "give a dashboard") from error
    if not isinstance(board, dict) or "panels" not in board:
        raise UsageError(str(path), "is no dashboard", "give classic dashboard JSON")
    if board.get("uid") and not UID.fullmatch(str(board["uid"])):
        # The picture is named after it.
        raise UsageError(str(path), "has a uid that cannot name a file", "use letters, digits, - and _ alone")
    return board


class _Board:
    def __init__(self, wanted: Preview, http: httpx.AsyncClient, board: dict[str, Any]) -> None:
        self._wanted = wanted
        self._http = http
        self._board = board
        self._end = time.time()
        self._step = max(wanted.span.total_seconds() / POINTS, 1.0)
        self._values: Values = {}

    async def draw(self, programs: Programs, target: Path) -> None:
        begin = self._end - self._wanted.span.total_seconds()
        self._values = await resolve(
            self._board.get("templating", {}).get("list", []), self._wanted.given, self._fixed(), self._label_values
        )
        data = {panel["id"]: await self._frames(panel) for panel in self._board["panels"] if "id" in panel}
        text = picture.page(self._substituted(), data, int(begin * 1000), int(self._end * 1000))
        picture.draw(programs, text, target, self._wanted.width, picture.height(self._board))

    def _fixed(self) -> dict[str, str]:
        span = f"{self._wanted.span.total_seconds():.0f}"
        return {
            "__rate_interval": format_duration(self._wanted.rate),
            "__interval": f"{self._step:.0f}s",
            "__range": f"{span}s",
            "__range_s": span,
        }

    def _substituted(self) -> dict[str, Any]:
        """Return the dashboard with the values of variables in titles and texts."""
        titled = [
            {**panel, "title": substitute(panel.get("title", ""), self._values)} for panel in self._board["panels"]
        ]
        return {**self._board, "panels": titled}

    async def _frames(self, panel: dict[str, Any]) -> list[dict[str, Any]]:
        if panel["type"] in UNDRAWN:
            return []
        targets = [target for target in panel.get("targets", []) if not target.get("hide")]
        found: list[dict[str, Any]] = []
        for target in targets:
            found += await self._answered(target, several=len(targets) > 1)
        return found

    async def _answered(self, target: dict[str, Any], *, several: bool) -> list[dict[str, Any]]:
        query, ref = substitute(target["expr"], self._values), target.get("refId", "A")
        if target.get("instant"):
            answer = await self._ask("query", query=query, time=f"{self._end:.3f}")
            if target.get("format") == "table":
                return frames.table(answer, ref, several=several)
        else:
            begin = self._end - self._wanted.span.total_seconds()
            times = {"start": f"{begin:.3f}", "end": f"{self._end:.3f}", "step": f"{self._step:.0f}"}
            answer = await self._ask("query_range", query=query, **times)
        return frames.series(answer, ref, target.get("legendFormat", ""))

    async def _label_values(self, selector: str, label: str) -> list[str]:
        asked = {"match[]": selector} if selector else {}
        answer = await self._http.get(f"/api/v1/label/{label}/values", params=asked)
        return [str(value) for value in _data(answer) or ()]

    async def _ask(self, what: str, **asked: str) -> list[Any]:
        answer = await self._http.post(f"/api/v1/{what}", data=asked)
        return _result(answer)


def _result(answer: httpx.Response) -> list[Any]:
    data = _data(answer)
    result = data.get("result") if isinstance(data, dict) else None
    if not isinstance(result, list):
        raise PartError("Prometheus", NO_API)
    return result


def _data(answer: httpx.Response) -> Any:  # noqa: ANN401 JSON
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or "status" not in body:
        raise PartError("Prometheus", f"answered {answer.status_code}: {NO_API}")
    if body["status"] != "success":
        raise PartError("Prometheus", f"refused a query: {body.get('error')}")
    return body.get("data")
