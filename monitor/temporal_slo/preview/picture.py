"""A dashboard and its data as a page, and the page as a picture."""

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
"""Pixels of a row of the grid, with the gap below it; `main.jsx` has the same."""
MARGIN: Final = 16
DEADLINE: Final = 120.0
PAGE: Final = """<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="bundle.css">
<body style="margin:0"><div id="root"></div><script>window.PREVIEW={data}</script><script src="bundle.js"></script>
"""
OPTIONS: Final = (
    *("--headless=new", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb"),
    "--no-sandbox",  # it needs rights that containers have not; it shows one page of ours and reaches nothing else
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=10000",
)


def page(dashboard: Mapping[str, Any], frames: Mapping[int, Sequence[Any]], begin: int, end: int) -> str:
    """Return the page of *dashboard*; nothing in its data can end the script that it stands in.

    Args:
        dashboard: Classic JSON.
        frames: Data frames by the id of their panel.
        begin: Of the time that is shown, milliseconds of Unix time.
        end: Its end.
    """
    shown = {"dashboard": dashboard, "data": frames, "colours": "dark", "range": {"from": begin, "to": end}}
    return PAGE.format(data=json.dumps(shown, allow_nan=False).replace("<", "\\u003c"))


def height(dashboard: Mapping[str, Any]) -> int:
    """Return how many pixels all panels need."""
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    return max((place["y"] + place["h"] for place in places), default=1) * CELL + MARGIN


def draw(programs: Programs, text: str, target: Path, width: int, high: int) -> None:
    """Draw a page into *target*.

    Raises:
        PartError: Chromium failed.
        UsageError: The picture cannot be written there.
    """
    with tempfile.TemporaryDirectory(prefix="temporal-slo-preview-") as name:
        folder = Path(name)
        for part in ("bundle.js", "bundle.css"):
            shutil.copy(programs.bundle / part, folder)
        (folder / "page.html").write_text(text, encoding="utf-8")
        size = f"--window-size={width},{high}"
        profile, shot = f"--user-data-dir={folder / 'profile'}", f"--screenshot={folder / 'shot.png'}"
        command = [str(programs.chromium), *OPTIONS, size, profile, shot, (folder / "page.html").as_uri()]
        done = _run(command, programs.environ)
        if done.returncode or not (folder / "shot.png").exists():
            raise PartError("Chromium", f"drew nothing\n{done.stderr[-500:]}")
        make_folder(target.parent)
        try:
            shutil.move(folder / "shot.png", target)
        except OSError as error:
            raise _unwritten(target, error) from error


def _run(command: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, env=environ, check=False, capture_output=True, text=True, timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        raise PartError("Chromium", f"drew nothing within {DEADLINE:g} s") from None


def make_folder(folder: Path) -> None:
    """Make the folder of the pictures, if it is not there yet.

    Raises:
        UsageError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritten(folder, error) from error


def _unwritten(path: Path, error: OSError) -> UsageError:
    return UsageError("--out", f"'{path}' cannot be written: {error.strerror}", "give a folder that can")
