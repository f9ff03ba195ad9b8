import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from temporal_slo.errors import PartError
from temporal_slo.servers.process import LOOPBACK, Child, free_port, until
from temporal_slo.servers.process_group import ProcessGroup

SLEEP = ["sleep", "600"]
IGNORES_SIGTERM = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"


async def exited(pid: int) -> None:
    """Wait until a process that is not our child has exited."""

    async def has_exited() -> bool:
        stat = Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"

    await until(has_exited, deadline=20, what=f"end of process {pid}")


async def runs(pid: int, program: str) -> None:
    """Wait until a process runs *program*."""

    async def is_running() -> bool:
        return Path(f"/proc/{pid}/comm").read_text().strip() == program

    await until(is_running, deadline=20, what=program)


async def logged(child: Child, text: str) -> None:
    """Wait until a child's log has *text*."""

    async def found() -> bool:
        return text in child.tail()

    await until(found, deadline=20, what=f"{text!r} in the log")


def test_stop(tmp_path: Path) -> None:
    """Stopping a child ends it with SIGTERM, and stopping it again has no effect."""
    child = Child("sleeper", SLEEP, tmp_path / "log")
    child.check()
    child.stop()
    child.stop()
    assert child.exit_code == -signal.SIGTERM


async def test_stop_kills_after_deadline(tmp_path: Path) -> None:
    """A child that ignores SIGTERM is killed after the deadline."""
    child = Child("deaf", [sys.executable, "-c", IGNORES_SIGTERM], tmp_path / "log")
    await logged(child, "deaf")
    child.stop(deadline=0.2)
    assert child.exit_code == -signal.SIGKILL


def test_check_error(tmp_path: Path) -> None:
    """The error of an exited child has its name, its exit code and the end of its log."""
    child = Child("poet", ["sh", "-c", "seq 100; exit 3"], tmp_path / "log")
    child._process.wait()  # noqa: SLF001 waits for a child that exits by itself
    with pytest.raises(PartError) as caught:
        child.check()
    assert str(caught.value).startswith("poet: exited with code 3\n    81\n    82\n")
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
        # From the moment on when the child runs its program: before, setpriv has not asked the kernel yet.
        await runs(pid, SLEEP[0])
        owner.kill()
    await exited(pid)


def test_group_stops_in_reverse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On exit of a group its children are stopped in reverse order, also after an exception."""
    stopped: list[str] = []
    stop = Child.stop

    def record_stop(child: Child) -> None:
        stopped.append(child.name)
        stop(child)

    monkeypatch.setattr(Child, "stop", record_stop)
    children = [Child(name, SLEEP, tmp_path / name) for name in ("first", "second")]

    def fail() -> None:
        with ProcessGroup(tmp_path) as processes:
            for child in children:
                processes.add(child)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert stopped == ["second", "first"]
    assert [child.exit_code for child in children] == [-signal.SIGTERM] * 2


async def test_group_wait_until(tmp_path: Path) -> None:
    """A wait on a group ends immediately if a child exits; on timeout the error names the component."""
    with ProcessGroup(tmp_path) as processes:

        async def never() -> bool:
            return False

        with pytest.raises(PartError, match=r"^server: an answer: timed out after 0\.1 s$"):
            await processes.wait_until(never, deadline=0.1, part="server", what="an answer")
        processes.add(Child("worker", ["sh", "-c", "exit 5"], tmp_path / "worker"))
        with pytest.raises(PartError, match=r"^worker: exited with code 5"):
            await processes.wait_until(never, deadline=60, part="server", what="an answer")


def test_free_port() -> None:
    """The preferred port is returned if it is free, else another one."""
    with socket.create_server((LOOPBACK, 0)) as taken:
        preferred = taken.getsockname()[1]
        other = free_port(preferred)
        assert other != preferred
    assert free_port(preferred) == preferred
