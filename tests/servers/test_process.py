import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from temporal_slo.errors import PartError
from temporal_slo.servers.process import LOOPBACK, Child, free_port, until
from temporal_slo.servers.stage import Stage

SLEEP = ["sleep", "600"]
DEAF = [sys.executable, "-c", "import signal; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); input()"]


async def gone(pid: int) -> None:
    """Wait until a process of somebody else's is gone."""

    async def is_gone() -> bool:
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"

    await until(is_gone, deadline=20, what=f"end of process {pid}")


async def logged(child: Child, text: str) -> None:
    """Wait until a child's log has *text*."""

    async def found() -> bool:
        return text in child.tail()

    await until(found, deadline=20, what=f"{text!r} in the log")


def test_stop(tmp_path: Path) -> None:
    """A child that is stopped is gone, and stopping it again does no harm."""
    child = Child("sleeper", SLEEP, tmp_path / "log")
    child.check()
    child.stop()
    child.stop()
    assert child.exit_code == -signal.SIGTERM


async def test_stop_deaf(tmp_path: Path) -> None:
    """A child that will not stop is killed."""
    child = Child("deaf", [*DEAF[:2], DEAF[2].replace("input()", "import time; time.sleep(600)")], tmp_path / "log")
    await logged(child, "deaf")
    child.stop(deadline=0.2)
    assert child.exit_code == -signal.SIGKILL


def test_check_names_the_part(tmp_path: Path) -> None:
    """A child that has ended is named with its exit code and the end of its log."""
    child = Child("poet", ["sh", "-c", "seq 100; exit 3"], tmp_path / "log")
    child._process.wait()  # noqa: SLF001 a child that ends by itself is what this is about
    with pytest.raises(PartError) as caught:
        child.check()
    assert str(caught.value).startswith("poet: ended with exit code 3\n    81\n    82\n")
    assert str(caught.value).endswith("    100\n")


async def test_dies_with_owner(tmp_path: Path) -> None:
    """A child does not outlive an owner that is killed."""
    code = (
        "from pathlib import Path; from temporal_slo.servers.process import Child; import time; "
        f"print(Child('orphan', {SLEEP}, Path({str(tmp_path / 'log')!r})).pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        pid = int(owner.stdout.readline())
        os.kill(pid, 0)
        owner.kill()
    await gone(pid)


def test_stage_stops_in_reverse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Children of a stage are stopped when it is left, the last one first, also when something went wrong."""
    stopped: list[str] = []
    stop = Child.stop

    def noting(child: Child) -> None:
        stopped.append(child.name)
        stop(child)

    monkeypatch.setattr(Child, "stop", noting)
    children = [Child(name, SLEEP, tmp_path / name) for name in ("first", "second")]

    def play() -> None:
        with Stage(tmp_path) as stage:
            for child in children:
                stage.add(child)
            raise KeyError

    with pytest.raises(KeyError):
        play()
    assert stopped == ["second", "first"]
    assert [child.exit_code for child in children] == [-signal.SIGTERM] * 2


async def test_stage_until(tmp_path: Path) -> None:
    """Waiting on a stage ends at once when a child dies, and else names the part that is waited for."""
    with Stage(tmp_path) as stage:

        async def never() -> bool:
            return False

        with pytest.raises(PartError, match=r"^server: an answer: not within 0\.1 s$"):
            await stage.until(never, deadline=0.1, part="server", what="an answer")
        stage.add(Child("worker", ["sh", "-c", "exit 5"], tmp_path / "worker"))
        with pytest.raises(PartError, match=r"^worker: ended with exit code 5"):
            await stage.until(never, deadline=60, part="server", what="an answer")


def test_free_port() -> None:
    """The wanted port is taken if it is free, else another."""
    with socket.create_server((LOOPBACK, 0)) as taken:
        wanted = taken.getsockname()[1]
        other = free_port(wanted)
        assert other != wanted
    assert free_port(wanted) == wanted
