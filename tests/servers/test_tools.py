import os
import subprocess
from pathlib import Path

import pytest

from temporal_slo.errors import UsageError
from temporal_slo.servers import tools

REMEDY = "install the packages prometheus and prometheus-alertmanager, or add the programs to PATH"


def test_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that are not in PATH are downloaded from Debian once, run, and are then found in the directory."""
    monkeypatch.setenv("PATH", str(path_without_servers(tmp_path / "bin")))
    steps: list[str] = []
    found = tools.ensure(tmp_path / "tools", steps.append)
    assert len(steps) == 2
    for path in found.values():
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=30)
        assert " version " in done.stdout + done.stderr
        assert path.is_relative_to(tmp_path / "tools")
    assert tools.ensure(tmp_path / "tools", steps.append) == found
    assert (len(steps), sorted(path.name for path in (tmp_path / "tools").iterdir())) == (2, ["usr"])


def path_without_servers(folder: Path) -> Path:
    """Create a directory of links to all programs in PATH except those to download."""
    folder.mkdir()
    ours = {name for names in tools.NAMES.values() for name in names}
    for place in reversed(os.get_exec_path()):
        for program in Path(place).iterdir() if Path(place).is_dir() else ():
            if program.name not in ours:
                (folder / program.name).unlink(missing_ok=True)
                (folder / program.name).symlink_to(program)
    return folder


def test_path_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in PATH is preferred to a downloaded one, under its upstream name or its name in Debian."""
    for folder, name in (("bin", "alertmanager"), ("tools/usr/bin", "prometheus-alertmanager")):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / name).write_text("#!/bin/sh\n")
        (tmp_path / folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert tools.find("alertmanager", tmp_path / "tools") == tmp_path / "bin" / "alertmanager"
    monkeypatch.setenv("PATH", "")
    assert tools.find("alertmanager", tmp_path / "tools") == tmp_path / "tools/usr/bin/prometheus-alertmanager"
    assert tools.find("promtool", tmp_path / "tools") is None


def test_no_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without apt-get the error names the two packages, and nothing is left on disk."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(UsageError) as caught:
        tools.ensure(tmp_path / "tools", lambda _: None)
    assert str(caught.value) == f"tools: apt-get not found, cannot download packages; {REMEDY}"
    assert not (tmp_path / "tools").exists()


def test_apt_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the download fails, the error has the reason and the two packages, and nothing is left on disk."""
    for name in ("apt-get", "dpkg"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'E: no network' >&2\nexit 100\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError) as caught:
        tools.ensure(tmp_path / "tools", lambda _: None)
    assert str(caught.value) == f"tools: 'apt-get' failed: E: no network; {REMEDY}"
    assert list((tmp_path / "tools").iterdir()) == []
