"""Renders a dashboard and its data as an HTML page, and the page as a picture."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from temporal_slo.errors import PartError, UsageError
from temporal_slo.preview.programs import Programs

CELL: Final = 38
"""Height of a grid row including the gap, in pixels; the same as in `main.jsx`."""
MARGIN: Final = 16
TIMEOUT: Final = 120.0
PAGE: Final = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="bundle.css">
<body style="margin:0"><div id="root"></div><script>window.PREVIEW={data}</script><script src="bundle.js"></script>
"""
OPTIONS: Final = (
    *("--headless=new", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb"),
    # The sandbox needs privileges that containers lack; the browser renders one local page without network access.
    "--no-sandbox",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=10000",
)


def page(dashboard: Mapping[str, Any], frames: Mapping[int, Sequence[Any]], start: int, end: int) -> str:
    """Return the HTML page of *dashboard*; its data is escaped, so it cannot close the script element.

    Args:
        dashboard: Classic dashboard JSON.
        frames: Data frames by panel id.
        start: Start of the time range, in milliseconds of Unix time.
        end: End of the time range, in milliseconds of Unix time.
    """
    preview = {"dashboard": dashboard, "data": frames, "colors": "dark", "range": {"from": start, "to": end}}
    return PAGE.format(data=json.dumps(preview, allow_nan=False).replace("<", "\\u003c"))


def height(dashboard: Mapping[str, Any]) -> int:
    """Return the height of all panels in pixels."""
    positions = [panel["gridPos"] for panel in dashboard["panels"]]
    return max((position["y"] + position["h"] for position in positions), default=1) * CELL + MARGIN


def draw(programs: Programs, html: str, target: Path, size: tuple[int, int]) -> None:
    """Write a picture of an HTML page to *target*; *size* is width and height in pixels.

    Raises:
        PartError: Chromium failed.
        UsageError: The picture cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="temporal-slo-preview-") as name:
        folder = Path(name)
        for part in ("bundle.js", "bundle.css"):
            shutil.copy(programs.bundle / part, folder)
        (folder / "page.html").write_text(html, encoding="utf-8")
        window = f"--window-size={size[0]},{size[1]}"
        profile, screenshot = f"--user-data-dir={folder / 'profile'}", f"--screenshot={folder / 'screenshot.png'}"
        command = [str(programs.chromium), *OPTIONS, window, profile, screenshot, (folder / "page.html").as_uri()]
        done = _run(command, programs.environ)
        if done.returncode or not (folder / "screenshot.png").exists():
            raise PartError("Chromium", f"did not write a screenshot\n{done.stderr[-500:]}")
        make_folder(target.parent)
        try:
            shutil.move(folder / "screenshot.png", target)
        except OSError as error:
            raise _write_error(target, error) from error


def _run(command: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, env=environ, check=False, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise PartError("Chromium", f"did not finish within {TIMEOUT:g} s") from None


def make_folder(folder: Path) -> None:
    """Create the output folder if it does not exist.

    Raises:
        UsageError: It cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _write_error(folder, error) from error


def _write_error(path: Path, error: OSError) -> UsageError:
    return UsageError("--out", f"'{path}' cannot be written: {error.strerror}", "give a writable folder")
